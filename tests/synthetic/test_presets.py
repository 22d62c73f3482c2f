"""What each preset promises, measured on ten years of two cities: how often, and how well it can be foreseen.

The AUC of the oracle needs no fit and is taken over all ten years. The climatology is fitted on the first three
quarters and judged on the last one; there the AUC varies by 0.01 from city to city, the mean of two by 0.007.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from hews_gpu.forecasters.climatology import fit_climatology, hour_of_week, month_of_year
from hews_gpu.synthetic.presets import LAWS
from tests.synthetic.histories import happened, history

SEEDS = (21, 22)
PROMISED = {  # AUC of the oracle, AUC of the climatology, oracle's log skill over it in bits per window
    "null": (0.650, 0.650, 0.001),
    "strong": (0.72, 0.65, 0.040),
    "spatial": (0.73, 0.645, 0.047),
    "pairs": (0.74, 0.655, 0.049),
    "realistic": (0.662, 0.65, 0.005),
}


def measured(preset, seed):
    """Base rate, the two AUC, and the log skill on the last quarter."""
    truth = history(LAWS[preset], seed).truth
    issue_s = np.arange(truth.begin_s + 86_400, truth.end_s, 7200)
    p, y = truth.probability(issue_s, issue_s, issue_s + 7200), happened(truth, issue_s, issue_s + 7200)
    learnt, judged = slice(0, len(y) * 3 // 4), slice(len(y) * 3 // 4, None)
    climatology = fit_climatology(issue_s[learnt], y[learnt]).probability(issue_s[judged])
    score = [np.log2(np.where(y[judged], q, 1 - q)).mean() for q in (p[judged], climatology)]
    return y.mean(), roc_auc_score(y, p), roc_auc_score(y[judged], climatology), score[0] - score[1]


@pytest.mark.parametrize("preset", PROMISED)
def test_a_preset_keeps_its_promise(preset):
    base, oracle, climatology, skill = np.mean([measured(preset, seed) for seed in SEEDS], axis=0)
    wanted_oracle, wanted_climatology, wanted_skill = PROMISED[preset]
    assert base == pytest.approx(0.17, abs=0.01)
    assert oracle == pytest.approx(wanted_oracle, abs=0.01)
    assert climatology == pytest.approx(wanted_climatology, abs=0.015)
    assert skill == pytest.approx(wanted_skill, abs=0.002 if wanted_skill < 0.01 else 0.009)
    assert skill > (-0.0005 if preset == "null" else 0)  # there the climatology can be as good, but for chance


def test_the_oracle_of_null_is_a_climatology():
    truth = history(LAWS["null"]).truth
    issue_s = np.arange(truth.begin_s, truth.end_s, 7200)
    log_odds = logit(truth.probability(issue_s, issue_s, issue_s + 7200))
    slot, month = hour_of_week(issue_s) // 2, month_of_year(issue_s)
    design = np.hstack([np.eye(84)[slot], np.eye(12)[month]])
    code = slot * 12 + month
    _, once = np.unique(code, return_index=True)
    effects = np.linalg.lstsq(design[once], log_odds[once], rcond=None)[0]
    assert np.abs(log_odds - design @ effects).max() < 1e-9
