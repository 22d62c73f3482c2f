"""No result depends on how a table is cut into pieces and stretches of time: edges of every kind, and any cut."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hews_gpu.config import CityConfig
from hews_gpu.data.events import load_events
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.prepare.duplicates import NEAR_TWIN, TWIN, distance_m
from hews_gpu.data.prepare.partitions import plan_partitions
from hews_gpu.data.readers.files import incident_files, with_digests
from hews_gpu.data.readers.schemas import ReadSettings
from hews_gpu.data.windows import make_windows
from hews_gpu.errors import UserError
from tests.data.toy import HEADER, row

Toy = Callable[..., CityConfig]
DAY_S = 86_400
COSTS = ("seconds", "peak_memory_bytes")


# Every kind of edge that a partition may have: midnight, ends of months and years, a leap day, the hour that the clock
# skips and the one it repeats, minutes that end at a day's last second, and a lone day far from all others.
INSTANTS = [
    ("12/31/2013", "23:59:59"),
    ("12/31/2013", "24:00:00"),  # is the first second of 2014
    ("01/01/2014", "00:00:00"),
    ("01/01/2014", "00:00:01"),
    ("01/31/2014", "23:59:30"),
    ("02/01/2014", "00:00:29"),
    ("02/28/2014", "23:45:00"),
    ("03/01/2014", "00:14:00"),
    ("03/09/2014", "01:59:59"),
    ("03/09/2014", "02:30:00"),  # does not exist in New York
    ("11/02/2014", "01:30:00"),  # happens twice there
    ("11/02/2014", "23:59:59"),
    ("11/03/2014", "00:29:59"),
    ("02/29/2016", "12:00:00"),
    ("07/04/1999", "00:00:00"),
]


def edge_rows() -> list[str]:
    """In turn a shooting and a report beside it, always one out of reach, and a repeat of each; in no order."""
    lines = []
    for i, (on, clock) in enumerate(INSTANTS):
        near = ("AGG. ASSAULT", "-76.6055") if i % 2 else ("SHOOTING", "-76.605")
        for category, longitude in (near, ("LARCENY", "-76.6021")):
            lines += [row(date=on, time=clock, category=category, longitude=longitude)] * 2
    order = np.random.default_rng(1).permutation(len(lines))
    return [lines[i] for i in order.tolist()]


def assert_same(one: Path, other: Path, quality: dict[str, Any], other_quality: dict[str, Any]) -> None:
    for name in ("incidents", "quarantine", "charts_only"):
        assert pq.read_table(one / f"{name}.parquet") == pq.read_table(other / f"{name}.parquet"), name
    without = [{key: value for key, value in q.items() if key not in COSTS} for q in (quality, other_quality)]
    assert without[0] == without[1]


@pytest.mark.parametrize("bucket_rows", [1, 7])
def test_marks_reach_across_every_edge_of_a_partition(toy: Toy, tmp_path: Path, bucket_rows: int) -> None:
    """With one row to a stretch, every day is one; twins are found by measuring all pairs of rows here."""
    city = toy(edge_rows())
    whole = prepare(city, tmp_path / "whole")
    cut = Cut(block_rows=3, bucket_rows=bucket_rows, chunk_bytes=200, partition_bytes=200)
    parts = prepare(city, tmp_path / "parts", cut=cut)
    assert_same(tmp_path / "whole", tmp_path / "parts", whole, parts)
    table = pq.read_table(tmp_path / "parts" / "incidents.parquet")
    columns = {name: table[name].to_numpy() for name in ("time_s", "longitude", "latitude", "is_target", "row_id")}
    twin, near = (table[name].to_pylist() for name in ("twin_of", "near_twin_of"))
    targets = np.flatnonzero(columns["is_target"])
    for i in np.flatnonzero(~columns["is_target"]).tolist():
        apart_m = distance_m(*(columns[name][of] for of in (targets, i) for name in ("longitude", "latitude")))
        apart_s = np.abs(columns["time_s"][targets] - columns["time_s"][i])
        same_minute = columns["time_s"][targets] // 60 == columns["time_s"][i] // 60
        expected = bool((same_minute & (apart_m <= TWIN.distance_m)).any())
        assert (twin[i] is not None) == expected
        assert (near[i] is not None) == bool(
            ((apart_s <= NEAR_TWIN.within_s) & (apart_m <= NEAR_TWIN.distance_m)).any()
        )
    days = columns["time_s"] // DAY_S
    crossing = [i for i, of in enumerate(near) if of is not None and days[columns["row_id"] == of][0] != days[i]]
    assert len(crossing) == 6 and whole["duplicates"] == len(table) // 2  # 24:00:00 repeats nothing word for word


def test_windows_that_straddle_partitions_hold_what_a_plain_loop_counts(toy: Toy, tmp_path: Path) -> None:
    prepare(toy(edge_rows()), tmp_path / "out", cut=Cut(bucket_rows=1, partition_bytes=200, chunk_bytes=200))
    events = load_events(tmp_path / "out")
    begin_s = int(events.time_s[0]) // DAY_S * DAY_S
    for length_s, stride_s, anchor_s in ((7200, 7200, 3600), (5400, 1800, 900), (3 * DAY_S, DAY_S, DAY_S // 2)):
        windows = make_windows(
            events.time_s,
            begin_s=begin_s,
            end_s=begin_s + 40 * DAY_S,
            length_s=length_s,
            stride_s=stride_s,
            anchor_s=anchor_s,
        )
        held = [[start <= t < start + length_s for t in events.time_s.tolist()] for start in windows.start_s.tolist()]
        assert (windows.last - windows.first).tolist() == [sum(window) for window in held]
    windows = make_windows(
        events.time_s, begin_s=int(events.time_s[0]), end_s=int(events.time_s[-1]) + 7200, length_s=7200, stride_s=7200
    )
    assert (windows.last - windows.first).sum() == len(events)


def lines_of(seed: int, count: int) -> list[str]:
    """Rows of a few days with crowds, repeats, targets and dirt, quoted line ends and quotes that never close."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        minute, spot = 30 * rng.integers(0, 48), rng.choice([-9, *range(8)])
        category = rng.choice(["SHOOTING", "AGG. ASSAULT", "LARCENY", "", '"LARC\nENY"'], p=[0.15, 0.4, 0.3, 0.05, 0.1])
        clock = f"{minute // 60:02d}:{minute % 60:02d}:00" if rng.random() > 0.05 else "?"
        at = f"{-76.616 + spot * 0.0009:.4f}" if rng.random() > 0.05 else ""
        lines.append(row(date=f"01/0{rng.integers(1, 4)}/2014", time=clock, category=category, longitude=at))
        if rng.random() < 0.05:
            lines.append(str(rng.choice(["oops", "", 'a,"b', '"', ",,,,,,,,"])))
    return lines


