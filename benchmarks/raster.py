"""Maps per second: the compiled rasterizer against the cost of a mere copy and against every other way to draw them.

The limit is the copy floor: the time that as many threads take to write the same bytes, eight at a time, from a
one-map source, which stays in a core's cache, into the very buffer that is drawn into. The buffer was written before:
first touch costs more than drawing. A city's maps are some gigabytes, so all windows are drawn into a buffer of a
quarter of them, four times over: far larger than any cache, as all of them at once would be, and held by machines of
4 GB.

All sides draw the same windows of two hours: of the generated city, and of Baltimore's 55 and 278 areas where
HEWS_REAL_DATA names their folder. That they draw the same is checked first: the NumPy reference to the bit, other
libraries by how far their pictures differ, by red outlines and by discs.

    python -m benchmarks.raster [--quick] [--json] [--device cuda]

A full run also measures how time grows with windows, incidents, polygons and the size of a map. B maps of a buffer.
"""

from __future__ import annotations

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

from benchmarks.common import finish, parse_flags, ratios, real_data, time_in_turn
from benchmarks.gpu.raster import painting
from benchmarks.inputs.cities import SEVEN_YEARS, WindowedCity, windowed_cities
from benchmarks.rivals.race import OURS, REUSED, REUSING, race, require_same, sameness
from benchmarks.rivals.reference import NAME as REFERENCE_PATH
from benchmarks.rivals.reference import ReferencePath
from benchmarks.rivals.scene import rivals, scene_of
from hews_gpu.arrays import Int64
from hews_gpu.config import MapConfig
from hews_gpu.kernels._shim import prange, threads
from hews_gpu.kernels.tables import ReferenceTables
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import ChannelsStyle

Words = NDArray[np.uint64]
STEPS = 12
THREADS = (1, 2)
BUFFERS = 4
"""A quarter of the windows is drawn into one buffer, four times over."""
RACED = 1024
"""Windows that are drawn against other libraries; the slow ones draw the first few of them."""
CHECKED = 16

WINDOWS = (256, 512, 1024, 2048, 4096, 8192, 16_384, 29_952)
INCIDENTS = (1, 3, 10, 30, 100, 300, 1000)
POLYGONS = (10, 30, 100, 300, 1000)
MAP_SIZES = ((54, 44), (108, 88), (216, 172), (432, 344), (864, 688))
"""Rows and columns: whole numbers of eight bytes, so that the floor copies words."""
BATCH_BYTES = 256 * 216 * 172 * 3
FEWEST = 64
"""Growth is measured in one reused batch of so many bytes, as training does, or of so many maps, for all threads."""
GROWTH_ROUNDS = 15


@threads
def copy_floor(source: Words, target: Words) -> None:
    """Write the one-map source [words] into every map of target [B, words]."""
    for b in prange(target.shape[0]):
        for i in range(source.shape[0]):
            target[b, i] = source[i]


def measure(rasterizer: Rasterizer, pairs: Int64, *, batch: int, rounds: int) -> dict[str, Any]:
    """Draw all `pairs` in batches of `batch` into one buffer, in turn with copying as many maps into it."""
    out = np.ones((batch, *rasterizer.shape), np.uint8)
    words = out.reshape(batch, -1).view(np.uint64)
    source = words[0].copy()
    starts = range(0, len(pairs) - batch + 1, batch)

    def draw() -> None:
        for begin in starts:
            rasterizer.fill(pairs[begin : begin + batch], out)

    def copy() -> None:
        for _ in starts:
            copy_floor(source, words)

    timings = time_in_turn({"draw": draw, "copy": copy}, rounds=rounds)
    maps = len(starts) * batch
    share = ratios(timings, "copy")["draw"]
    return {
        "maps": maps,
        "batch": batch,
        "seconds": timings["draw"].median_s,
        "copy_seconds": timings["copy"].median_s,
        "fastest_seconds": min(timings["draw"].seconds),
        "fastest_copy_seconds": min(timings["copy"].seconds),
        "maps_per_s": maps / timings["draw"].median_s,
        "copies_per_s": maps / timings["copy"].median_s,
        "gib_per_s": maps * words.shape[1] * 8 / timings["draw"].median_s / 2**30,
        "share_of_copy_floor": share["median"],
        "share_lowest_highest": [share["low"], share["high"]],
    }


@contextmanager
def numba_threads(count: int) -> Iterator[None]:
    """Let numba use so many threads for a while."""
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def same_maps(make: Callable[[Backend], Rasterizer], pairs: Int64) -> dict[str, Any]:
    """Check that both backends draw the same maps of a few windows; and how much faster the compiled one is.

    One thread each, as NumPy has no more, and as so few windows would mostly measure how threads are woken.

    Raises:
        AssertionError: the maps differ.
    """

    def drawing(rasterizer: Rasterizer) -> Callable[[], Any]:
        out = rasterizer.maps(pairs)

        def draw() -> Any:
            rasterizer.fill(pairs, out)
            return out

        return draw

    with numba_threads(1):
        backends = {"numpy": drawing(make("numpy")), "numba": drawing(make("numba"))}
        timings = time_in_turn(backends, rounds=3, same=np.array_equal)
    return {"windows_checked": len(pairs), "ratio_to_numpy": ratios(timings, "numpy")["numba"]["median"]}


