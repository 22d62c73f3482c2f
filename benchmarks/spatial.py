"""Points in polygons and polygons on pixels against spatial libraries, after counting where their answers differ.

The generated city has 278 areas with as many vertices as a real city's. DuckDB spatial, SedonaDB, shapely and, where
there is a GPU, cuSpatial look up the same points; xarray-spatial fills the same polygons on the same pixels, with
NumPy or, where there is a GPU, CuPy. Each is asked from memory, where all lies in its own form, and from Parquet, from
files to the answer. With one thread, processor seconds are compared, which other load hardly changes; with two, the
clock, over those that can use two. A library that is missing has a row that says why.

    python -m benchmarks.spatial [--quick] [--json]

`make install STACK=rivals PYTHON=python3.12` makes an environment that has them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numba
import numpy as np
import shapely

from benchmarks.common import finish, parse_flags, processor_s, ratios, time_in_turn, wall_s
from benchmarks.inputs.polygons import random_points
from benchmarks.pip import AREAS, Polygons, drawn_finely, hard_points
from benchmarks.rivals.spatial import PIXELS_BY, POINTS_BY, Answer, Places, Ways, pixel_centers
from hews_gpu.arrays import Float64
from hews_gpu.cli.printing import print_table
from hews_gpu.errors import UserError
from hews_gpu.raster.geometry import MapGeometry

POINTS, HARD = 100_000, 10_000
MAPS = ((216, 172), (2160, 1720))
"""Rows and columns: of the reference maps, and ten times finer."""
ONE_THREAD = ("shapely", "xarray-spatial")
PACKAGES = ("duckdb", "duckdb-extension-spatial", "sedonadb", "xarray-spatial")
ROUNDS = 3


def installed(libraries: Mapping[str, Callable[..., Ways]], *work: Any) -> tuple[dict[str, Ways], dict[str, str]]:
    """Return the ways of each library on some work, and of those that do not work here, why."""
    ways, missing = {}, {}
    for name, load in libraries.items():
        try:
            ways[name] = load(*work)
        except (ImportError, UserError) as error:
            missing[name] = str(error).splitlines()[0]
    return ways, missing


def differences(polygons: Polygons, x: Float64, y: Float64, ours: Answer, other: Answer) -> dict[str, int]:
    """Count points, those whose polygon differs, and of these the ones that lie on the border of one."""
    differ = np.flatnonzero(ours != other)
    touching, _ = shapely.STRtree(polygons).query(shapely.points(x[differ], y[differ]), predicate="touches")
    return {"points": len(x), "different": len(differ), "of_them_on_borders": len(np.unique(touching))}


def race(ways: Mapping[str, Ways], missing: Mapping[str, str], places: Places) -> list[dict[str, Any]]:
    """Time all in turn from memory, then from Parquet; return a row each, the answers compared with the first's."""
    clock, text = (processor_s, "processor seconds") if places.threads == 1 else (wall_s, "seconds by the clock")
    rows: list[dict[str, Any]] = []
    for form in Ways._fields:
        asked = {name: getattr(way, form) for name, way in ways.items()}
        ours, *_ = answers = [ask() for ask in asked.values()]
        timings = time_in_turn(asked, rounds=ROUNDS, clock=clock)
        slower = {name: ratios(timings, name)["hews"] for name in asked}
        for name, answer in zip(asked, answers, strict=True):
            about = {"library": name, "from": form, "threads": places.threads, "clock": text}
            same = differences(places.polygons, places.x, places.y, ours, answer)
            rows.append(about | {"seconds": timings[name].median_s, "times_ours": slower[name], **same})
    return rows + [{"library": name, "missing": why} for name, why in missing.items()]


def points(polygons: Polygons, folder: Path, *, count: int) -> list[dict[str, Any]]:
    """Return rows of points in polygons, with one thread and with two."""
    rows = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        places = Places(polygons, *random_points(shapely.get_coordinates(polygons), count), folder, threads=threads)
        able = {name: load for name, load in POINTS_BY.items() if threads == 1 or name not in ONE_THREAD}
        ways, missing = installed(able, places)
        rows += race(ways, missing if threads == 1 else {}, places)
    return rows


def on_hard_points(polygons: Polygons, folder: Path, *, count: int) -> dict[str, dict[str, dict[str, int]]]:
    """Return by kind of points and library how many answers differ from ours."""
    found = {}
    for kind, (x, y) in hard_points(polygons, count).items():
        ways, _ = installed(POINTS_BY, Places(polygons, x[:count], y[:count], folder))
        ours, *others = (way.memory() for way in ways.values())
        named = zip(list(ways)[1:], others, strict=True)
        found[kind] = {name: differences(polygons, x[:count], y[:count], ours, other) for name, other in named}
    return found


def pixels(polygons: Polygons, folder: Path, maps: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return rows of polygons on pixels of each size of map, with one thread: xarray-spatial has no more."""
    numba.set_num_threads(1)
    rows = []
    for height, width in maps:
        geometry = MapGeometry.around(shapely.total_bounds(polygons), "auto", height=height, width=width)
        places = Places(polygons, *pixel_centers(geometry), folder)
        found = race(*installed(PIXELS_BY, places, geometry), places)
        rows += [{"map": [height, width], **row} for row in found]
    return rows


def show(result: dict[str, Any]) -> None:
    """Print a table of each work."""
    for work in ("points", "pixels"):
        table = [["library", "from", "threads", "work", "ms", "times ours", "low", "high", "different"]]
        for row in result[work]:
            if "missing" in row:
                print(f"{work}: {row['library']} is left out: {row['missing']}")
                continue
            ratio = [f"{row['times_ours'][key]:.2f}" for key in ("median", "low", "high")]
            size = "x".join(map(str, row.get("map", [row["points"]])))
            cells = [row["library"], row["from"], row["threads"], size, f"{row['seconds'] * 1e3:,.1f}", *ratio]
            table.append([str(cell) for cell in [*cells, row["different"]]])
        print_table(work, table)
    for kind, counts in result["hard_points"].items():
        print(f"{kind}: " + ", ".join(f"{name} differs for {row['different']}" for name, row in counts.items()))


def main() -> None:
    """Run, print, and save a dated file unless it was a quick run."""
    flags = parse_flags(__doc__ or "")
    count, hard, maps = (5_000, 500, MAPS[:1]) if flags.quick else (POINTS, HARD, MAPS)
    polygons = drawn_finely(AREAS)
    with TemporaryDirectory() as name:
        folder = Path(name)
        about = {"polygons": len(polygons), "vertices": len(shapely.get_coordinates(polygons))}
        result = {
            **about,
            "points": points(polygons, folder, count=count),
            "hard_points": on_hard_points(polygons, folder, count=hard),
            "pixels": pixels(polygons, folder, maps),
        }
    finish("spatial", result, flags, show, PACKAGES)


if __name__ == "__main__":
    main()
