"""Maps per second on a GPU, against the bandwidth of filling the same memory, measured in the same run.

The city has no polygons, only pixels and whose outline they are, so that nothing but NumPy makes it. Sameness with the
CPU is checked first. Times are events on the device; for small batches also the wall clock of a call. Beside what was
measured stands what the kernel's instructions let expect.

B windows of a batch, T steps.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import ROOT, ratios, time_in_turn
from hews_gpu.kernels.tables import ChannelsTables, ReferenceTables
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.output import Dtype, Values
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import disc_stamps

EVENTS = 200_000
MEAN_INCIDENTS = 10.7
"""Of a two-hour window of the portal table."""
STEPS, GROUPS = 12, 6
LARGE, SMALL = 8192, 256
CROWDED, OWNERS = 50, 8
"""Pixels of so many owners that real maps of 278 areas have, where corners of many areas meet."""
CYCLES_PER_S = 2e9
"""Of a GPU, at most."""
PER_THOUSAND_NS, PER_TILE_NS, NORM = 0.977, 3.55, 2.77
"""Time of a tile on 132 multiprocessors: for a thousand instructions of warps, and beside those; and the norm that adds
it to the time that filling the tile takes. Fitted to the large batches of gpu-2026-11-28.json."""


class Simulated:
    """NumPy's memory and this process's clock, for kernels in numba's simulator."""

    def empty(self, shape: tuple[int, ...], dtype: Dtype) -> Any:
        """Return memory written once."""
        return np.zeros(shape, dtype)

    def to_device(self, array: NDArray[Any]) -> Any:
        """Return the array."""
        return array

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return the array."""
        made: NDArray[Any] = array
        return made

    def device_s(self, call: Callable[[], object], calls: int) -> float:
        """Return seconds of one call."""
        del calls
        return self.wall_s(call)

    def wall_s(self, call: Callable[[], object]) -> float:
        """Return seconds of one call."""
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    def fill(self, array: Any) -> None:
        """Write every byte."""
        array.fill(7)

    def copy(self, source: Any, target: Any) -> None:
        """Read and write every byte."""
        target[:] = source

    def launch(self, kernel: Any, blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
        """Run a kernel of ours."""
        kernel[blocks, threads](*arguments)


class Gpu:
    """Memory and clocks of the current CUDA device, through torch."""

    def __init__(self) -> None:
        import torch

        self.torch: Any = torch

    def empty(self, shape: tuple[int, ...], dtype: Dtype) -> Any:
        """Return memory written once, so that no page is touched for the first time while the clock runs."""
        return self.torch.zeros(shape, dtype=getattr(self.torch, dtype), device="cuda")

    def to_device(self, array: NDArray[Any]) -> Any:
        """Return a copy on the device."""
        return self.torch.from_numpy(array).cuda()

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return a copy in NumPy."""
        made: NDArray[Any] = array.cpu().numpy()
        return made

    def device_s(self, call: Callable[[], object], calls: int) -> float:
        """Return seconds of one call on the device's clock; the device sleeps until all calls are queued.

        For twice as long as queueing them took before: were they queued more slowly than they run, the clock would tell
        the host's time.
        """
        self.torch.cuda.synchronize()
        queued_s = time.perf_counter()
        for _ in range(calls):
            call()
        queued_s = time.perf_counter() - queued_s
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.torch.cuda._sleep(20_000_000 + int(2 * queued_s * CYCLES_PER_S))
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3 / calls

    def wall_s(self, call: Callable[[], object]) -> float:
        """Return seconds from a call to the end of what it started."""
        self.torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        self.torch.cuda.synchronize()
        return time.perf_counter() - begin

    def fill(self, array: Any) -> None:
        """Write every byte."""
        array.fill_(7)

    def copy(self, source: Any, target: Any) -> None:
        """Read and write every byte."""
        target.copy_(source)

    def launch(self, kernel: Any, blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
        """Start a kernel of ours on torch's current stream, which is the one that `device_s` times."""
        from hews_gpu.kernels._shim_cuda import cuda

        handle = self.torch.cuda.current_stream().cuda_stream
        stream = cuda.external_stream(handle) if handle else 0
        kernel[blocks, threads, stream](*(_as_numba(argument) for argument in arguments))


Machine: TypeAlias = Gpu | Simulated


def _as_numba(argument: Any) -> Any:
    """Return torch's tensors, alone or in a named tuple, as arrays that numba takes without a copy."""
    from hews_gpu.kernels._shim_cuda import cuda

    if isinstance(argument, tuple):
        return type(argument)(*(_as_numba(one) for one in argument))
    return cuda.as_cuda_array(argument, sync=False)


def painting(backend: Backend, *, areas: int = 55, height: int = 216, width: int = 172, crowded: int = 0) -> Rasterizer:
    """Draw in the reference style: pixels belong to the nearest of some places, with outlines between.

    Some `crowded` pixels have the outlines of `OWNERS` places on them.
    """
    random = np.random.default_rng(0)
    seeds = random.random((areas, 2)) * (height, width)
    row, column = np.divmod(np.arange(height * width), width)
    label = np.argmin((row[:, None] - seeds[:, 0]) ** 2 + (column[:, None] - seeds[:, 1]) ** 2, axis=1)
    around = np.pad(label.reshape(height, width), 1, mode="edge")
    five = [around[1:-1, 1:-1], around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]]
    touching = np.stack(five, axis=-1).reshape(-1, 5)
    owners = [np.unique(one) for one in touching]
    for place in random.choice(height * width, crowded, replace=False) if crowded else ():
        owners[place] = np.sort(random.choice(areas, OWNERS, replace=False))
    counts = np.array([len(one) if len(one) > 1 else 0 for one in owners])
    at = np.flatnonzero(counts)
    x, y = random.integers(0, 16 * width, EVENTS), random.integers(0, 16 * height, EVENTS)
    tables = ReferenceTables(
        base=np.where(counts[:, None] > 0, 128, np.full((height * width, 3), 255))
        .astype(np.uint8)
        .reshape(height, width, 3),
        pixel=at.astype(np.int32),
        start=np.concatenate([[0], np.cumsum(counts[at])]).astype(np.int32),
        owner=np.concatenate([owners[pixel] for pixel in at]).astype(np.int32),
        coverage=random.integers(60, 256, int(counts.sum())).astype(np.uint8),
        lit_color=np.array([255, 0, 0], np.uint8),
        x=x.astype(np.int32),
        y=y.astype(np.int32),
        color=random.integers(0, 14, EVENTS).astype(np.uint8),
        neighborhood=label[(y >> 4) * width + (x >> 4)].astype(np.int16),
        palette=random.integers(0, 256, (14, 3), np.uint8),
        stamp=disc_stamps(3.5, 0.7),
    )
    return Rasterizer(tables, _geometry(height, width), ("red", "green", "blue"), neighborhoods=areas, backend=backend)