def counting(work: WindowedCity, backend: Backend = "numba") -> Rasterizer:
    """Return a rasterizer of `STEPS` history steps by 6 groups at 54 x 43."""
    geometry = MapGeometry.around(work.neighborhoods.total_bounds, "auto", height=54, width=43)
    style = ChannelsStyle(groups={name: (name,) for name in work.places.categories[:5]})
    return Rasterizer.channels(geometry, style, work.places, steps=STEPS, backend=backend)


def stacks_of(pairs: Int64) -> Int64:
    """Return the stack of pairs of each window that has `STEPS` steps of history, oldest first."""
    stacks = np.lib.stride_tricks.sliding_window_view(pairs, STEPS, axis=0)  # [W - T + 1, 2, T]
    return np.ascontiguousarray(stacks.transpose(0, 2, 1))


def against_others(work: WindowedCity, rasterizer: Rasterizer, *, quick: bool) -> list[dict[str, Any]]:
    """Check that every other library draws the same, and measure how fast, with one thread on each side."""
    scene = scene_of(work, rasterizer.geometry)
    checked = work.plain_windows(4 if quick else CHECKED)
    tables = rasterizer.tables
    assert isinstance(tables, ReferenceTables)
    with TemporaryDirectory() as folder:
        path = ReferencePath(work, rasterizer.geometry, Path(folder))
        ways = {**rivals(scene), REFERENCE_PATH: path.draw}
        likeness = sameness(ways, scene, tables, checked, rasterizer.maps(checked))
        require_same(likeness)
        ways[REFERENCE_PATH] = lambda first, last, _: path.store(first, last)
        pairs, rounds, seconds = (REUSED, 3, 0.02) if quick else (RACED, 5, 0.2)
        with numba_threads(1):
            rows = race(rasterizer, ways, work.pairs[:pairs], rounds=rounds, seconds=seconds)
    about = {"work": work.name, "threads": 1}
    return [about | {"way": way} | row | likeness.get(way, {}) for way, row in rows.items()]


def against(rows: list[dict[str, Any]], ours: str) -> dict[str, Any]:
    """Return how many times faster than the reference path and than the fastest other way one of ours is."""
    ratio = {row["way"]: row["ratios"][ours]["median"] for row in rows}
    result: dict[str, Any] = {"ratio_to_reference_path": ratio[REFERENCE_PATH], "raced_threads": 1}
    others = [row for row in rows if row["way"] not in (OURS, REUSING, REFERENCE_PATH)]
    if not others:
        return result | {"fastest_other": "none installed"}
    fastest = max(others, key=lambda row: row["maps_per_s"])["way"]
    return result | {"ratio_to_fastest_other": ratio[fastest], "fastest_other": fastest}


