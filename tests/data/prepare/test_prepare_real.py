"""Golden counts on the real tables; each was counted by other means (pandas, shapely) on the raw files."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.clean import block_frame
from hews_gpu.data.prepare.duplicates import NONE, repeats_of_earlier_downloads
from tests.data.toy import read_all

pytestmark = pytest.mark.real_data

RUN = """
import json, sys
from pathlib import Path
from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import prepare
prepare(load_city(Path(sys.argv[1])), Path(sys.argv[2]), score_only=True)
"""


PORTAL, ARCGIS = "portal_2012_2017.csv.gz", "arcgis_2016_2019.csv.gz"
CSA = "csa_55_vitalsigns16", "CSA2010"


def tables(toy: Callable[..., CityConfig], real_data: Path, areas: str, name: str, *files: str) -> CityConfig:
    city = toy()
    paths = [str(real_data / "baltimore" / file) for file in files or (PORTAL,)]
    text = city.path.read_text().replace('["table.csv"]', json.dumps(paths))
    text = text.replace("areas.geojson", str(real_data / f"baltimore/{areas}.geojson.gz"))
    city.path.write_text(text.replace('name = "Name"', f'name = "{name}"'))
    return load_city(city.path)


def processor_seconds() -> float:
    """What all finished child processes have used so far: unlike the wall clock, not a measure of the neighbors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(city: CityConfig, out: Path) -> dict[str, Any]:
    """In a process of its own, as the command does it: memory is that of the whole process."""
    subprocess.run([sys.executable, "-c", RUN, str(city.path), str(out)], check=True, timeout=120)
    result: dict[str, Any] = json.loads((out / "quality.json").read_text())
    return result


@pytest.mark.parametrize(
    ("areas", "name", "count", "nearest"),
    [("csa_55_vitalsigns16", "CSA2010", 55, 1133), ("neighborhoods_278_census2010", "Name", 278, 552)],
)
def test_every_row_of_the_portal_table_is_accounted_for(
    toy: Callable[..., CityConfig], real_data: Path, tmp_path: Path, areas: str, name: str, count: int, nearest: int
) -> None:
    started = processor_seconds()
    quality = run(tables(toy, real_data, areas, name), tmp_path / "out")
    assert processor_seconds() - started < 12
    assert quality["rows_read"] == 276_529
    assert quality["quarantined_by_reason"] == {"no coordinates": 2204, "outside the study area": 6}
    assert quality["rows_kept"] == 276_529 - 2210
    assert quality["targets_kept"] == 4468 and quality["targets_quarantined_by_reason"] == {"no coordinates": 1}
    assert quality["duplicates"] == 10_547
    assert quality["neighborhoods_used"] == count and quality["nearest"] == nearest
    assert quality["peak_memory_bytes"] < 2e9
    incidents = pq.read_table(tmp_path / "out/incidents.parquet").to_pandas()
    assert incidents["time_s"].is_monotonic_increasing and incidents["row_id"].is_unique
    (midnight,) = incidents[incidents["line"] == 34281].to_dict("records")
    assert midnight["category"] == "SHOOTING" and midnight["time_s"] % 86_400 == 0


def test_duplicates_over_all_rows(toy: Callable[..., CityConfig], real_data: Path) -> None:
    """All 15 columns are compared: 10,637 of all rows repeat an earlier one, 10,547 of those with coordinates."""
    city = tables(toy, real_data, "csa_55_vitalsigns16", "CSA2010")
    blocks, _ = read_all(city)
    frames = [block_frame(block) for block in blocks]
    hashes = [[value for frame in frames for value in frame[name]] for name in ("hash_a", "hash_b", "row_id")]
    row_id, same = np.array(hashes[2], np.int64), np.zeros(len(hashes[2]), np.int64)
    words = (np.array(hashes[0], np.uint64), np.array(hashes[1], np.uint64))
    repeated, _ = repeats_of_earlier_downloads(words, row_id, layout=same, download=same)
    assert (repeated != NONE).sum() == 10_637


