"""Hostile tables: whatever is in the file, every row is accounted for, none is misread, and memory stays bounded."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hews_gpu.config import CityConfig
from hews_gpu.data.clean import REASONS, Rules, block_frame, clean
from hews_gpu.data.geometry.polygons import areas_of, load_neighborhoods
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.readers.records import GOOD, TOO_LONG, Counted, iter_records
from hews_gpu.errors import UserError
from tests.data.toy import HEADER, TWO_SQUARES, geojson, read_all, row, square

Toy = Callable[..., CityConfig]
SHOT = row(category="SHOOTING")
LINES = [SHOT, row(category='"LARCENY\nFROM AUTO"'), row(rest='"A, B",,"9 ""X"" ST",6C'), row(time="112")]
TEXT = "\n".join([HEADER, *LINES, ""])


def incidents(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "incidents.parquet").to_pandas()


ENCODINGS = {
    "utf-8 with mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "utf-16, little end first": b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "utf-16, big end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "latin-1": TEXT.encode("latin-1"),
    "crlf": TEXT.replace("\n", "\r\n").encode(),
    "cr": TEXT.replace("\n", "\r").encode(),
    "blank lines first": b"\n\n" + TEXT.encode(),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("chunk_bytes", [50, 1 << 20])
def test_the_same_table_in_any_encoding(toy: Toy, tmp_path: Path, name: str, chunk_bytes: int) -> None:
    quality = prepare(toy(files={"t.csv": ENCODINGS[name]}), tmp_path / "out", cut=Cut(chunk_bytes=chunk_bytes))
    assert quality["rows_read"] == quality["rows_kept"] == 4
    found = incidents(tmp_path / "out")
    shift = 2 if name == "blank lines first" else 0
    assert found["line"].tolist() == [6 + shift, 2 + shift, 3 + shift, 5 + shift]
    assert found["category"].tolist() == ["LARCENY", "SHOOTING", "LARCENY FROM AUTO", "LARCENY"]


def test_latin_1_rows_among_utf_8_rows_are_read_and_counted(toy: Toy, tmp_path: Path) -> None:
    lines = [row(category="CAF\xc9").encode(), row(category="CAF\xc9").encode("latin-1"), SHOT.encode()]
    content = b"\n".join([HEADER.encode(), *lines])
    for cut in (Cut(), Cut(block_rows=1, chunk_bytes=30)):
        quality = prepare(toy(files={"t.csv": content}), tmp_path / "out", force=True, cut=cut)
        assert quality["categories"] == {"CAF\xc9": 2, "SHOOTING": 1}
        assert "t.csv: 1 rows that are not UTF-8, read as Windows-1252" in quality["warnings"]


@pytest.mark.parametrize("seed", range(4))
def test_one_percent_random_bytes_cost_only_the_lines_they_hit(toy: Toy, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = [row(time=f"{i % 24:02d}:{i % 60:02d}:00", rest=f"P,,{i} X ST,6C") for i in range(400)] + [SHOT]
    content = bytearray("\n".join([HEADER, *lines]).encode())
    hit = len(HEADER) + 1 + rng.choice(len(content) - len(HEADER) - 1, len(content) // 100, replace=False)
    for at in hit:
        content[at] = rng.integers(256)
    quality = prepare(toy(files={"t.csv": bytes(content)}), tmp_path / "out", cut=Cut(block_rows=50, chunk_bytes=3000))
    assert quality["rows_read"] == quality["rows_kept"] + sum(quality["quarantined_by_reason"].values())
    aside = pq.read_table(tmp_path / "out/quarantine.parquet").to_pandas()
    found = incidents(tmp_path / "out")
    assert len(found) + len(aside) == quality["rows_read"]
    # a line is whole if neither it nor the line ends around it were hit
    begins = np.cumsum([0, *(len(line) + 1 for line in [HEADER, *lines])])
    whole = {lines[i] for i in range(400) if not ((begins[i + 1] - 1 <= hit) & (hit < begins[i + 2])).any()}
    charts = pq.read_table(tmp_path / "out/charts_only.parquet").to_pandas().merge(found, on="row_id")
    second = charts["time_s"] % 86_400
    clock = (second // 3600).map("{:02d}".format) + ":" + (second // 60 % 60).map("{:02d}".format) + ":00"
    read = {row(time=time, rest=f"P,,{where},6C") for time, where in zip(clock, charts["Location"], strict=True)}
    assert whole <= read and len(whole) > 100
    assert (second < 86_400).all() and found["longitude"].between(-76.63, -76.59).all()


class Endless(io.RawIOBase):
    """A header's worth of rows, then one line of 2 GB that is never held anywhere, then a row."""

    def __init__(self, length: int) -> None:
        self.parts, self.left = [b"a,b,c\n1,2,3\n"], length

    def read(self, size: int = -1) -> bytes:
        if self.parts:
            return self.parts.pop()
        take = min(size, self.left)
        self.left -= take
        if take and not self.left:
            self.parts = [b"\n4,5,6\n"]
        return b"x" * take


