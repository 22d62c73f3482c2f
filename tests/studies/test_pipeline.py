"""What the study of the whole path takes from `hews evaluate`: the scores of the model and of others."""

import pytest

from hews_gpu.runs.evaluate import evaluate
from studies.pipeline import COUNTS, scores_of


def test_scores_are_those_of_the_run(run, tmp_path):
    metrics = evaluate(run, out=tmp_path)
    assert set(COUNTS) <= set(metrics)
    scores = {name: scores_of(one) for name, one in metrics["forecasts"].items()}
    model, climatology = scores[metrics["model"]], scores["climatology"]
    assert model["auc"] == metrics["forecasts"]["cnn"]["auc"]
    assert model["log_skill_bits"] == metrics["log_skill_bits"] != 0
    assert model["log_skill_bits_interval"] == metrics["log_skill_bits_interval"]
    assert model["brier_skill"] == pytest.approx(1 - model["brier"] / climatology["brier"])
    assert climatology["log_skill_bits"] == climatology["brier_skill"] == 0
