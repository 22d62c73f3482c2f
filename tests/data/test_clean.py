"""The verdict on each row, on tables of a few rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hews_gpu.config import CityConfig, normal_category
from hews_gpu.data.clean import REASONS, Rules, block_frame, clean, parse_numbers
from hews_gpu.data.events import open_prepared
from hews_gpu.data.geometry.polygons import areas_of, load_neighborhoods
from hews_gpu.data.prepare.command import Cut, prepare
from tests.data.toy import HEADER, read_all, row

Toy = Callable[..., CityConfig]


def incidents(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "incidents.parquet").to_pandas()


SHOT = row(category="SHOOTING")


def cleaned(city: CityConfig, known: frozenset[str] | None = None) -> pd.DataFrame:
    (block,), _ = read_all(city)
    targets = frozenset({"HOMICIDE", "SHOOTING"})
    rules = Rules(areas=areas_of(load_neighborhoods(city)), tolerance_m=250, targets=targets, known=known)
    return clean(block_frame(block), rules)


def reasons(frame: pd.DataFrame) -> list[str]:
    return [REASONS[code] for code in frame["reason"]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row(), ""),
        (row(time="2400"), ""),
        (row(time="112", category=" shooting  "), ""),
        (row(date="2014-01-31"), ""),
        (row(longitude=" -76.605 ", latitude="3.9285e1"), ""),
        (row(longitude="-76.6221"), ""),
        (row(time=""), "unparsable time"),
        (row(date="1900-01-01"), "a time that stands for none"),
        (row(date="01/01/1970", time="0:00"), "a time that stands for none"),
        (row(date="12/31/1969", time="19:00"), "a time that stands for none"),
        (row(date="01/01/1970", time="0:01"), ""),
        (row(date="12/31/1969", time="9:00"), ""),
        (row(date="01/02/1900"), ""),
        (row(category="(null)"), "no category"),
        (row(category=" #N/A"), "no category"),
        (row(category=r"\N"), "no category"),
        (row(category="\u200b"), "no category"),
        (row(category="Unknown"), ""),
        (row(date="31/01/2014"), "unparsable time"),
        (row(longitude=""), "no coordinates"),
        (row(latitude=" "), "no coordinates"),
        (row(latitude="n/a"), "no coordinates"),
        (row(longitude="nan"), "no coordinates"),
        (row(longitude="-inf"), "no coordinates"),
        (row(longitude="1e999"), "no coordinates"),
        (row(longitude="0", latitude="0"), "no coordinates"),
        (row(longitude="0.0", latitude="5.684341886080802e-14"), "no coordinates"),
        (row(longitude="-76.7"), "outside the study area"),
        (row(longitude="39.285", latitude="-76.605"), "outside the study area"),
        (row(longitude="1430000", latitude="590000"), "outside the study area"),
        (row(longitude="0"), "outside the study area"),
        (row(category=""), "no category"),
        (row(category="  "), "no category"),
        (row(category="JAYWALKING"), ""),
        ("", "blank line"),
        ("a,b,c", "wrong number of fields"),
        (row(time="", longitude="", category=""), "unparsable time"),
    ],
)
def test_one_row_has_one_verdict(toy: Toy, line: str, reason: str) -> None:
    assert reasons(cleaned(toy([row(), line, row()]))) == ["", reason, ""]


def test_unknown_categories_are_set_aside_only_if_the_city_says_so(toy: Toy) -> None:
    city = toy([row(), row(category="JAYWALKING")])
    assert reasons(cleaned(city)) == ["", ""]
    assert reasons(cleaned(city, known=frozenset({"LARCENY"}))) == ["", "unknown category"]


def test_values_of_a_good_row(toy: Toy) -> None:
    frame = cleaned(toy([row(), row(time="24:00:00", category="homicide ", longitude="-76.62", rest="BAR,,,")]))
    assert frame["time_s"].tolist() == [1391211000, 1391212800]
    assert frame["longitude"].tolist() == [-76.605, -76.62] and frame["latitude"].tolist() == [39.285, 39.285]
    assert frame["category"].tolist() == ["LARCENY", "HOMICIDE"]
    assert frame["is_target"].tolist() == [False, True]
    assert frame["neighborhood_id"].tolist() == [1, 0] and not frame["is_nearest"].any()


def test_the_hashes_tell_rows_apart_by_every_text_that_is_read(toy: Toy) -> None:
    variants = [
        row(),
        row(),
        row(date="1/31/2014"),
        row(time="23:30"),
        row(category="larceny"),
        row(longitude="-76.6050"),
    ]
    variants += [
        row(rest="STREET,,900 FAWN ST,6D"),
        row(rest="STREET,900 FAWN ST,,6C"),
        row(rest=",STREET,900 FAWN ST,6C"),
    ]
    frame = cleaned(toy(variants))
    for name in ("hash_a", "hash_b"):
        assert frame[name][0] == frame[name][1]
        assert frame[name].nunique() == len(variants) - 1


def test_the_hashes_of_thousands_of_similar_rows_do_not_clash(toy: Toy) -> None:
    lines = [row(time=f"{i % 24:02d}:{i % 60:02d}", rest=f"{i % 7},{i % 11},{i},{i % 2}") for i in range(5000)]
    frame = cleaned(toy(lines))
    assert frame["hash_a"].nunique() == frame["hash_b"].nunique() == len(set(lines)) == 5000


def test_a_mapped_table_with_date_and_time_in_one_column(toy: Toy) -> None:
    text = "when,x,y,what\n2014-01-31T23:30:00,-76.605,39.285,Shooting\n2014-01-31,-76.605,39.285,Shooting\n"
    roles = '[incidents.columns]\ntime = "When"\nlongitude = "x"\nlatitude = "y"\ncategory = "what"\n'
    frame = cleaned(toy(files={"a.csv": text.encode()}, incidents=roles))
    assert reasons(frame) == ["", "unparsable time"]
    assert frame["time_s"][0] == 1391211000


def test_numbers_are_parsed_exactly() -> None:
    texts = ["39.297090000000004", "-76.6527000000", " 1e-14 ", "+.5", "", "1,5", "0x10", "1_0", "inf", "NaN", "\u0661"]
    expected = [39.297090000000004, -76.6527, 1e-14, 0.5, *[np.nan] * 7]
    np.testing.assert_array_equal(parse_numbers(pa.array(texts)), expected)


def test_categories_are_compared_without_regard_to_case_and_spacing() -> None:
    assert normal_category("  Agg.   assault\n") == "AGG. ASSAULT"


def test_clean_is_pure_and_takes_an_empty_partition(toy: Toy) -> None:
    city = toy([row()])
    frame = cleaned(city)
    again = frame.drop(columns=["reason", "neighborhood_id", "is_nearest", "is_target"])
    before = again.copy(deep=True)
    rules = Rules(areas=areas_of(load_neighborhoods(city)), tolerance_m=0, targets=frozenset(), known=None)
    assert len(clean(again.iloc[:0], rules)) == 0
    clean(again, rules)
    pd.testing.assert_frame_equal(again, before)


DAY = (date(2014, 1, 31) - date(1970, 1, 1)).days
Values = list[tuple[str, Any]]
DATES: Values = [("01/31/2014", DAY), ("1/31/2014", DAY), ("2014-01-31", DAY), ("2014/1/31", DAY)]
NO_DATES: Values = [(text, None) for text in ("", "0001-01-01", "9999-12-31", "31/01/2014", "02/30/2014", "nan", "1")]
TIMES: Values = [("23:30:00", 84_600), ("112", 4320), ("1:12", 4320), ("2400", 86_400), ("11:59:59 PM", 86_399)]
TIMES += [("12:00:00 AM", 0), ("13:18:00+00", 47_880), ("0", 0)]
NO_TIMES: Values = [(text, None) for text in ("", "24:01", "25:00", "1260", "13:00 PM", "noon", "-5", "nan", "1e3")]
X: Values = [("-76.605", -76.605), (" -76.6150 ", -76.615), ("-7.6605e1", -76.605)]
NO_X: Values = [(t, None) for t in ("", "-76,61", "1,234", "nan", "NaN", "inf", "-1e999", "0x1", "W 76", "\u0661")]
OUT: Values = [("-77.5", "out"), ("39.285", "out"), ("1425000", "out"), ("0", "out")]
WHATS: Values = [
    ("SHOOTING", "SHOOTING"),
    (" agg.  assault", "AGG. ASSAULT"),
    ("A\n B", "A B"),
    ('5" PIPE, X', '5" PIPE, X'),
]


NO_WHATS: Values = [("", ""), ("  ", "")]
BROKEN = {
    "": "blank line",
    "a,b": "wrong number of fields",
    f"{SHOT},x": "wrong number of fields",
    HEADER: "header repeated",
    'x,"never closed,,,,,,,': "unbalanced quotes",
}


def fuzzed(rng: np.random.Generator, rows: int) -> tuple[str, list[tuple[Any, ...]]]:
    """A table, and for each row (line, reason, time_s, longitude, category) by the rules as a person would say them."""
    buffer = io.StringIO()
    write = csv.writer(buffer, lineterminator="\n")
    line, expected = 2, []

    def draw(good: Values, bad: Values) -> tuple[str, Any]:
        options = bad if rng.random() < 0.12 else good
        return options[rng.integers(len(options))]

    for _ in range(rows):
        if rng.random() < 0.1:
            text, reason = list(BROKEN.items())[rng.integers(len(BROKEN))]
            buffer.write(f"{text}\n")
            expected.append((line, reason, None, None, None))
            line += 1
            continue
        day, clock = draw(DATES, NO_DATES), draw(TIMES, NO_TIMES)
        x, what = draw(X, NO_X + OUT), draw(WHATS, NO_WHATS)
        cells = [day[0], clock[0], what[0], x[0], "39.285", "P", "", "1 \u00e9 ST", "6C"]
        write.writerow(cells)
        if day[1] is None or clock[1] is None:
            reason = "unparsable time"
        elif x[1] is None:
            reason = "no coordinates"
        elif x[1] == "out":
            reason = "outside the study area"
        else:
            reason = "" if what[1] else "no category"
        time_s = None if reason == "unparsable time" else day[1] * 86_400 + clock[1]
        expected.append((line, reason, time_s, None if reason else x[1], what[1]))
        line += 1 + what[0].count("\n")
    return f"{HEADER}\n{buffer.getvalue()}", expected


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.sampled_from([7, 300, 10_000]), st.sampled_from([200, 5_000, 1 << 20]))
def test_four_thousand_fuzzed_rows_none_lost_none_misread(
    toy: Toy, seed: int, block_rows: int, chunk_bytes: int
) -> None:
    text, expected = fuzzed(np.random.default_rng(seed), 400)
    city = toy(files={"t.csv": text.encode()})
    blocks, _ = read_all(city, block_rows=block_rows, chunk_bytes=chunk_bytes, partition_bytes=3 * chunk_bytes)
    rules = Rules(areas=areas_of(load_neighborhoods(city)), tolerance_m=0, targets=frozenset(), known=None)
    frames = [clean(block_frame(block), rules) for block in blocks]
    lines = [line for frame in frames for line in frame["line"]]
    assert lines == [line for line, *_ in expected]
    found = [
        (line, REASONS[reason], time_s, x, what)
        for frame in frames
        for line, reason, time_s, x, what in zip(
            frame["line"], frame["reason"], frame["time_s"], frame["longitude"], frame["category"], strict=True
        )
    ]
    for (_, reason, time_s, x, what), want in zip(found, expected, strict=True):
        assert reason == want[1]
        if want[2] is not None:
            assert time_s == want[2] and what == want[4]
        if not reason:
            assert x == want[3]


def test_a_fuzzed_table_adds_up_to_the_end(toy: Toy, tmp_path: Path) -> None:
    text, expected = fuzzed(np.random.default_rng(1), 1500)
    quality = prepare(toy(files={"t.csv": text.encode()}), tmp_path / "out", cut=Cut(block_rows=111, bucket_rows=50))
    reasons = [reason for _, reason, *_ in expected]
    assert quality["rows_read"] == 1500 and quality["rows_kept"] == reasons.count("")
    assert quality["quarantined_by_reason"] == {r: reasons.count(r) for r in REASONS[1:] if reasons.count(r)}
    assert len(incidents(tmp_path / "out")) + pq.read_metadata(tmp_path / "out/quarantine.parquet").num_rows == 1500
    for path in ("incidents", "quarantine"):
        assert set(pq.read_table(tmp_path / f"out/{path}.parquet")["line"].to_pylist()) <= {e[0] for e in expected}


def test_a_row_may_have_happened_until_its_end(toy: Toy, tmp_path: Path) -> None:
    """Blank or equal: when it began. Before the begin, a year later, or no time: set aside with the reason."""
    begin, place = "2014-01-31 23:30:00", "SHOOTING,-76.605,39.285"
    ends = ["", "NULL", begin, "2014-02-01 06:00:00", "2014-02-02"]
    ends += ["2014-01-31 23:29:00", "2016-01-31 23:30:00", "soon"]
    lines = [f"{begin},{end},{place},{i}" for i, end in enumerate(ends)]
    mapped = 'time = "START"\nend = "END"\ncategory = "What"\nlongitude = "x"\nlatitude = "y"'
    content = "\n".join(["START,END,What,x,y,n", *lines]).encode()
    quality = prepare(toy(files={"t.csv": content}, incidents=f"[incidents.columns]\n{mapped}"), tmp_path / "out")
    prepared = open_prepared(tmp_path / "out")
    assert sorted(prepared.span_s.tolist()) == [0, 0, 0, 6.5 * 3600, (24 + 24 + 0.5) * 3600 - 60]
    reasons = {"ends before it begins": 1, "may have happened within more than a year": 1, "unparsable end": 1}
    assert quality["quarantined_by_reason"] == reasons and prepared.city.incidents.columns["end"] == "END"