def test_a_line_of_2_gb_costs_one_row_and_no_memory() -> None:
    tracemalloc.start()
    stream: Any = Endless(2 << 30)
    found = [
        (int(line), int(problem))
        for part in iter_records(Counted(stream), 3)
        for line, problem in zip(part.line, part.problem, strict=True)
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(1, GOOD), (2, GOOD), (3, TOO_LONG), (4, GOOD)]
    assert peak < 64 << 20


def test_swapped_coordinates_are_suggested_and_never_exchanged(toy: Toy, tmp_path: Path) -> None:
    swapped = row(longitude="39.285", latitude="-76.605")
    quality = prepare(toy([SHOT, swapped, swapped]), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"outside the study area": 2}
    (warning,) = [text for text in quality["warnings"] if "exchanged" in text]
    assert warning.startswith("2 rows outside would lie in the city with longitude and latitude exchanged")
    assert len(incidents(tmp_path / "out")) == 1


def test_coordinates_in_feet_and_numbers_with_commas_are_suggested(toy: Toy, tmp_path: Path) -> None:
    feet = row(longitude="1425000.5", latitude="592000.25")
    commas = [row(longitude='"-76,605"'), row(longitude='"1,425,000"', latitude='"592,000"')]
    quality = prepare(toy([SHOT, feet, *commas]), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"no coordinates": 2, "outside the study area": 1}
    assert any(
        "1 rows have coordinates that are no degrees but look like meters or feet" in w for w in quality["warnings"]
    )
    assert any("3 coordinates hold a comma" in w for w in quality["warnings"])


def test_overlapping_and_nested_polygons_are_named_and_the_first_wins(toy: Toy, tmp_path: Path) -> None:
    inner = square("Inner", -76.608, 39.284, -76.602, 39.286)
    high = square("High", -76.60, 39.28, -76.59, 39.29)
    high["geometry"]["coordinates"] = [[[x, y, 12.5] for x, y in high["geometry"]["coordinates"][0]]]
    empty = {"type": "Feature", "properties": {"Name": "Empty"}, "geometry": {"type": "Polygon", "coordinates": []}}
    nothing = {"type": "Feature", "properties": {"Name": "Nothing"}, "geometry": None}
    areas = geojson([*TWO_SQUARES, inner, high, empty, nothing])
    quality = prepare(toy([SHOT, row(longitude="-76.595")], areas=areas), tmp_path / "out")
    assert quality["overlapping_neighborhoods"] == [["East", "Inner"]] and quality["neighborhoods"] == 4
    assert any("1 pairs of neighborhoods overlap ('East' and 'Inner')" in text for text in quality["warnings"])
    assert incidents(tmp_path / "out")["neighborhood"].tolist() == ["East", "High"]


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
def test_ten_thousand_fuzzed_rows_none_lost_none_misread(
    toy: Toy, seed: int, block_rows: int, chunk_bytes: int
) -> None:
    text, expected = fuzzed(np.random.default_rng(seed), 1000)
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


@pytest.mark.parametrize("chunk_bytes", [300, 1 << 20])
def test_day_first_dates_stop_with_one_line(toy: Toy, tmp_path: Path, chunk_bytes: int) -> None:
    """Read month first, 36 of these 84 rows would be kept in months in which nothing happened."""
    days = [date(2014, 1, 1) + timedelta(days=day) for day in range(84)]
    lines = [row(date=day.strftime("%d/%m/%Y"), category="SHOOTING") for day in days]
    with pytest.raises(UserError, match=r"^table\.csv: its dates look day-first, such as 31/01/2014.* YYYY-MM-DD\.$"):
        prepare(toy(lines), tmp_path / "out", cut=Cut(chunk_bytes=chunk_bytes))
    one_column = "CrimeDateTime,Longitude,Latitude,Description\n" + "".join(
        f"{day:%d/%m/%Y} 23:30:00,-76.605,39.285,SHOOTING\n" for day in days
    )
    with pytest.raises(UserError, match="its dates look day-first"):
        prepare(toy(files={"t.csv": one_column.encode()}), tmp_path / "out", cut=Cut(chunk_bytes=chunk_bytes))


def test_month_first_dates_with_a_few_bad_ones_are_kept(toy: Toy, tmp_path: Path) -> None:
    days = [date(2014, 1, 1) + timedelta(days=day) for day in range(84)]
    lines = [row(date=day.strftime("%m/%d/%Y"), category="SHOOTING") for day in days]
    bad = [row(date=text) for text in ("13/01/2014", "31/12/2013", "25/02/2014", "19/03/2014")]
    quality = prepare(toy([*lines, *bad]), tmp_path / "out")
    assert quality["rows_kept"] == 84 and quality["quarantined_by_reason"] == {"unparsable time": 4}
