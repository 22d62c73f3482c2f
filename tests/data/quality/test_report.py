"""Steps in monthly counts: found where they were put, and nowhere in steady or seasonal series; the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.quality.report import monthly_events, summary_rows, volume_steps
from hews_gpu.data.quality.tallies import DuplicateTally, RowTally
from tests.data import formats
from tests.data.toy import row

Toy = Callable[..., CityConfig]
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
        "targets_kept": 2,
        "targets_without_repeats": 1,
    }
    assert summary_rows(quality) == [
        ["", "rows", "share"],
        ["read", "8", "100.00 %"],
        ["kept", "5", "62.50 %"],
        ["  of these targets", "2", "25.00 %"],
        ["  targets without repeats", "1", "12.50 %"],
        ["set aside in quarantine.parquet", "3", "37.50 %"],
        ["  no coordinates", "2", "25.00 %"],
        ["  unparsable time", "1", "12.50 %"],
    ]


def test_a_category_that_one_file_lacks_is_named(toy: Toy, tmp_path: Path) -> None:
    shot = ("2014-01-01T01:00:00", "SHOOTING", -76.605, 39.285)
    threat = ("2014-02-01T01:00:00", "THREAT", -76.605, 39.285)
    old, new = [shot, threat] * 40, [("2014-03-01T01:00:00", *shot[1:])] * 60
    quality = prepare(toy(files={"old.csv": formats.portal(old), "new.csv": formats.arcgis(new)}), tmp_path / "out")
    assert quality["vocabulary_changes"] == [{"category": "THREAT", "files": ["new.csv"], "rows": 0, "expected": 30.0}]
    assert any("category 'THREAT' has 0 rows in new.csv" in text for text in quality["warnings"])


def test_rows_without_a_category_are_no_word_that_other_files_lack(toy: Toy, tmp_path: Path) -> None:
    old = [("2014-01-01T01:00:00", "SHOOTING", -76.605, 39.285), ("2014-02-01T01:00:00", "", -76.605, 39.285)] * 40
    files = {"old.csv": formats.portal(old), "new.csv": formats.arcgis(old[::2] * 2)}
    quality = prepare(toy(files=files), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"no category": 40}
    assert quality["vocabulary_changes"] == [] and not any("category ''" in text for text in quality["warnings"])


def test_steps_leave_out_months_that_the_table_covers_in_part(toy: Toy, tmp_path: Path) -> None:
    days = pd.date_range("2010-01-15", "2013-12-31", freq="D")
    lines = [
        row(
            date=day.strftime("%m/%d/%Y"),
            category=what,
            time=f"{(day.day + hour) % 24}:07",
            longitude=f"-76.60{hour + 1}",
        )
        for day in days
        for hour, what in enumerate(["SHOOTING", "LARCENY"] if day.year < 2012 else ["SHOOTING"])
    ]
    steps = prepare(toy(lines), tmp_path / "out")["volume_steps"]
    assert "12 months" in steps["rule"]
    assert [(s["category"], s["month"]) for s in steps["found"]] == [("LARCENY", "2012-01"), ("(all)", "2012-01")]


def test_whole_months_only() -> None:
    first, last = (int(np.datetime64(day, "D").astype(int)) for day in ("2010-01-15", "2010-04-29"))
    counts = RowTally(days={0: Counter(range(first, last + 1))})
    expected = (["2010-02", "2010-03"], {"A": [0, 0], "(all)": [0, 0]})
    assert monthly_events(counts, DuplicateTally(), ["A"]) == expected
    counts += RowTally(days={0: Counter([last]), 1: Counter([last + 1])})
    assert monthly_events(counts, DuplicateTally(), ["A"])[0] == ["2010-02", "2010-03", "2010-04"]


@pytest.mark.parametrize(("threats", "named"), [(3, True), (4, False)])
def test_a_tenth_of_what_is_expected_is_no_change_of_vocabulary(
    toy: Toy, tmp_path: Path, threats: int, named: bool
) -> None:
    """Half of the old rows are threats, so of 60 + k new ones 31.5 (k = 3) or 32 (k = 4) should be: a tenth is 3.15."""
    shot = ("2014-01-01T01:00:00", "SHOOTING", -76.605, 39.285)
    threat = ("2014-02-01T01:00:00", "THREAT", -76.605, 39.285)
    new = [("2014-03-01T01:00:00", *shot[1:])] * 60 + [("2014-03-02T01:00:00", *threat[1:])] * threats
    files = {"old.csv": formats.portal([shot, threat] * 40), "new.csv": formats.arcgis(new)}
    changes = prepare(toy(files=files), tmp_path / "out")["vocabulary_changes"]
    assert [change["category"] for change in changes] == ["THREAT"] * named