def files_of(seed: int, kinds: tuple[str, ...]) -> dict[str, bytes]:
    """Some files of one city, of several kinds; the second half of each repeats rows of the one before it."""
    files, before = {}, lines_of(seed, 20)
    for number, kind in enumerate(kinds):
        own = [*lines_of(seed + 1 + number, 25), row(category="SHOOTING"), *before[::2]]
        text = ("\r\n" if kind == "crlf.csv" else "\n").join([HEADER, *own]).encode()
        if kind == "parquet":
            whole = [line for line in own if line.count(",") == 8 and '"' not in line]
            table = pyarrow.csv.read_csv(
                io.BytesIO("\n".join([HEADER, *whole]).encode()),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(HEADER.split(","), pa.string()), strings_can_be_null=False
                ),
            )
            sink = io.BytesIO()
            pq.write_table(table, sink, row_group_size=7)
            text = sink.getvalue()
        elif kind == "json":
            names = HEADER.split(",")
            records = [dict(zip(names, line.split(","), strict=True)) for line in own if line.count(",") == 8]
            text = json.dumps(records).encode()
        elif kind == "utf16.csv":
            text = text.decode().encode("utf-16")
        files[f"{number}.{kind}"] = text
        before = own
    return files


KINDS = ("csv", "csv.gz", "crlf.csv", "utf16.csv", "parquet", "json")


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    block_rows=st.sampled_from([1, 5, 1000]),
    bucket_rows=st.integers(1, 60),
    chunk_bytes=st.integers(80, 3000),
    partition_bytes=st.integers(1, 5000),
)
@example(seed=0, kinds=list(KINDS), block_rows=3, bucket_rows=5, chunk_bytes=150, partition_bytes=300)
def test_any_cut_of_any_files_gives_the_same_tables(
    toy: Toy, tmp_path: Path, seed: int, kinds: list[str], **cut: int
) -> None:
    city = toy(files=files_of(seed, tuple(kinds)))
    whole = prepare(city, tmp_path / "whole", force=True)
    parts = prepare(city, tmp_path / "parts", force=True, cut=Cut(**cut))
    assert_same(tmp_path / "whole", tmp_path / "parts", whole, parts)
    assert whole["rows_read"] == whole["rows_kept"] + whole["rows_quarantined"]


