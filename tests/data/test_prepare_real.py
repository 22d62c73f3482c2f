"""Golden counts on the real portal table; each was counted by other means (pandas, shapely) on the raw file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.clean import block_frame
from hews_gpu.data.marks import NONE, first_duplicates
from hews_gpu.data.read import incident_files, read_sources

pytestmark = pytest.mark.real_data

RUN = """
import json, sys
from pathlib import Path
from hews_gpu.config import load_city
from hews_gpu.data.prepare import prepare
prepare(load_city(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def portal(toy: Callable[..., CityConfig], real_data: Path, areas: str, name: str) -> CityConfig:
    city = toy()
    text = city.path.read_text().replace("table.csv", str(real_data / "baltimore/portal_2012_2017.csv.gz"))
    text = text.replace("areas.geojson", str(real_data / f"baltimore/{areas}.geojson.gz"))
    city.path.write_text(text.replace('name = "Name"', f'name = "{name}"'))
    return load_city(city.path)


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
    quality = run(portal(toy, real_data, areas, name), tmp_path / "out")
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


def test_duplicates_over_all_rows(toy: Callable[..., CityConfig], real_data: Path, tmp_path: Path) -> None:
    """All 15 columns are compared: 10,637 of all rows repeat an earlier one, 10,547 of those with coordinates."""
    city = portal(toy, real_data, "csa_55_vitalsigns16", "CSA2010")
    blocks = read_sources(city, incident_files(city), tmp_path)
    frames = [block_frame(pa.ipc.open_file(path).read_all(), []) for path in blocks]
    hashes = [[value for frame in frames for value in frame[name]] for name in ("hash_a", "hash_b", "row_id")]
    arrays = (np.array(hashes[0], np.uint64), np.array(hashes[1], np.uint64), np.array(hashes[2], np.int64))
    assert (first_duplicates(*arrays) != NONE).sum() == 10_637
