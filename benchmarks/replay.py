"""What a replay costs: a day, ten years and the day of most warnings at ten minutes, of a city with 278 neighborhoods.

Each replay is a process of its own, ``hews replay``, of the default model; it tells its CPU time in all, that of
setting the thresholds on a year, that of all that comes after loading and thresholds, and its peak memory. ``--quick``:
one year.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import geopandas
import numpy as np
import pyarrow.parquet as pq
import shapely

from benchmarks.common import GIB, finish, parse_flags
from hews_gpu.cli.printing import print_table
from hews_gpu.synthetic import write_city

NEIGHBORHOODS = 278
LEARN_YEARS, CALIBRATE_YEARS = 3, 1
STRIDE_S = 600
A_DAY = {"cpu_seconds_after_both": 2.0}
BUDGETS = {"a day": A_DAY, "a day with warnings": A_DAY, "10 years": {"cpu_seconds": 600.0, "peak_memory_gib": 4.0}}


def main() -> None:
    """Make the city and the run, and replay both stretches."""
    flags = parse_flags(__doc__ or "", preset={"default": "strong", "help": "the law of the generated city"})
    years = 1 if flags.quick else 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_s = _prepare(folder, flags.preset, years)
        first = 2021 + LEARN_YEARS + CALIBRATE_YEARS
        spans = {
            "a day": (f"{first}-06-01", f"{first}-06-01"),
            f"{years} years": (f"{first}-01-01", f"{first + years - 1}-12-31"),
        }
        replays = {what: _replay(folder, *span) for what, span in spans.items()}
        replays["a day with warnings"] = _replay(folder, *[_busiest_day(folder / "replay")] * 2)
        result = {
            "city": {"preset": flags.preset, "neighborhoods": NEIGHBORHOODS, "replayed_years": years},
            "experts": _experts(folder),
            "train_seconds": train_s,
            "stride_s": STRIDE_S,
            "budgets": BUDGETS,
            "replays": replays,
        }
    finish("replay", result, flags, _show)


def _prepare(folder: Path, preset: str, years: int) -> float:
    """Write the city with its neighborhoods cut anew, prepare it and train the default model; return the seconds."""
    whole = LEARN_YEARS + CALIBRATE_YEARS + years
    toml = write_city(folder / "city", preset=preset, years=whole + 1)
    _cut_anew(folder / "city" / "neighborhoods.geojson")
    text = toml.read_text(encoding="utf-8")
    edges = [2021, 2021 + LEARN_YEARS, 2021 + LEARN_YEARS + CALIBRATE_YEARS, 2021 + whole]
    for split, begin, end in zip(("train", "validation", "test"), edges, edges[1:], strict=False):
        text = re.sub(rf"(?m)^{split} = \[[^\]]*\]", f'{split} = ["{begin}-01-01", "{end}-01-01"]', text)
    toml.write_text(text, encoding="utf-8")
    _hews("prepare", toml, "--out", folder / "prepared")
    began = time.perf_counter()
    _hews("train", folder / "prepared", "--out", folder / "run")
    (folder / "run" / "warnings.toml").write_text("[skill]\nrequired = false\n", encoding="utf-8")
    return round(time.perf_counter() - began, 1)


def _cut_anew(file: Path) -> None:
    """Cut the city that some neighborhoods make up into `NEIGHBORHOODS` cells around random points."""
    outline = shapely.union_all(geopandas.read_file(file).geometry.to_numpy())
    rng, points = np.random.default_rng(0), np.empty((0, 2))
    west, south, east, north = outline.bounds
    while len(points) < NEIGHBORHOODS:
        drawn = rng.uniform((west, south), (east, north), (NEIGHBORHOODS, 2))
        points = np.vstack([points, drawn[shapely.contains_xy(outline, *drawn.T)]])[:NEIGHBORHOODS]
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=outline))
    parts = shapely.intersection(np.array(cells), outline)
    names = [f"Quarter {n}" for n in range(len(parts))]
    geopandas.GeoDataFrame({"name": names}, geometry=parts, crs="EPSG:4326").to_file(file, driver="GeoJSON")


def _replay(folder: Path, begin: str, end: str) -> dict[str, Any]:
    """Replay a stretch of time and return what it cost."""
    span = ("--from", begin, "--to", end, "--stride", f"{STRIDE_S}s", "--out", folder / "replay", "--force", "--json")
    summary = json.loads(_hews("replay", folder / "run", folder / "prepared", *span))
    kept = ("issue_times", "seconds", "cpu_seconds", "cpu_seconds_of_thresholds", "cpu_seconds_after_both")
    cost: dict[str, Any] = {key: summary[key] for key in kept}
    cost["peak_memory_gib"] = round(summary["peak_memory_bytes"] / GIB, 3)
    size = sum(file.stat().st_size for file in (folder / "replay").iterdir())
    given = {kind: by["p"]["any"]["given"] for kind, by in summary["warnings"].items()}
    explained = pq.read_table(folder / "replay" / "warnings.parquet", columns=["issue_time", "explanation"]).to_pandas()
    times = explained["issue_time"][explained["explanation"].notna()].nunique()
    return {**cost, "written_gib": round(size / GIB, 3), "warnings": given, "issue_times_explained": int(times)}


def _busiest_day(replay: Path) -> str:
    """Return the day of a replay on which the most issue times gave warnings, each of which is explained."""
    table = pq.read_table(replay / "warnings.parquet", columns=["id", "issue_time"]).to_pandas()
    times = table["issue_time"][table["id"].notna()].drop_duplicates()
    return str(times.dt.date.value_counts().sort_index().idxmax())


def _experts(folder: Path) -> list[str]:
    """Return the experts that the stack kept."""
    from hews_gpu.forecasters.stack import Stack
    from hews_gpu.runs.run import open_run

    forecaster = open_run(folder / "run").forecaster
    assert isinstance(forecaster, Stack)
    return sorted({*forecaster.fitted.experts, *forecaster.fitted.place_experts})


def _hews(*words: str | Path) -> str:
    command = [sys.executable, "-m", "hews_gpu", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _show(result: dict[str, Any]) -> None:
    """Print what each replay cost."""
    keys = [
        "issue_times",
        "issue_times_explained",
        "cpu_seconds",
        "cpu_seconds_of_thresholds",
        "cpu_seconds_after_both",
    ]
    keys += ["seconds", "peak_memory_gib", "written_gib"]
    rows = [["replay", *keys]]
    rows += [[what, *(f"{cost[key]:,}" for key in keys)] for what, cost in result["replays"].items()]
    print_table("Replays of a city with 278 neighborhoods", rows)
    print(f"experts kept: {', '.join(result['experts']) or 'none'}")


if __name__ == "__main__":
    main()