def counting(backend: Backend, *, height: int = 54, width: int = 43) -> Rasterizer:
    """Draw in the channels style: 12 steps of 6 groups."""
    random = np.random.default_rng(1)
    tables = ChannelsTables(
        cell=random.integers(0, height * width, EVENTS).astype(np.int32),
        group=random.integers(0, GROUPS, EVENTS).astype(np.uint8),
        groups=GROUPS,
        base=np.zeros((height, width, STEPS * GROUPS), np.uint8),
    )
    names = [f"{group}-{step}" for step in range(STEPS) for group in range(GROUPS)]
    return Rasterizer(tables, _geometry(height, width), names, steps=STEPS, backend=backend)


def _geometry(height: int, width: int) -> MapGeometry:
    return MapGeometry(west=0.0, south=0.0, east=1.0, north=1.0, height=height, width=width)


def pairs_for(rasterizer: Rasterizer, batch: int) -> NDArray[np.int64]:
    """Return windows of a Poisson number of incidents, empty ones among them."""
    random = np.random.default_rng(2)
    shape = (batch, rasterizer.steps) if rasterizer.steps else (batch,)
    length = random.poisson(MEAN_INCIDENTS, shape)
    first = random.integers(0, EVENTS - length + 1)
    return np.stack([first, first + length], axis=-1).astype(np.int64)


def measure(
    machine: Machine,
    make: Callable[[Backend], Rasterizer],
    values: Values,
    batch: int,
    *,
    rounds: int,
    calls: int,
    tiling: tuple[int, int, bool] | None = None,
) -> dict[str, Any]:
    """Check a few windows against the CPU, then time the batch in turn with filling its memory.

    Args:
        machine: what draws.
        make: returns the rasterizer of a backend.
        values: what is written.
        batch: windows.
        rounds: of timing.
        calls: in a round.
        tiling: threads of a block, bytes of a tile, and whether to copy it in bulk where that can be; else the usual.
    """
    rasterizer, host = make("cuda").writing(values), make("numba").writing(values)
    if tiling is not None:
        rasterizer.kernels = _cut(rasterizer, *tiling)
    pairs = pairs_for(rasterizer, batch)
    out = machine.empty((batch, *rasterizer.shape), values.dtype)
    few = min(batch, 16)
    rasterizer.fill(pairs, out)
    same = bool(np.array_equal(machine.to_host(out[:few]), host.maps(pairs[:few])))
    assert same, "GPU and CPU differ"
    on_device = machine.to_device(pairs)

    def draw() -> None:
        rasterizer.fill(on_device, out)

    works = {"draw": draw, "fill": lambda: machine.fill(out)}
    timings = time_in_turn(works, rounds=rounds, clock=lambda work: machine.device_s(work, calls))
    wall_s = time_in_turn({"draw": draw}, rounds=rounds, clock=machine.wall_s)["draw"].median_s
    draw_s, fill_s, share = timings["draw"].median_s, timings["fill"].median_s, ratios(timings, "fill")["draw"]
    size = batch * int(np.prod(rasterizer.shape)) * values.codes.itemsize
    return {
        "batch": batch,
        "dtype": values.dtype,
        "same_as_cpu": same,
        "device_us": draw_s * 1e6,
        "wall_us": wall_s * 1e6,
        "maps_per_s": batch / draw_s,
        "gb_per_s": size / draw_s / 1e9,
        "fill_gb_per_s": size / fill_s / 1e9,
        "share_of_fill": share["median"],
        "share_lowest_highest": [share["low"], share["high"]],
    }