def test_every_row_of_the_arcgis_table_is_accounted_for(
    toy: Callable[..., CityConfig], real_data: Path, tmp_path: Path
) -> None:
    quality = run(tables(toy, real_data, *CSA, ARCGIS), tmp_path / "out")
    assert quality["rows_read"] == quality["rows_kept"] == 163_509 and quality["quarantined_by_reason"] == {}
    assert quality["targets_kept"] == 1_252 + 2_795 and quality["nearest"] == 138
    assert quality["duplicates"] == 6_159  # pandas: all columns but RowID
    assert quality["files"][0]["schema"] == "arcgis"
    assert quality["span"] == ["2016-01-01T00:42:00", "2019-12-31T23:50:00"]
    incidents = pq.read_table(tmp_path / "out/incidents.parquet").to_pandas()
    (first,) = incidents[incidents["line"] == 2].to_dict("records")  # 2019/12/31 23:00:00+00: the suffix means nothing
    assert str(np.datetime64(first["time_s"], "s")) == "2019-12-31T23:00:00"


def test_both_tables_together_count_each_event_once(
    toy: Callable[..., CityConfig], real_data: Path, tmp_path: Path
) -> None:
    quality = run(tables(toy, real_data, *CSA, PORTAL, ARCGIS), tmp_path / "out")
    assert quality["rows_read"] == 276_529 + 163_509 and quality["rows_kept"] == 274_319 + 163_509
    assert quality["quarantined_by_reason"] == {"no coordinates": 2204, "outside the study area": 6}
    assert quality["targets_kept"] == 4_468 + 4_047
    (pair,) = quality["overlapping_files"]
    assert pair["files"] == [PORTAL, ARCGIS] and pair["days"] == ["2016-01-01", "2017-09-02"]
    assert pair["rows"] == [82_292, 73_986]
    # pandas finds 66,314 rows with a row of the same minute and category within 0.001 degrees, pairs not made unique;
    # one to one there are 66,174, and 783 more targets whose time was revised
    assert quality["overlaps"] == pair["repeated"] == 66_174 + 783
    assert pair["targets"] == {
        "HOMICIDE": {"rows": [555, 508], "repeated": 505, "unmatched": 3},
        "SHOOTING": {"rows": [1_134, 1_120], "repeated": 1_107, "unmatched": 13},
    }
    assert quality["target_overlaps"] == 505 + 1_107 and sum(quality["targets_by_month"].values()) == 8_515 - 1_612
    assert any("66,957 rows of the second repeat" in text for text in quality["warnings"])
    incidents = pq.read_table(tmp_path / "out/incidents.parquet").to_pandas()
    assert incidents["duplicate_of"].notna().sum() == quality["duplicates"] == 80_998
    assert incidents["is_overlap"].sum() == 66_957
    shared = incidents[
        incidents["is_target"] & (incidents["time_s"] < int(np.datetime64("2017-09-02", "s").astype(int)))
    ]
    shared = shared[shared["time_s"] >= int(np.datetime64("2016-01-01", "s").astype(int))]
    assert (shared["source"] == PORTAL).sum() == 1685 and (shared["source"] == ARCGIS).sum() == 1624
    assert (~shared["is_overlap"]).sum() == 1685 + 16  # both together hold hardly more than one
    lost = quality["vocabulary_changes"]
    assert [(entry["category"], entry["files"], entry["rows"]) for entry in lost] == [
        ("ASSAULT BY THREAT", [ARCGIS], 0)
    ]
    steps = {(step["category"], step["month"]) for step in quality["volume_steps"]["found"]}
    assert ("(all)", "2017-09") in steps and ("ASSAULT BY THREAT", "2017-09") in steps
    assert quality["peak_memory_bytes"] < 2e9


def test_the_columns_known_to_give_the_label_away_are_flagged(
    toy: Callable[..., CityConfig], real_data: Path, tmp_path: Path
) -> None:
    """Inside/Outside is spelt out on exactly the target rows; labels never have an AVE address or a full hour."""
    quality = run(tables(toy, real_data, *CSA), tmp_path / "out")
    found = {entry["column"]: entry for entry in quality["label_information"]["columns"]}
    assert found["Inside/Outside"]["share"] > 0.999
    for name in ("Inside/Outside", "Premise", "Weapon", "Location: last word", "clock: minute is 0"):
        assert found[name]["warning"], name
    for name in ("District", "Location", "Location 1", "latitude: pattern"):
        assert not found[name]["warning"], name
    assert quality["rounding_by_category"]["SHOOTING"]["minute_0"] < 0.03
    assert any("Inside/Outside (100%)" in warning for warning in quality["warnings"])
