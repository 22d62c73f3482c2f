"""How fine times are, and which windows they bear."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.data.resolution import count_minutes, resolution_of, share_at_one_time

DAY, HOUR = 86_400, 3600


def times(step_s: int, rows: int = 2000, seed: int = 0) -> np.ndarray:
    """Times over 100 days in whole steps, or by the second."""
    return np.random.default_rng(seed).integers(0, 100 * DAY // step_s, rows) * step_s


@pytest.mark.parametrize("step_s", [DAY, DAY // 3, 4 * HOUR, HOUR, HOUR // 2, 300])
@pytest.mark.parametrize("phase_s", [0, 60])
def test_the_coarsest_step_is_recognized(step_s: int, phase_s: int) -> None:
    found = resolution_of(count_minutes(times(step_s) + phase_s, np.zeros(2000, bool)))
    assert found is not None and (found.step_s, found.phase_s, found.share) == (step_s, phase_s, 1.0)


def test_times_by_the_minute_have_none_and_seconds_do_not_matter() -> None:
    for step_s in (1, 60):
        assert resolution_of(count_minutes(times(step_s), np.zeros(2000, bool))) is None


@pytest.mark.parametrize(("share", "step_s"), [(0.49, None), (0.51, DAY)])
def test_most_rows_at_one_time_make_the_day_the_resolution(share: float, step_s: int | None) -> None:
    spread = times(60)
    spread[: int(share * 2000)] -= spread[: int(share * 2000)] % DAY
    found = resolution_of(count_minutes(spread, np.zeros(2000, bool)))
    assert (found and found.step_s) == step_s


def test_targets_count_by_themselves() -> None:
    """As in tables where the time of just the homicides is not known."""
    time_s = np.concatenate([times(60), times(DAY, 150)])
    is_target = np.arange(2150) >= 2000
    found = resolution_of(count_minutes(time_s, is_target))
    assert found is not None and found.step_s == DAY
    assert str(found) == "100% of 150 target rows are at 00:00, at no time of the day"
    assert share_at_one_time(count_minutes(time_s, is_target)) == (1.0, "00:00", "target rows")


def test_a_few_rows_at_one_time_say_nothing() -> None:
    assert resolution_of(count_minutes(np.zeros(149, np.int64), np.zeros(149, bool))) is None
