"""No climatology knows a window that had not ended when its split began."""

import numpy as np
import pytest

from hews_gpu.forecast.protocol import climatologies, past_of

WEEK_S = 604_800


def test_past_is_what_had_ended():
    assert list(past_of(np.array([9, 10, 11]), 10)) == [True, True, False]


def series():
    """40 weeks of 2-hour windows; the splits begin at weeks 0, 20 and 30; windows last 4 h, so some straddle."""
    begin = np.arange(0, 40 * WEEK_S, 7200, dtype=np.int64)
    y = np.random.default_rng(0).random(len(begin)) < 0.2
    return begin, begin + 14_400, y, {"train": 0, "validation": 20 * WEEK_S, "test": 30 * WEEK_S}


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_what_a_split_may_not_know_changes_nothing(name):
    begin, end, y, splits = series()
    in_train = end <= splits["validation"]
    limit = splits["validation"] if name == "train" else splits[name]
    unknown = end > limit
    before = climatologies(splits, begin, end, y, in_train)[name]
    after = climatologies(splits, begin, end, np.where(unknown, ~y, y), in_train)[name]
    np.testing.assert_array_equal(before.logit(begin), after.logit(begin))


@pytest.mark.parametrize(("name", "limit"), [("validation", 20 * WEEK_S), ("test", 30 * WEEK_S)])
def test_the_last_window_of_the_past_does_count(name, limit):
    begin, end, y, splits = series()
    in_train = end <= splits["validation"]
    last = end == limit
    assert last.sum() == 1
    before = climatologies(splits, begin, end, y, in_train)[name]
    after = climatologies(splits, begin, end, np.where(last, ~y, y), in_train)[name]
    assert np.abs(before.logit(begin) - after.logit(begin)).max() > 0


def test_test_learns_from_validation_too():
    begin, end, y, splits = series()
    found = climatologies(splits, begin, end, y, end <= splits["validation"])
    assert np.abs(found["test"].week_hour - found["validation"].week_hour).max() > 0
