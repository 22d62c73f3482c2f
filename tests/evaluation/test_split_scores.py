"""The verdict says what the interval says, and every number can be had from the forecasts alone."""

import json

import numpy as np
import pytest

from hews_gpu.evaluation.metrics import block_bootstrap_interval, log_loss_each_bits, scores
from hews_gpu.evaluation.split_scores import Forecasts, judge, verdict


@pytest.mark.parametrize(
    ("skill", "low", "high", "begins"),
    [
        (0.01, 0.002, 0.02, "Significant skill: +0.0100"),
        (0.01, -0.002, 0.02, "No significant skill: +0.0100"),
        (0.01, 0.0, 0.02, "No significant skill"),
        (-0.01, -0.02, 0.0, "No significant skill"),
        (-0.01, -0.02, -0.001, "Worse than climatology: -0.0100"),
        (0.0, 0.0, 0.0, "No significant skill: the model stayed the climatology"),
    ],
)
def test_the_verdict_follows_the_interval(skill, low, high, begins):
    assert verdict(skill, low, high).startswith(begins)


def made(windows, seed):
    """A climatology without information, a model with some, an oracle that knows the chances."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(2, 6, windows)
    y = rng.random(windows) < chance
    model = np.clip(chance + rng.normal(0, 0.05, windows), 0.01, 0.99)
    return Forecasts(y=y, p=model, p_climatology=np.full(windows, 0.25), others={"oracle": chance})


def test_what_is_judged_and_against_what():
    splits = {"train": made(500, 0), "test": made(1500, 1)}
    found = judge(splits, judged="test", stride_s=7200, seed=3)
    test = splits["test"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    expected = scores(test.y, test.p, test.p_climatology)
    assert {key: found["splits"]["test"][key] for key in expected} == expected
    assert found["auc"] == expected["auc"] and found["windows"] == 1500 and found["positives"] == test.y.sum()
    gained = log_loss_each_bits(test.y, test.p_climatology) - log_loss_each_bits(test.y, test.p)
    assert found["log_skill_bits_interval"] == list(block_bootstrap_interval(gained, block=84, seed=3))
    assert found["verdict"].startswith("Significant skill")
    assert found["baselines"]["climatology"]["log_skill_bits"] == 0
    assert found["baselines"]["oracle"]["log_skill_bits"] > found["log_skill_bits"]
    assert found["splits"]["train"]["windows"] == 500


def test_a_block_is_a_week_whatever_the_stride():
    splits = {"test": made(3000, 2)}
    test = splits["test"]
    gained = log_loss_each_bits(test.y, test.p_climatology) - log_loss_each_bits(test.y, test.p)
    for stride_s, block in ((3600, 168), (86_400, 7), (10**7, 1)):
        found = judge(splits, judged="test", stride_s=stride_s)["log_skill_bits_interval"]
        assert found == list(block_bootstrap_interval(gained, block=block))
