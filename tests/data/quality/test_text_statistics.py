"""Blanks by month, round times, vocabulary and give-aways of toy tables, counted again with pandas."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.clean import OUT, REASONS
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.quality.text_statistics import missing_by_month, tally_texts
from hews_gpu.data.readers.dates import NOT_A_TIME
from hews_gpu.data.readers.dictionary_column import TEXT, Block
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
    verdicts = {
        "time_s": [0, 40 * 86_400, 5, NOT_A_TIME, 7],
        "reason": [0, 0, OUT, REASONS.index("unparsable time"), 0],
    }
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
