"""The figures of skill say the numbers they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

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


def test_the_week_shown_is_the_whole_one_with_the_most_targets(wednesdays):
    title, rows = scores.busiest_week(wednesdays)
    assert title == "The week of 13 February 2017, which had the most target windows"
    assert rows["window_start"].iloc[0].day_of_week == 0 and len(rows) == 84
    early = wednesdays.iloc[: 5 * 12 + 3 * 84].assign(y=0).assign(y=lambda table: (table.index < 5).astype(int))
    _, rows = scores.busiest_week(early)  # the first, which has them all, begins on a Wednesday
    assert rows["window_start"].iloc[0].day_of_week == 0 and len(rows) == 84


def test_the_week_shown_does_not_depend_on_the_forecast(wednesdays):
    other = wednesdays.assign(p=1 - wednesdays["p"])
    assert scores.busiest_week(other)[0] == scores.busiest_week(wednesdays)[0]


def test_a_split_shorter_than_a_week_is_shown_whole(wednesdays):
    title, rows = scores.busiest_week(wednesdays.iloc[:20])
    assert len(rows) == 20
    drawn = scores.week(title, rows, {"hewsnet": "p", "climatology": "p_climatology"})
    low, high = rows["p"].min(), rows["p"].max()
    assert f"HewsNet between {low:.0%} and {high:.0%}, climatology between 10% and 10%; 1 target windows." in drawn


def test_precision_says_the_area_that_scikit_learn_computes(wednesdays):
    y, forecasts = wednesdays["y"].to_numpy() == 1, {"hewsnet": wednesdays["p"].to_numpy()}
    assert f"HewsNet {average_precision_score(y, wednesdays['p']):.3f}" in scores.precision_recall(forecasts, y)


def test_hours_say_where_most_happened(wednesdays):
    y, hour = wednesdays["y"].to_numpy() == 1, wednesdays["window_start"].dt.hour.to_numpy(float)
    drawn = scores.by_hour(hour, {"climatology": wednesdays["p_climatology"].to_numpy()}, y)
    rate = wednesdays["y"].groupby(hour).mean()
    assert f"most often from {rate.idxmax():g}:00, {rate.max():.0%} of 140 windows" in drawn


def test_skill_names_its_interval_and_what_it_is_over():
    bits = {"value": 0.012, "interval": [0.008, 0.016]}
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
