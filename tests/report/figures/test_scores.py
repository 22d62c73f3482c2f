"""The figures of skill say the numbers they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from hews_gpu.report.figures import scores


@pytest.fixture
def wednesdays() -> pd.DataFrame:
    """Twenty weeks of two-hour windows from a Wednesday; one window a week is hit, in the seventh week all are."""
    rng = np.random.default_rng(3)
    begin = np.datetime64("2017-01-04", "s") + np.arange(20 * 84) * np.timedelta64(7200, "s")
    y = (np.arange(len(begin)) % 84 == 0) | (np.arange(len(begin)) // 84 == 6)
    p = rng.random(len(begin)) * 0.3
    columns = {"issue_time": begin, "window_start": begin, "window_end": begin + np.timedelta64(7200, "s")}
    return pd.DataFrame({**columns, "p": p, "p_climatology": 0.1, "y": y.astype(np.int8)})


def test_the_weeks_shown_hold_the_one_with_most_targets_and_are_whole(wednesdays):
    weeks = scores.weeks_shown(wednesdays)
    assert len(weeks) == 3
    titles = [title for title, _ in weeks]
    assert sum("most target windows" in title for title in titles) == 1
    begins = [rows["window_start"].iloc[0] for _, rows in weeks]
    assert begins == sorted(begins) and all(begin.day_of_week == 0 for begin in begins)
    assert all(len(rows) == 84 for _, rows in weeks)


def test_the_weeks_shown_do_not_depend_on_the_forecast(wednesdays):
    chosen = [title for title, _ in scores.weeks_shown(wednesdays)]
    other = wednesdays.assign(p=1 - wednesdays["p"])
    assert [title for title, _ in scores.weeks_shown(other)] == chosen


def test_a_split_shorter_than_a_week_is_shown_whole(wednesdays):
    weeks = scores.weeks_shown(wednesdays.iloc[:20])
    assert sum(len(rows) for _, rows in weeks) == 20


def test_roc_and_precision_say_the_areas_that_scikit_learn_finds(wednesdays):
    y, forecasts = wednesdays["y"].to_numpy() == 1, {"hewsnet": wednesdays["p"].to_numpy()}
    assert f"HewsNet {roc_auc_score(y, wednesdays['p']):.3f}" in scores.roc(forecasts, y)
    assert f"HewsNet {average_precision_score(y, wednesdays['p']):.3f}" in scores.precision_recall(forecasts, y)


def test_hours_say_where_most_happened(wednesdays):
    y, hour = wednesdays["y"].to_numpy() == 1, wednesdays["window_start"].dt.hour.to_numpy(float)
    drawn = scores.by_hour(hour, {"climatology": wednesdays["p_climatology"].to_numpy()}, y)
    rate = wednesdays["y"].groupby(hour).mean()
    assert f"most often from {rate.idxmax():g}:00, {rate.max():.0%} of 140 windows" in drawn


def test_skill_names_its_interval_and_what_it_is_over():
    bits = {"value": 0.012, "one_week": [0.008, 0.016], "four_weeks": [0.007, 0.017]}
    drawn = scores.skill({"hewsnet": bits}, "level")
    assert "Log skill over the recent level. HewsNet +0.0120, 95 % interval +0.0080 to +0.0160." in drawn


def test_reliability_survives_a_single_bin():
    bins = {"hewsnet": [{"p_mean": 0.1, "y_rate": 0.0, "low": 0.0, "high": 0.04}]}
    drawn = scores.reliability(bins, ["hewsnet"], 0.1, np.full(90, 0.1))
    assert "HewsNet 10% was 0%" in drawn and ">windows</text>" in drawn


def test_training_marks_the_best_epoch():
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "train_loss": [0.5, 0.4, 0.3], "validation_log_loss": [0.5, 0.41, 0.45]}
    )
    assert "the best validation in epoch 2" in scores.training(history)
