"""Maps per second: the compiled rasterizer against the cost of a mere copy and against every other way to draw them.

The limit is the copy floor: the time that as many threads take to write the same bytes, eight at a time, from a
one-map source into the same touched buffer. All sides draw the same windows of two hours: of the generated city, and of
Baltimore's 55 and 278 areas where HEWS_REAL_DATA names their folder. That they draw the same is checked first: the
NumPy reference to the bit, other libraries by how far their pictures differ, by red outlines and by discs.

    python -m benchmarks.raster [--quick] [--json] [--device cuda]

A full run also writes how time grows as an SVG, and one window drawn by all as a PNG, beside its JSON file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numba

from benchmarks.common import parse_flags, ratios, real_data, save_result, time_in_turn
from benchmarks.inputs.random_city import RandomCity
from benchmarks.inputs.windows import SEVEN_YEARS, WindowedCity, windowed_cities
from benchmarks.limits.copying import measure
from benchmarks.rivals.compare import require_same, sameness
from benchmarks.rivals.race import OURS, REUSED, REUSING, race
from benchmarks.rivals.reference import NAME as REFERENCE_PATH
from benchmarks.rivals.reference import ReferencePath
from benchmarks.rivals.scene import Draw, Scene, rivals, scene_of
from hews_gpu.kernels.tables import ReferenceTables
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import ChannelsStyle

STEPS = 12
THREADS = (1, 2)
BUFFERS = 4
"""A quarter of the windows is drawn into one buffer, four times over: see `benchmarks.limits.copying`."""
RACED = 1024
"""Windows that are drawn against other libraries; the slow ones draw the first few of them."""
CHECKED = 16


@contextmanager
def numba_threads(count: int) -> Iterator[None]:
    """So many threads for a while."""
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def same_maps(make: Callable[[Backend], Rasterizer], pairs: NDArray[np.int64], *, rounds: int) -> dict[str, Any]:
    """Check that both backends draw the same maps of a few windows; and how much faster the compiled one is.

    One thread each, as NumPy has no more, and as so few windows would mostly measure how threads are woken.
    """
    compiled, slow = make("numba"), make("numpy")
    maps, expected = compiled.maps(pairs), slow.maps(pairs)
    assert np.array_equal(maps, expected), "the compiled maps differ from the NumPy reference"
    backends = {"numpy": lambda: slow.fill(pairs, expected), "numba": lambda: compiled.fill(pairs, maps)}
    with numba_threads(1):
        timings = time_in_turn(backends, rounds=rounds)
    return {"windows_checked": len(pairs), "ratio_to_numpy": ratios(timings, "numpy")["numba"]["median"]}


def counting(
    city: RandomCity, pairs: NDArray[np.int64], backend: Backend = "numba"
) -> tuple[Rasterizer, NDArray[np.int64]]:
    """A rasterizer of `STEPS` history steps by 6 groups at 54 x 43, and the windows' stacks of pairs, oldest first."""
    geometry = MapGeometry.around(city.neighborhoods.total_bounds, "auto", height=54, width=43)
    groups = {name: (name,) for name in city.places.categories[:5]}
    rasterizer = Rasterizer.channels(geometry, ChannelsStyle(groups=groups), city.places, steps=STEPS, backend=backend)
    stacks = np.lib.stride_tricks.sliding_window_view(pairs, STEPS, axis=0)  # [W - T + 1, 2, T]
    return rasterizer, np.ascontiguousarray(stacks.transpose(0, 2, 1))


