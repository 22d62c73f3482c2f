"""Maps per second: the compiled rasterizer against NumPy, geopandas with matplotlib, and the cost of a mere copy.

The limit is the copy floor: the time that as many threads take to write the same bytes, eight at a time, from a
one-map source into the same touched buffer. Everything compared draws the same windows; sameness is checked first.

B windows of a batch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numba

from benchmarks.common import parse_flags, ratios, save_result, time_in_turn
from benchmarks.inputs.baltimore import load_baltimore
from benchmarks.inputs.matplotlib_maps import draw_with_matplotlib
from benchmarks.inputs.random_city import RandomCity, random_city, random_pairs
from hews_gpu.config import MapConfig
from hews_gpu.kernels._shim import prange, threads
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import ChannelsStyle

MEAN_INCIDENTS = 10.7
"""Of a two-hour window of the portal table."""
REUSED = 256
"""Windows of a batch that training draws into again and again."""
STEPS = 12


@threads
def copy_floor(source: NDArray[np.uint64], target: NDArray[np.uint64]) -> None:
    """Write the one-map source [words] into every map of target [B, words]."""
    for b in prange(target.shape[0]):
        for i in range(source.shape[0]):
            target[b, i] = source[i]


def measure(rasterizer: Rasterizer, pairs: NDArray[np.int64], *, batch: int, rounds: int) -> dict[str, Any]:
    """Drawing all `pairs` in batches of `batch` into one buffer, in turn with copying as many maps into it."""
    out = np.ones((batch, *rasterizer.shape), np.uint8)  # written once: first touch would cost more than drawing
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
        "maps_per_s": maps / timings["draw"].median_s,
        "copies_per_s": maps / timings["copy"].median_s,
        "gib_per_s": maps * words.shape[1] * 8 / timings["draw"].median_s / 2**30,
        "share_of_copy_floor": share["median"],
        "share_lowest_highest": [share["low"], share["high"]],
    }


def same_maps(make: Callable[[Backend], Rasterizer], pairs: NDArray[np.int64], *, rounds: int) -> dict[str, Any]:
    """Check that both backends draw the same maps of a few windows; and how much faster the compiled one is."""
    compiled, slow = make("numba"), make("numpy")
    maps, expected = compiled.maps(pairs), slow.maps(pairs)
    assert np.array_equal(maps, expected), "the compiled maps differ from the NumPy reference"
    backends = {"numpy": lambda: slow.fill(pairs, expected), "numba": lambda: compiled.fill(pairs, maps)}
    timings = time_in_turn(backends, rounds=rounds)
    return {"windows_checked": len(pairs), "ratio_to_numpy": ratios(timings, "numpy")["numba"]["median"]}


def reference_path(city: RandomCity, geometry: MapGeometry, pairs: NDArray[np.int64], *, rounds: int) -> float:
    """Seconds per map of geopandas and matplotlib, the median over rounds of a few maps."""
    draw = {"reference": lambda: [draw_with_matplotlib(city, geometry, *pair) for pair in pairs]}
    return time_in_turn(draw, rounds=rounds)["reference"].median_s / len(pairs)


def bench_city(name: str, city: RandomCity, *, quick: bool) -> list[dict[str, Any]]:
    """All measurements of one city."""
    windows, rounds, few = (512, 3, 8) if quick else (4096, 9, 64)
    pairs = random_pairs(0, len(city.places), windows, mean_incidents=MEAN_INCIDENTS)
    config = MapConfig()
    rasterizer = city.reference(config)
    checked = same_maps(lambda backend: city.reference(config, backend=backend), pairs[:few], rounds=3)
    seconds = reference_path(city, rasterizer.geometry, pairs[: 2 if quick else 5], rounds=3)
    rows = []
    for batch in (windows, REUSED):
        figures = measure(rasterizer, pairs, batch=batch, rounds=rounds)
        figures |= {**checked, "ratio_to_reference_path": seconds * figures["maps_per_s"]}
        rows.append({"work": f"reference, {name}", **figures})
    counts, stacks = counting(city, pairs)
    checked = same_maps(lambda backend: counting(city, pairs, backend)[0], stacks[:few], rounds=3)
    rows.append({"work": f"channels, {name}", **measure(counts, stacks, batch=REUSED, rounds=rounds), **checked})
    return rows


def counting(
    city: RandomCity, pairs: NDArray[np.int64], backend: Backend = "numba"
) -> tuple[Rasterizer, NDArray[np.int64]]:
    """A rasterizer of `STEPS` history steps by 6 groups at 54 x 43, and stacks of pairs for it."""
    geometry = MapGeometry.around(city.neighborhoods.total_bounds, "auto", height=54, width=43)
    groups = {name: (name,) for name in city.places.categories[:5]}
    rasterizer = Rasterizer.channels(geometry, ChannelsStyle(groups=groups), city.places, steps=STEPS, backend=backend)
    return rasterizer, np.stack([np.roll(pairs, t, axis=0) for t in range(STEPS)], axis=1)


def cities(*, quick: bool) -> dict[str, RandomCity]:
    """A random city, and the real one where HEWS_REAL_DATA names its folder."""
    made: dict[str, RandomCity] = {"random, 55 areas": random_city(0, neighborhoods=55, events=20_000)}
    folder = os.environ.get("HEWS_REAL_DATA")
    if folder and not quick:
        made["Baltimore, 55 areas"] = load_baltimore(Path(folder), 55)
        made["Baltimore, 278 areas"] = load_baltimore(Path(folder), 278)
    return made


def print_table(rows: list[dict[str, Any]], used: int) -> None:
    """One line per measurement."""
    print(f"{used} threads; share: of the copy floor, median [lowest, highest]; x ref: times geopandas + matplotlib")
    print(f"{'work':<32}{'batch':>6}{'maps/s':>10}{'copies/s':>10}{'GiB/s':>7}{'share':>20}{'x NumPy':>9}{'x ref':>9}")
    for row in rows:
        low, high = row["share_lowest_highest"]
        share = f"{row['share_of_copy_floor']:.2f} [{low:.2f}, {high:.2f}]"
        path = f"{row['ratio_to_reference_path']:,.0f}" if "ratio_to_reference_path" in row else ""
        numbers = f"{row['batch']:>6}{row['maps_per_s']:>10,.0f}{row['copies_per_s']:>10,.0f}{row['gib_per_s']:>7.1f}"
        print(f"{row['work']:<32}{numbers}{share:>20}{row['ratio_to_numpy']:>9,.0f}{path:>9}")


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


def main() -> None:
    """Run, print, and save a dated file unless it was a quick run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    device, sys.argv[1:] = parser.parse_known_args()
    flags = parse_flags(__doc__ or "")
    if device.device == "cuda":
        on_device(quick=flags.quick)
        return
    used = numba.get_num_threads()
    rows = [
        row for name, city in cities(quick=flags.quick).items() for row in bench_city(name, city, quick=flags.quick)
    ]
    result = {"threads": used, "map": [216, 172, 3], "mean_incidents": MEAN_INCIDENTS, "rows": rows}
    if flags.json:
        print(json.dumps(result, indent=2))
    else:
        print_table(rows, used)
    if not flags.quick:
        print(f"saved {save_result('raster', result)}", file=sys.stderr)


if __name__ == "__main__":
    main()