def bench_city(work: WindowedCity, *, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure one city against the copy floor, and against others."""
    rounds, few = (3, 8) if quick else (9, 64)
    rasterizer, counts = work.rasterizer(), counting(work)
    stacks = stacks_of(work.pairs[: RACED if quick else 8 * RACED])
    checked = same_maps(work.rasterizer, work.pairs[:few])
    counted = same_maps(lambda backend: counting(work, backend), stacks[:few])
    others = against_others(work, rasterizer, quick=quick)
    rows = []
    for count in THREADS:
        about = {"threads": count, "mean_incidents": work.mean_incidents}
        with numba_threads(count):
            for batch, ours in ((len(work.pairs) // BUFFERS, OURS), (REUSED, REUSING)):
                figures = measure(rasterizer, work.pairs, batch=batch, rounds=rounds)
                rows.append({"work": f"reference, {work.name}", **about, **figures, **checked, **against(others, ours)})
            figures = measure(counts, stacks, batch=REUSED, rounds=rounds)
            rows.append({"work": f"channels, {work.name}", **about, **figures, **counted})
    return rows, others


def growth(
    work: WindowedCity,
    *,
    windows: tuple[int, ...] = WINDOWS,
    incidents: tuple[int, ...] = INCIDENTS,
    polygons: tuple[int, ...] = POLYGONS,
    map_sizes: tuple[tuple[int, int], ...] = MAP_SIZES,
) -> list[dict[str, Any]]:
    """Measure how time grows: one series per question, of x, ours and the floor, the fastest of the rounds each."""
    city, mean = work.rasterizer(), round(work.mean_incidents)
    cities = {n: painting("numba", areas=n) for n in polygons}
    maps = {size[0]: work.rasterizer(config=MapConfig(height=size[0], width=size[1])) for size in map_sizes}
    buffer = max(256, len(work.pairs) // BUFFERS)
    in_all = [_point(n, city, work.pairs[:n], min(n, buffer), is_per_map=False) for n in windows]
    per_map = {
        "incidents per window": [_point(n, city, *_random_windows(city, n)) for n in incidents],
        "polygons": [_point(n, one, *_random_windows(one, mean)) for n, one in cities.items()],
        "rows of the map": [_point(n, one, *_random_windows(one, mean)) for n, one in maps.items()],
    }
    series = [{"x": x, "y": "microseconds per map", "rows": rows} for x, rows in per_map.items()]
    return [{"x": "windows", "y": "seconds", "rows": in_all}, *series]


def _random_windows(rasterizer: Rasterizer, incidents: int) -> tuple[Int64, int]:
    """Return windows of so many incidents anywhere in the table, and how many are drawn into one batch."""
    batch = max(FEWEST, BATCH_BYTES // int(np.prod(rasterizer.shape)))
    first = np.random.default_rng(0).integers(0, rasterizer.events - incidents, BUFFERS * batch)
    return np.stack([first, first + incidents], axis=1).astype(np.int64), batch


def _point(x: int, rasterizer: Rasterizer, pairs: Int64, batch: int, *, is_per_map: bool = True) -> dict[str, Any]:
    figures = measure(rasterizer, pairs, batch=batch, rounds=GROWTH_ROUNDS)
    scale = 1e6 / figures["maps"] if is_per_map else 1.0
    ours, floor = figures["fastest_seconds"] * scale, figures["fastest_copy_seconds"] * scale
    return {"x": x, "ours": ours, "floor": floor, "share_of_copy_floor": figures["share_of_copy_floor"]}


def show(result: dict[str, Any]) -> None:
    """Print one line per measurement against the floor, then one per library and way."""
    print("share: of the copy floor, median [lowest, highest]; thr: threads; x NumPy: one thread each")
    print(f"{'work':<31}{'thr':>4}{'batch':>6}{'maps/s':>10}{'copies/s':>10}{'GiB/s':>7}{'share':>20}{'x NumPy':>9}")
    for row in result["rows"]:
        low, high = row["share_lowest_highest"]
        share = f"{row['share_of_copy_floor']:.2f} [{low:.2f}, {high:.2f}]"
        numbers = f"{row['batch']:>6}{row['maps_per_s']:>10,.0f}{row['copies_per_s']:>10,.0f}{row['gib_per_s']:>7.1f}"
        print(f"{row['work']:<31}{row['threads']:>4}{numbers}{share:>20}{row['ratio_to_numpy']:>9,.0f}")
    print("\nours against others on the same windows, one thread each; differs: mean difference in levels of 255, of")
    print("the worst window; red outlines and discs are the same; faster by: ours into memory for all windows, and")
    print("into a batch used again and again, as the others; median [low, high]")
    print(f"{'work':<21}{'way':<30}{'maps/s':>9}{'differs':>8}  {'faster by':<30}reused, by")
    for row in result["others"]:
        differs = f"{row['mean_difference']:.2f}" if "mean_difference" in row else ""
        faster = [f"{r['median']:,.1f} [{r['low']:,.1f}, {r['high']:,.1f}]" for r in row["ratios"].values()]
        texts = "" if row["way"] in (OURS, REUSING) else f"{faster[0]:<30}{faster[1]}"
        print(f"{row['work']:<21}{row['way']:<30}{row['maps_per_s']:>9,.0f}{differs:>8}  {texts}".rstrip())


def on_device(*, quick: bool) -> dict[str, Any]:
    """Ask the same on a GPU, without polygons."""
    import torch

    from benchmarks.gpu.raster import run

    return {"device": torch.cuda.get_device_name(), "rows": run(tiny=False, rounds=3 if quick else 9)}


def main() -> None:
    """Run, print, and save a dated file unless it was a quick run."""
    flags = parse_flags(__doc__ or "", devices=("cpu", "cuda"))
    if flags.device == "cuda":
        finish("raster-cuda", on_device(quick=flags.quick), flags)
        return
    result: dict[str, Any] = {"map": [216, 172, 3], "rows": [], "others": []}
    for work in windowed_cities(None if flags.quick else real_data(), 2048 if flags.quick else SEVEN_YEARS):
        rows, others = bench_city(work, quick=flags.quick)
        result["rows"] += rows
        result["others"] += others
        if not flags.quick and "growth" not in result:
            with numba_threads(THREADS[-1]):
                result["growth"] = growth(work)
    finish("raster", result, flags, show, packages=("opencv-python-headless", "datashader"))


if __name__ == "__main__":
    main()
