"""The whole of `prepare` on toy tables: what it writes, that no row is lost, and how bad input ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.events import load_events, open_prepared
from hews_gpu.data.prepare import sort as tables
from hews_gpu.data.prepare.command import prepare
from hews_gpu.errors import UserError
from tests.data.toy import HEADER, TWO_SQUARES, geojson, row, square

Toy = Callable[..., CityConfig]
LINES = [  # line 2 onwards
    row(time="23:59:30", category="AGG. ASSAULT", longitude="-76.6055"),  # 2: twin of line 4, by 43 m and the minute
    row(),  # 3
    row(time="23:59:10", category="Shooting"),  # 4: the target
    row(),  # 5: repeats line 3
    row(time=""),  # 6
    row(date="02/01/2014", time="15", longitude="-76.6035"),  # 7: near twin across midnight, by 129 m and 16 minutes
    row(longitude="-76.6221", latitude="39.281"),  # 8: 180 m west of West
    row(latitude=""),  # 9
    row(longitude="-77"),  # 10
    "oops",  # 11
    row(date="01/01/2014", time="2400", category="HOMICIDE", longitude="-76.61"),  # 12: on the shared edge
]


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


def test_what_is_written_for_a_small_table(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quality = prepare(toy(LINES), out)
    assert quality == json.loads((out / "quality.json").read_text())
    found = table(out, "incidents")
    assert [r["line"] for r in found] == [12, 3, 5, 8, 4, 2, 7]
    assert [r["row_id"] for r in found] == [10, 1, 3, 6, 2, 0, 5]
    assert [r["duplicate_of"] for r in found] == [None, None, 1, None, None, None, None]
    assert [r["twin_of"] for r in found] == [None, None, None, None, None, 2, None]
    assert [r["near_twin_of"] for r in found] == [None, 2, 2, None, None, 2, 2]
    assert [r["neighborhood"] for r in found] == ["West", "East", "East", "West", "East", "East", "East"]
    assert [r["is_nearest"] for r in found] == [False, False, False, True, False, False, False]
    assert [r["category"] for r in found][:2] == ["HOMICIDE", "LARCENY"] and found[0]["is_target"]
    assert found[0]["time_s"] == np.datetime64("2014-01-02", "s").astype(int)
    assert {r["source"] for r in found} == {"table.csv"}
    aside = table(out, "quarantine")
    assert [(r["line"], r["reason"]) for r in aside] == [
        (6, "unparsable time"),
        (9, "no coordinates"),
        (10, "outside the study area"),
        (11, "wrong number of fields"),
    ]
    assert aside[2] | {"row_id": 0} == {
        "source": "table.csv",
        "line": 10,
        "row_id": 0,
        "reason": "outside the study area",
        "time_text": "01/31/2014 23:30:00",
        "longitude_text": "-77",
        "latitude_text": "39.285",
        "category_text": "LARCENY",
    }
    assert aside[3]["time_text"] == aside[3]["category_text"] == ""


def test_the_summary_adds_up(toy: Toy, tmp_path: Path) -> None:
    quality = prepare(toy(LINES), tmp_path / "out")
    assert (quality["rows_read"], quality["rows_kept"], quality["rows_quarantined"]) == (11, 7, 4)
    assert sum(quality["quarantined_by_reason"].values()) == 4
    assert (quality["targets_kept"], quality["duplicates"], quality["twins"], quality["near_twins"]) == (2, 1, 1, 4)
    assert quality["nearest"] == 1 and quality["neighborhoods_used"] == 2
    assert quality["categories"] == {"AGG. ASSAULT": 1, "HOMICIDE": 1, "LARCENY": 4, "SHOOTING": 1}
    assert quality["rows_by_month"] == {"2014-01": 6, "2014-02": 1}
    assert quality["targets_by_month"] == {"2014-01": 2}
    assert quality["span"] == ["2014-01-02T00:00:00", "2014-02-01T00:15:00"]
    hours = np.array(quality["targets_by_weekday_and_hour"])
    assert hours.shape == (7, 24) and hours[3, 0] == 1 and hours[4, 23] == 1 and hours.sum() == 2  # Thursday, Friday
    assert quality["missing"]["latitude"] == 2 and quality["missing"]["Weapon"] == 11
    assert quality["files"][0]["rows"] == 11
    assert quality["minute_zero_share"] == {"targets": 0.5, "others": 0.0}


def test_every_table_has_the_agreed_columns(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(toy(LINES), out)
    assert pq.read_schema(out / "incidents.parquet").equals(tables.INCIDENTS)
    assert pq.read_schema(out / "quarantine.parquet").equals(tables.QUARANTINE)
    charts = pq.read_table(out / "charts_only.parquet")
    assert charts.column_names == ["row_id", "Premise", "Weapon", "Location"]
    assert charts["row_id"].to_pylist() == [0, 1, 2, 3, 5, 6, 10]
    areas = geopandas.read_parquet(out / "neighborhoods.parquet")
    assert list(areas.columns) == ["name", "geometry", "was_repaired"] and areas.crs == "EPSG:4326"
    tables_written = {"incidents.parquet", "quarantine.parquet", "charts_only.parquet", "neighborhoods.parquet"}
    assert {path.name for path in out.iterdir()} == tables_written | {"quality.json", "city.toml", "hews.json"}
    assert open_prepared(out).city.city.name == "Toy" and len(load_events(out)) == 7


def test_two_files_are_one_table(toy: Toy, tmp_path: Path) -> None:
    halves = [LINES[:6], LINES[6:]]
    files = {f"{i}.csv": "\n".join([HEADER, *half]).encode() for i, half in enumerate(halves)}
    quality = prepare(toy(files=files), tmp_path / "out")
    assert [about["rows"] for about in quality["files"]] == [6, 5]
    found = table(tmp_path / "out", "incidents")
    assert [(r["source"], r["line"]) for r in found][:2] == [("1.csv", 6), ("0.csv", 3)]


def test_columns_that_describe_a_person_reach_no_output(toy: Toy, tmp_path: Path) -> None:
    marker = "qqpersonqq"
    lines = [f"{line},{marker}1,{marker}2,{marker}3" if "," in line else line for line in LINES]
    text = "\n".join([f"{HEADER},VictimAge,Sex,RACE", *lines]).encode()
    areas = geojson([{**f, "properties": {**f["properties"], "share": f"{marker}4"}} for f in TWO_SQUARES])
    out = tmp_path / "out"
    quality = prepare(toy(files={"a.csv": text}, areas=areas), out)
    assert quality["files"][0]["person_level_columns_dropped"] == 3
    for path in out.iterdir():
        assert marker.encode() not in path.read_bytes()
        if path.suffix == ".parquet":
            content = pq.read_table(path)
            assert not {"VictimAge", "Sex", "RACE", "share", "Population"} & set(content.column_names)
            texts = [c for c in content.column_names if not pa.types.is_binary(content[c].type)]
            assert marker not in str(content.select(texts).to_pylist())


def test_columns_for_charts_only_are_nowhere_else(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(
        toy([row(category="SHOOTING", rest="QQPREMISE,QQWEAPON,QQSTREET,QQCODE"), row(rest="QQA,QQB,QQC,QQD,")]), out
    )
    for path in out.glob("*.parquet"):
        content = str(pq.read_table(path).to_pylist())
        assert ("QQPREMISE" in content) == (path.name == "charts_only.parquet")
        assert "QQCODE" not in content and "QQD" not in content


AREAS_ELSEWHERE = geojson([square("There", 10.0, 50.0, 10.1, 50.1)])
SHOT = row(category="SHOOTING")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"files": {"a.csv": b""}}, "is empty"),
        ({"files": {"a.csv": HEADER.encode()}}, "has a header but no rows"),
        ({"files": {"a.csv": b"a,b\n1,2\n"}}, "lacks 'CrimeDate'"),
        ({"areas": geojson([])}, "holds no polygons"),
        ({"areas": AREAS_ELSEWHERE}, r"no incident lies in any polygon: 1 rows.*longitude 10\.0000.*same city"),
        ({"lines": [row(category="SHOOTING", longitude="39.285", latitude="-76.605")]}, "seem to be swapped"),
        ({"lines": [row(category="SHOOTING", longitude="1430000", latitude="590000")]}, "seem to be meters or feet"),
        ({"lines": [row(category="SHOOTING", time="noon")]}, r"none of the 1 rows can be used \(unparsable time: 1\)"),
        ({"lines": [row(category="SHOTING")]}, r"targets.*no row has such a category\. Did you mean|Known"),
        ({"incidents": 'schema = "portl"'}, "is not a known schema"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(
    toy: Toy, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    city = toy(**({"lines": [SHOT]} | more))
    with pytest.raises(UserError, match=message) as caught:
        prepare(city, tmp_path / "outs" / "out")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "outs").iterdir())


def test_an_existing_folder_is_replaced_only_by_force(toy: Toy, tmp_path: Path) -> None:
    city, out = toy([SHOT]), tmp_path / "out"
    prepare(city, out)
    with pytest.raises(UserError, match="exists already"):
        prepare(city, out)
    city = toy([SHOT, row()])
    assert prepare(city, out, force=True)["rows_read"] == 2
    assert len(table(out, "incidents")) == 2


@pytest.mark.parametrize("writer", ["charts", "events", "sorted", "incidents.parquet"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    def refuse(where: Path | str) -> None:
        if Path(where).name.lstrip(".").startswith(writer):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    new_file, parquet = pa.ipc.new_file, pq.ParquetWriter
    monkeypatch.setattr(pa.ipc, "new_file", lambda path, *args: refuse(path) or new_file(path, *args))
    monkeypatch.setattr(pq, "ParquetWriter", lambda path, *args, **kw: refuse(path) or parquet(path, *args, **kw))
    with pytest.raises(UserError, match="the disk is full"):
        prepare(toy([SHOT]), tmp_path / "outs" / "out")
    assert not list((tmp_path / "outs").iterdir())


INTERRUPTED = """
import sys
from pathlib import Path
from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import Cut, prepare
print("go", flush=True)
prepare(load_city(Path(sys.argv[1])), Path(sys.argv[2]), cut=Cut(block_rows=20, chunk_bytes=2000))
"""


@pytest.mark.parametrize("delay_s", [0.1, 1.5])
def test_ctrl_c_leaves_nothing(toy: Toy, tmp_path: Path, delay_s: float) -> None:
    city = toy([row(time=f"{i % 24}:{i % 60:02d}", rest=f"{i},,X,6C") for i in range(12_000)])
    (tmp_path / "outs").mkdir()
    command = [sys.executable, "-c", INTERRUPTED, str(city.path), str(tmp_path / "outs" / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and process.stdout.readline() == b"go\n"
        while not list((tmp_path / "outs").iterdir()):
            time.sleep(0.01)
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) != 0
    assert not list((tmp_path / "outs").iterdir())


def test_the_truth_of_a_synthetic_city_goes_along(toy: Toy, tmp_path: Path) -> None:
    city = toy([SHOT])
    city.path.write_text(city.path.read_text() + '[synthetic]\ntruth = "t.npz"\n')
    city = load_city(city.path)
    with pytest.raises(UserError, match=r"\[synthetic\] truth"):
        prepare(city, tmp_path / "out")
    (tmp_path / "t.npz").write_bytes(b"truth")
    prepare(city, tmp_path / "out")
    assert (tmp_path / "out" / "truth.npz").read_bytes() == b"truth"


def test_one_missing_target_of_two_is_a_warning(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(toy([SHOT]), tmp_path / "out")
    assert "warning: no row has the target category 'HOMICIDE'" in capsys.readouterr().err
