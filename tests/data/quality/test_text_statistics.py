"""Blanks by month, round times, vocabulary and give-aways of toy tables, counted again with pandas."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.clean import BAD_TIME, OUT
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.quality.report import monthly_events
from hews_gpu.data.quality.tallies import DuplicateTally, RowTally
from hews_gpu.data.quality.text_statistics import missing_by_month, tally_texts
from hews_gpu.data.readers.dates import NOT_A_TIME
from hews_gpu.data.readers.dictionary_column import TEXT, Block
from tests.data import formats
from tests.data.toy import HEADER, row

Toy = Callable[..., CityConfig]


def table(rows: int = 400) -> list[str]:
    """Premises are blank more and more often, and spelt out on target rows; full hours are never targets."""
    rng = np.random.default_rng(11)
    lines = []
    for i in range(rows):
        month, target = 1 + 12 * i // rows, rng.random() < 0.2
        minute = int(rng.integers(1, 60)) if target or rng.random() < 0.5 else int(rng.choice([0, 30]))
        premise = "STREET - OUTSIDE" if target else "" if rng.random() < month / 15 else "STREET"
        time = f"{rng.integers(0, 24):02d}:{minute:02d}:00" if rng.random() > 0.05 else "?"
        what = "SHOOTING" if target else str(rng.choice(["LARCENY", "ARSON"]))
        lines.append(row(date=f"{month:02d}/10/2014", time=time, category=what, rest=f"{premise},,{i} FAWN ST,6C"))
    return lines


def test_quality_of_texts_equals_pandas(toy: Toy, tmp_path: Path) -> None:
    lines = table()
    quality = prepare(toy(lines), tmp_path / "out", cut=Cut(block_rows=37, bucket_rows=50))
    frame = pd.read_csv(io.StringIO("\n".join([HEADER, *lines])), dtype=str, keep_default_na=False)
    legible = frame[frame["CrimeTime"] != "?"]
    month = legible["CrimeDate"].str[:2]
    by_month = quality["missing_by_month"]
    assert by_month["months"] == [f"2014-{m:02d}" for m in range(1, 13)]
    premise = by_month["columns"]["Premise"]
    assert premise["rows"] == legible.groupby(month).size().tolist()
    assert premise["blank"] == (legible["Premise"] == "").groupby(month).sum().tolist()
    assert sum(by_month["columns"]["date"]["blank"]) == 0
    assert by_month["rows_without_month"]["Premise"] == len(frame) - len(legible) > 5
    for name, rows in legible.groupby("Description"):
        found = quality["rounding_by_category"][name]
        assert found["rows"] == len(rows)
        for kind, minute in (("minute_0", "00"), ("minute_30", "30")):
            assert found[kind] == pytest.approx((rows["CrimeTime"].str[3:5] == minute).mean())
        assert found["midnight"] == pytest.approx((rows["CrimeTime"] == "00:00:00").mean())


def test_rows_set_aside_say_nothing_of_the_label_and_rows_without_time_are_of_no_month() -> None:
    """1970 is the month that a time of nothing would fall into."""
    texts = pa.array(["BAR", "", "GHOST", "", "BAR"], TEXT)
    rows = pa.array(range(5))
    block = Block(pa.table({"line": rows, "problem": rows, "Premise": texts}))
    verdicts = {"time_s": [0, 40 * 86_400, 5, NOT_A_TIME, 7], "reason": [0, 0, OUT, BAD_TIME, 0]}
    counts = tally_texts(block, pd.DataFrame({**verdicts, "is_target": [True, False, True, True, False]}))
    premise = counts.columns[(), "Premise"]
    assert {name: found.tolist() for name, found in premise.values.items()} == {"BAR": [1, 1], "": [1, 0]}
    assert missing_by_month(counts) == {
        "months": ["1970-01", "1970-02"],
        "columns": {"Premise": {"rows": [3, 1], "blank": [0, 1]}},
        "rows_without_month": {"Premise": 1},
    }


def shares(quality: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    return {e["column"]: (e["share"], e["warning"]) for e in quality["label_information"]["columns"]}


def test_a_column_that_is_spelt_otherwise_on_target_rows_is_flagged(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quality = prepare(toy(table()), tmp_path / "out", cut=Cut(block_rows=37))
    found = shares(quality)
    assert found["Premise"][0] > 0.97 and found["Premise"][1]
    assert found["Premise: last word"][1] and found["clock: minute is 0"][1]
    assert not found["CrimeCode"][1] and not found["Location: last word"][1] and not found["longitude: pattern"][1]
    assert "category" not in found and "category: pattern" not in found
    (warning,) = [text for text in quality["warnings"] if "of the label" in text]
    assert "Premise (" in warning and "Location" not in warning and f"warning: {warning}" in capsys.readouterr().err


def test_the_cut_does_not_matter(toy: Toy, tmp_path: Path) -> None:
    city = toy(table())
    whole, parts = prepare(city, tmp_path / "whole"), prepare(city, tmp_path / "parts", cut=Cut(block_rows=13))
    for measured in ("seconds", "peak_memory_bytes"):
        whole.pop(measured), parts.pop(measured)
    assert parts == whole


def test_a_category_that_one_file_lacks_is_named(toy: Toy, tmp_path: Path) -> None:
    shot = ("2014-01-01T01:00:00", "SHOOTING", -76.605, 39.285)
    threat = ("2014-02-01T01:00:00", "THREAT", -76.605, 39.285)
    old, new = [shot, threat] * 40, [("2014-03-01T01:00:00", *shot[1:])] * 60
    quality = prepare(toy(files={"old.csv": formats.portal(old), "new.csv": formats.arcgis(new)}), tmp_path / "out")
    assert quality["vocabulary_changes"] == [{"category": "THREAT", "files": ["new.csv"], "rows": 0, "expected": 30.0}]
    assert any("category 'THREAT' has 0 rows in new.csv" in text for text in quality["warnings"])


def test_a_zone_is_ignored_and_said_so_unless_the_feed_is_known_for_it(toy: Toy, tmp_path: Path) -> None:
    mapped = b"when,x,y,what\n2014-01-31T23:30:00+00:00,-76.605,39.285,SHOOTING\n2014-01-31T23:30:00,-76.605,39.285,B\n"
    roles = '[incidents.columns]\ntime = "when"\nlongitude = "x"\nlatitude = "y"\ncategory = "what"\n'
    quality = prepare(toy(files={"a.csv": mapped}, incidents=roles), tmp_path / "mapped")
    assert any("a.csv: 1 times carry a zone such as +00, which was ignored" in text for text in quality["warnings"])
    quality = prepare(toy(files={"a.csv": formats.arcgis()}), tmp_path / "arcgis")
    assert not any("zone" in text for text in quality["warnings"])


def test_steps_leave_out_months_that_the_table_covers_in_part(toy: Toy, tmp_path: Path) -> None:
    days = pd.date_range("2010-01-15", "2013-12-31", freq="D")
    lines = [
        row(date=day.strftime("%m/%d/%Y"), category=what, time=f"{hour}:07")
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