def against_others(work: WindowedCity, rasterizer: Rasterizer, folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Every other library: that it draws the same, and how fast, with each number of threads."""
    scene = scene_of(work, rasterizer.geometry)
    ways, path = rivals(scene), ReferencePath(work, rasterizer.geometry, folder)
    checked = work.plain_windows(4 if quick else CHECKED)
    tables, maps = rasterizer.tables, rasterizer.maps(checked)
    assert isinstance(tables, ReferenceTables)
    found = sameness({**ways, REFERENCE_PATH: path.draw}, scene, tables, checked, maps)
    require_same(found)
    rows = []
    for threads in THREADS[:1] if quick else THREADS:
        raced = work.pairs[: REUSED if quick else RACED]
        timed = time_others(rasterizer, scene, ways, path, raced, threads=threads, quick=quick)
        about = {"work": work.name, "threads": threads}
        rows += [about | {"way": way} | row | found.get(way, {}) for way, row in timed.items()]
    return rows


def time_others(
    rasterizer: Rasterizer,
    scene: Scene,
    ways: dict[str, Draw],
    path: ReferencePath,
    pairs: NDArray[np.int64],
    *,
    threads: int,
    quick: bool,
) -> dict[str, dict[str, Any]]:
    """The race, in which the reference path has one thread in any case, as it had."""
    alone: dict[str, Draw] = {REFERENCE_PATH: lambda first, last, _: path.store(first, last)}
    rounds, seconds = (3, 0.02) if quick else (5, 0.2)
    return race(rasterizer, scene, ways, alone, pairs, threads=threads, rounds=rounds, seconds=seconds)


def fastest_other(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the fastest that is neither ours nor the reference path."""
    others = [row for row in rows if row["way"] not in (OURS, REUSING, REFERENCE_PATH)]
    return max(others, key=lambda row: row["maps_per_s"]) if others else {"way": "none installed"}


def bench_city(work: WindowedCity, *, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All measurements of one city: against the copy floor, and against others."""
    rounds, few = (3, 8) if quick else (9, 64)
    rasterizer = work.rasterizer()
    checked = same_maps(work.rasterizer, work.pairs[:few], rounds=3)
    with TemporaryDirectory() as folder:
        others = against_others(work, rasterizer, Path(folder), quick=quick)
    counts, stacks = counting(work.city, work.pairs[: RACED if quick else 8 * RACED])
    counted = same_maps(lambda backend: counting(work.city, work.pairs, backend)[0], stacks[:few], rounds=3)
    rows = []
    for threads in THREADS:
        about = {"threads": threads, "mean_incidents": work.mean_incidents}
        raced = [row for row in others if row["threads"] == threads] or others
        with numba_threads(threads):
            for batch, ours in ((len(work.pairs) // BUFFERS, OURS), (REUSED, REUSING)):
                figures = measure(rasterizer, work.pairs, batch=batch, rounds=rounds)
                rows.append({"work": f"reference, {work.name}", **about, **figures, **checked, **against(raced, ours)})
            figures = measure(counts, stacks, batch=REUSED, rounds=rounds)
            rows.append({"work": f"channels, {work.name}", **about, **figures, **counted})
    return rows, others


def against(rows: list[dict[str, Any]], ours: str) -> dict[str, Any]:
    """How many times faster than the reference path and the fastest other one of ours is, and with how many threads.

    A quick run races one thread only, whatever the row beside it was drawn with.
    """
    reference = next(row for row in rows if row["way"] == REFERENCE_PATH)
    found = {
        "ratio_to_reference_path": reference["ratios"][ours]["median"],
        "raced_threads": reference["threads"],
        "reference_path_threads": 1,
    }
    fastest = fastest_other(rows)
    if "ratios" in fastest:
        found["ratio_to_fastest_other"] = fastest["ratios"][ours]["median"]
    return found | {"fastest_other": fastest["way"]}


def print_table(rows: list[dict[str, Any]]) -> None:
    """One line per measurement against the floor."""
    print("share: of the copy floor, median [lowest, highest]; thr: threads; x NumPy: one thread each")
    print(f"{'work':<31}{'thr':>4}{'batch':>6}{'maps/s':>10}{'copies/s':>10}{'GiB/s':>7}{'share':>20}{'x NumPy':>9}")
    for row in rows:
        low, high = row["share_lowest_highest"]
        share = f"{row['share_of_copy_floor']:.2f} [{low:.2f}, {high:.2f}]"
        numbers = f"{row['batch']:>6}{row['maps_per_s']:>10,.0f}{row['copies_per_s']:>10,.0f}{row['gib_per_s']:>7.1f}"
        print(f"{row['work']:<31}{row['threads']:>4}{numbers}{share:>20}{row['ratio_to_numpy']:>9,.0f}")


def print_others(rows: list[dict[str, Any]]) -> None:
    """One line per library, way and number of threads."""
    print("\nours against others on the same windows; threads: of both sides, save that the path to PNG has one;")
    print("differs: mean difference in levels of 255, of the worst window; red outlines and discs are the same;")
    print(
        "faster by: ours into memory for all, and into a batch used again and again, as the others; median [low, high]"
    )
    print(f"{'work':<21}{'thr':>4}  {'way':<30}{'maps/s':>9}{'differs':>8}  {'faster by':<30}reused, by")
    for row in rows:
        differs = f"{row['mean_difference']:.2f}" if "mean_difference" in row else ""
        faster = [f"{r['median']:,.1f} [{r['low']:,.1f}, {r['high']:,.1f}]" for r in row["ratios"].values()]
        texts = "" if row["way"] in (OURS, REUSING) else f"{faster[0]:<30}{faster[1]}"
        line = f"{row['work']:<21}{row['threads']:>4}  {row['way']:<30}{row['maps_per_s']:>9,.0f}{differs:>8}"
        print(f"{line}  {texts}".rstrip())


def on_device(*, quick: bool) -> None:
    """The same question on a GPU, without polygons; a quick run is not saved."""
    import torch

    from benchmarks.gpu.raster import Gpu, run

    if not torch.cuda.is_available():
        sys.exit("raster: torch finds no NVIDIA GPU here")
    result = {"device": torch.cuda.get_device_name(), "rows": run(Gpu(), rounds=3 if quick else 9)}
    print(json.dumps(result, indent=2))
    if not quick:
        print(f"saved {save_result('raster-cuda', result)}", file=sys.stderr)


def on_cpu(*, quick: bool, as_json: bool) -> None:
    """All cities, growth and pictures; a quick run makes neither of these two and is not saved."""
    rows, others, works = [], [], []
    for work in windowed_cities(None if quick else real_data(), 2048 if quick else SEVEN_YEARS):
        works.append(work)
        done = bench_city(work, quick=quick)
        rows += done[0]
        others += done[1]
    result: dict[str, Any] = {"map": [216, 172, 3], "rows": rows, "others": others}
    if not quick:
        from benchmarks.growth.raster import growth

        with numba_threads(THREADS[-1]):
            result["growth"] = growth(works[0])
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print_table(rows)
        print_others(others)
    if not quick:
        save(works[0], result)


def save(work: WindowedCity, result: dict[str, Any]) -> None:
    """The dated JSON file, the curves and the pictures."""
    from benchmarks.growth.plot import save_curves
    from benchmarks.growth.raster import TITLE
    from benchmarks.rivals.side_by_side import save_side_by_side

    path = save_result("raster", result, packages=("opencv-python-headless", "datashader", "pillow", "aggdraw"))
    date = path.stem.removeprefix("raster-")
    curves = save_curves(result["growth"], TITLE, path.with_name(f"raster-growth-{date}.svg"))
    pictures = save_side_by_side(work, path.with_name(f"raster-side-by-side-{date}.png"))
    print(f"saved {path}, {curves.name}, {pictures.name}", file=sys.stderr)


def main() -> None:
    """Run, print, and save dated files unless it was a quick run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    device, sys.argv[1:] = parser.parse_known_args()
    flags = parse_flags(__doc__ or "")
    if device.device == "cuda":
        on_device(quick=flags.quick)
    else:
        on_cpu(quick=flags.quick, as_json=flags.json)


if __name__ == "__main__":
    main()