def test_a_large_file_makes_many_partitions_and_many_small_files_make_one(toy: Toy, tmp_path: Path) -> None:
    lines = lines_of(3, 300)
    contents = {"big.csv": "\n".join([HEADER, *lines]).encode()}
    contents |= {f"small{i:02d}.csv.gz": "\n".join([HEADER, row()]).encode() for i in range(20)}
    city = toy(files=contents)
    whole = prepare(city, tmp_path / "whole")
    files = with_digests(incident_files(city))
    plan = plan_partitions(files, ReadSettings(chunk_bytes=500), tmp_path, most_bytes=4000)
    of_big = [partition for partition in plan.partitions if partition[0].file.number == 0]
    others = [partition for partition in plan.partitions if partition[0].file.number != 0]
    assert len(of_big) >= 3 and all(len(partition) == 1 for partition in of_big)
    assert len(others) == 1 and len(others[0]) == 20
    assert plan.rows == whole["rows_read"]
    assert plan.files[3].bytes == len(gzip.compress(contents["small02.csv.gz"])) and len(plan.files[3].sha256) == 64


def test_a_gap_of_decades_needs_no_partition_of_its_own(toy: Toy, tmp_path: Path) -> None:
    lines = [row(date=f"01/0{1 + i % 3}/{year}", category="SHOOTING") for year in (1905, 2014, 2099) for i in range(9)]
    city = toy(lines)
    whole = prepare(city, tmp_path / "whole")
    parts = prepare(city, tmp_path / "parts", cut=Cut(bucket_rows=2, partition_bytes=150, chunk_bytes=100))
    assert_same(tmp_path / "whole", tmp_path / "parts", whole, parts)
    assert whole["span"] == ["1905-01-01T23:30:00", "2099-01-03T23:30:00"]


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


def big_table() -> list[str]:
    """Some 300 rows over three days, with crowds, repeats, targets and dirt, in no order."""
    rng = np.random.default_rng(3)
    lines = []
    for _ in range(300):
        day, minute, spot = rng.integers(1, 4), 30 * rng.integers(0, 48), rng.choice([-9, *range(8)])
        category = rng.choice(["SHOOTING", "AGG. ASSAULT", "LARCENY", ""], p=[0.15, 0.4, 0.4, 0.05])
        at = f"{-76.616 + spot * 0.0009:.4f}" if rng.random() > 0.05 else ""
        time = f"{minute // 60:02d}:{minute % 60:02d}:00" if rng.random() > 0.05 else "?"
        lines.append(row(date=f"01/0{day}/2014", time=time, category=category, longitude=at))
    return lines


@pytest.mark.parametrize("rows", [7, 100])
def test_the_cut_into_blocks_and_buckets_does_not_matter(toy: Toy, tmp_path: Path, rows: int) -> None:
    city = toy(big_table())
    whole = prepare(city, tmp_path / "whole", cut=Cut(block_rows=10**6))
    parts = prepare(city, tmp_path / "parts", cut=Cut(block_rows=rows, bucket_rows=rows, chunk_bytes=60 * rows))
    for name in ("incidents", "quarantine", "charts_only"):
        assert pq.read_table(tmp_path / f"parts/{name}.parquet") == pq.read_table(tmp_path / f"whole/{name}.parquet")
    for measured in ("seconds", "peak_memory_bytes"):
        whole.pop(measured), parts.pop(measured)
    assert parts == whole
    assert whole["twins"] > 5 and whole["near_twins"] > whole["twins"] and whole["duplicates"] > 2
    assert whole["rows_read"] == 300 and len(whole["quarantined_by_reason"]) == 4
