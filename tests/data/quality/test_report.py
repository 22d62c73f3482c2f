"""Steps in monthly counts: found where they were put, and nowhere in steady or seasonal series; the summary."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.data.quality.report import summary_rows, volume_steps

MONTHS = [str(np.datetime64("2010-01") + i) for i in range(72)]


def seasonal(rng: np.random.Generator, level: float) -> np.ndarray:
    season = 1 + 0.3 * np.sin(2 * np.pi * np.arange(72) / 12)
    return rng.poisson(level * season)


@pytest.mark.parametrize("at", [12, 30, 60])
@pytest.mark.parametrize("factor", [0.6, 0.8, 1.4])
def test_a_step_is_found_at_its_month(at: int, factor: float) -> None:
    series = seasonal(np.random.default_rng(at), 800).astype(float)
    series[at:] *= factor
    found = volume_steps(MONTHS, {"THEFT": series.astype(int).tolist()})
    assert len(found) == 1
    assert abs(MONTHS.index(found[0]["month"]) - at) <= 1
    assert found[0]["ratio"] == pytest.approx(factor, rel=0.06)
    assert found[0]["after"] / found[0]["before"] == pytest.approx(found[0]["ratio"])
    assert (found[0]["z"] > 0) == (factor > 1)


def test_steady_seasonal_series_have_no_steps() -> None:
    rng = np.random.default_rng(1)
    series = {str(i): seasonal(rng, level).tolist() for i, level in enumerate([6, 30, 300, 3000] * 25)}
    assert volume_steps(MONTHS, series) == []


def test_a_category_that_ends_or_begins_is_a_step() -> None:
    series = [60] * 30 + [0] * 42
    (end,) = volume_steps(MONTHS, {"THREAT": series})
    assert end["month"] == MONTHS[30] and end["ratio"] == 0.0
    (begin,) = volume_steps(MONTHS, {"THREAT": series[::-1]})
    assert begin["month"] == MONTHS[42] and begin["ratio"] is None


def test_rare_categories_and_short_tables_have_none() -> None:
    assert volume_steps(MONTHS, {"RARE": [0] * 36 + [4] * 36}) == []
    assert volume_steps(MONTHS[:23], {"THEFT": [10] * 12 + [900] * 11}) == []
    assert volume_steps([], {}) == []


def test_kept_and_set_aside_add_up() -> None:
    quality = {
        "rows_read": 8,
        "rows_kept": 5,
        "rows_quarantined": 3,
        "quarantined_by_reason": {"no coordinates": 2, "unparsable time": 1},
        "targets_kept": 1,
    }
    assert summary_rows(quality) == [
        ["", "rows", "share"],
        ["read", "8", "100.00 %"],
        ["kept", "5", "62.50 %"],
        ["  of these targets", "1", "12.50 %"],
        ["set aside in quarantine.parquet", "3", "37.50 %"],
        ["  no coordinates", "2", "25.00 %"],
        ["  unparsable time", "1", "12.50 %"],
    ]