def _cut(rasterizer: Rasterizer, threads: int, room: int, is_bulk: bool) -> Any:
    """Return kernels whose tiles have this many threads and bytes, and are copied in bulk, or not."""
    from hews_gpu.raster.cuda import CudaKernels

    tables, neighborhoods = rasterizer.tables, rasterizer.neighborhoods
    return CudaKernels(tables, neighborhoods, steps=rasterizer.steps, threads=threads, room=room, is_bulk=is_bulk)


STYLES: dict[str, tuple[str, Callable[[Backend], Rasterizer]]] = {
    "reference, 55 areas": ("reference: {}", painting),
    "reference, 278 areas": ("reference: {}", lambda backend: painting(backend, areas=278)),
    f"reference, 278 areas, {CROWDED} pixels of {OWNERS}": (
        "reference: {}, many owners",
        lambda backend: painting(backend, areas=278, crowded=CROWDED),
    ),
    f"channels, {STEPS} x {GROUPS}": ("channels: {}", counting),
}
"""By what is drawn: the kernel's name among those whose instructions are counted, and what makes a rasterizer."""
TINY: dict[str, tuple[str, Callable[[Backend], Rasterizer]]] = {
    "reference, 5 areas": ("reference: {}", lambda backend: painting(backend, areas=5, height=16, width=12)),
    "reference, crowded": ("", lambda backend: painting(backend, areas=9, height=16, width=12, crowded=2)),
    "channels": ("channels: {}", lambda backend: counting(backend, height=2, width=2)),
}


def instructions_of(kernel: str) -> int | None:
    """Return how many instructions of warps a tile takes without bulk copies; the prediction's constants are of sm_90.

    None if they are not counted in the interpreter of PTX. For sm_80 those are counted that sm_90 copies in bulk.
    """
    from hews_gpu.kernels._shim_cuda import COMPILER

    counted = json.loads((ROOT / "tests" / "kernels" / "resources.json").read_text(encoding="utf-8"))[COMPILER]
    if (row := counted.get(kernel)) is None:
        return None
    return int((row["sm_80"].get("per_tile") or row["sm_90"]["per_tile"])["instructions"])


def predicted_share(instructions: int, map_bytes: int, item: int, fill_gb_per_s: float) -> float:
    """Return the share of fill that the instructions of a tile let expect of maps of so many values of `item` bytes."""
    from hews_gpu.kernels.raster_cuda import THREADS, TILE_BYTES
    from hews_gpu.raster.cuda import Tiling

    fill_ns = map_bytes * item / Tiling.of(map_bytes, THREADS, TILE_BYTES).tiles / fill_gb_per_s
    own_ns = PER_THOUSAND_NS * instructions / 1000 + PER_TILE_NS
    return float(fill_ns / (own_ns**NORM + fill_ns**NORM) ** (1 / NORM))


def run(*, tiny: bool, rounds: int = 9) -> list[dict[str, Any]]:
    """Measure both styles, large and small batches, bytes and floats; one tiny batch of each, if tiny."""
    machine, rows = Simulated() if tiny else Gpu(), []
    cases: tuple[tuple[Values, int, int], ...] = (
        (Values.plain(), LARGE, 5),
        (Values.plain(), SMALL, 50),
        (Values.unit("float16"), LARGE // 2, 5),
    )
    for work, (name, make) in (TINY if tiny else STYLES).items():
        for values, batch, calls in cases[2:] if tiny else cases:
            row = measure(machine, make, values, 1 if tiny else batch, rounds=3 if tiny else rounds, calls=calls)
            instructions = instructions_of(name.format(values.dtype))
            if instructions is not None and batch != SMALL:
                map_bytes, item = int(np.prod(make("numba").shape)), values.codes.itemsize
                expected = predicted_share(instructions, map_bytes, item, row["fill_gb_per_s"])
                row["predicted_share_of_fill"] = expected
            rows.append({"work": work, **row})
    return rows


def draw_once(windows: int) -> None:
    """Draw some windows in every style, for a tool that looks on."""
    from hews_gpu.kernels._shim_cuda import SIMULATED

    machine = Simulated() if SIMULATED else Gpu()
    for _, make in (TINY if SIMULATED else STYLES).values():
        rasterizer = make("cuda")
        out = machine.empty((windows, *rasterizer.shape), "uint8")
        rasterizer.fill(pairs_for(rasterizer, windows), out)
        rasterizer.check()


if __name__ == "__main__":
    draw_once(int(sys.argv[1]))
