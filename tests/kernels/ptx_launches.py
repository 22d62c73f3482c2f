"""Every kernel on the interpreter of PTX: its tables laid out as on a GPU, what it writes, and what a tile costs."""

from functools import cache

import numpy as np
import pytest

from benchmarks.gpu.raster import CROWDED, EVENTS, counting, painting, pairs_for
from hews_gpu.data.geometry.point_in_polygon import find_in_grid, grid_of
from hews_gpu.kernels._launch_cuda import lay_out, parameters
from hews_gpu.kernels.pip_cuda import THREADS, blocks_for
from hews_gpu.kernels.tables import DiscsTables
from hews_gpu.raster import cuda as raster
from hews_gpu.raster.output import Values
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import FULL_DISC, disc_stamps
from tests.inputs.small_cases import CASES, SmallCase
from tests.kernels.pip_cases import CASES as POLYGONS
from tests.kernels.pip_cases import points_of
from tests.kernels.ptx import Memory, Program
from tests.kernels.resources import DISC_SIDE, OUTPUTS, PIP, ptx_of

VALUES = {
    "uint8": Values.plain,
    "uint8 by a table": lambda: Values.log_counts("uint8"),
    "float16": lambda: Values.unit("float16"),
    "float32": Values.unit,
}
WINDOWS = 2
"""Of a city: 14 or more tiles."""


class Placed:
    """An array in the interpreter's memory, described as one on a device is."""

    def __init__(self, memory, array, **where):
        self.address = memory.place(array, **where)
        self.seen_as(array.shape, array.dtype)

    def seen_as(self, shape, dtype):
        data = (self.address, False)
        self.__cuda_array_interface__ = {"shape": shape, "typestr": np.dtype(dtype).str, "data": data, "version": 3}
        return self


@cache
def adding():
    """Draw discs of the default radius per step and group, incidents as thick as in `counting`."""
    counted, random = counting("numpy"), np.random.default_rng(4)
    height, width, _ = counted.shape
    x, y = random.integers(-32, 16 * width + 32, EVENTS), random.integers(-32, 16 * height + 32, EVENTS)
    stamp = disc_stamps(1.0, FULL_DISC / 255)
    assert stamp.shape[-1] == DISC_SIDE
    group, groups, base = counted.tables.group, counted.tables.groups, counted.tables.base
    tables = DiscsTables(x.astype(np.int32), y.astype(np.int32), group, groups, base, stamp)
    return Rasterizer(tables, counted.geometry, counted.names, steps=counted.steps, backend="numpy")


CITIES = {
    "reference": cache(lambda: painting("numpy")),
    "reference, many owners": cache(lambda: painting("numpy", areas=278, crowded=CROWDED)),
    "channels": cache(lambda: counting("numpy")),
    "discs": adding,
}


@cache
def cases_of(name):
    """What a row's kernel can draw: rasterizer, pairs, values between aligned memory and the batch; the city first."""
    style, _, words = name.partition(": ")
    output, many = OUTPUTS[words.removesuffix(", many owners")], words.endswith("many owners")
    small = [(case.rasterizer("numpy"), case.pairs, case.case.offset) for case in map(SmallCase, CASES)]
    found = [one for one in small if row_of(*one) == name]
    city = CITIES[f"{style}, many owners" if many else style]()
    city = city.writing(VALUES[words.partition(", ")[0]]())
    pairs = pairs_for(city, 8192)[:: 8192 // WINDOWS]
    return [(city, pairs, 0 if output.is_whole else 1), *found]


def row_of(rasterizer, pairs, offset):
    """The row of the table whose kernel draws this, or None."""
    tables, values, item = rasterizer.tables, rasterizer.values, rasterizer.values.codes.itemsize
    style = type(tables).__name__.removesuffix("Tables").lower()
    if style == "discs" and tables.stamp.shape[-1] != DISC_SIDE:
        return None
    is_whole = tables.base.size % (16 // item) == 0 and offset == 0
    output = raster.raster_cuda.Output(item, not values.is_plain, is_whole)
    words = next((words for words, one in OUTPUTS.items() if one == output), None)
    many = style == "reference" and len(tables.start) > 1 and np.diff(tables.start).max() > 4
    return f"{style}: {words}{', many owners' if many else ''}"


def draw(text, rasterizer, pairs, offset):
    """Draw into memory with room on both sides; return counts by tile, and bytes that differ from NumPy's."""
    memory, values = Memory(), rasterizer.values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "_to_device", lambda array: Placed(memory, array))
        patch.setattr(raster, "_Shared", lambda: Placed(memory, np.zeros(1, np.int32), is_written=True))
        kernels = raster.CudaKernels(rasterizer.tables, rasterizer.neighborhoods, steps=rasterizer.steps)
    expected = rasterizer.maps(pairs)
    item, is_whole = expected.dtype.itemsize, expected[0].nbytes % 16 == 0 and offset == 0
    out = Placed(memory, np.full(expected.nbytes, 0xA5, np.uint8), is_written=True, offset=offset * item)
    unit = 8 if is_whole else item
    block, places, _ = lay_out(
        (
            kernels.layout,
            Placed(memory, pairs.reshape(-1)),
            Placed(memory, values.codes[:1] if values.is_plain else values.codes),
            out.seen_as((expected.nbytes // unit,), f"u{unit}"),
            kernels._sizes,
            kernels._bad,
        )
    )
    program, tiling = Program(text), kernels._tiling
    assert program.parameters == places == parameters(text)
    counts = program.launch(block, memory, (len(pairs), tiling.tiles), tiling.threads)
    assert not memory.read(kernels._bad.address, np.zeros(1, np.int32)).any()
    written = memory.read(out.address, expected)
    return counts, len(pairs) * tiling.tiles, int((written.view(np.uint8) != expected.view(np.uint8)).sum())


def place_points(text):
    """Search points of two cases; return counts by block of threads, and answers that differ from the CPU's."""
    totals, blocks, differing = np.zeros(3, np.int64), 0, 0
    for case in ("patchwork", "slivers"):
        tables, memory = grid_of(POLYGONS[case]()), Memory()
        x, y = points_of(POLYGONS[case](), random_points=500)
        out = Placed(memory, np.full(len(x), 7, np.int32), is_written=True)
        placed = [Placed(memory, array) for array in (*tables, x, y)]
        block, places, _ = lay_out((type(tables)(*placed[:-2]), *placed[-2:], out))
        program = Program(text)
        assert program.parameters == places == parameters(text)
        counts = program.launch(block, memory, (blocks_for(len(x)), 1), THREADS)
        totals += counts.instructions, counts.conflicts, counts.divergent
        blocks += blocks_for(len(x))
        expected = find_in_grid(tables, x, y).astype(np.int32)
        differing += int((memory.read(out.address, expected) != expected).sum())
    return totals, blocks, differing


@cache
def cost_of(name, compute="sm_90"):
    """Run all that a row's kernel can draw; return what a tile of the first costs, and what differs by case.

    Of points in polygons a tile is a block of threads.
    """
    text = ptx_of(name, compute)
    if name == PIP:
        totals, tiles, differing = place_points(text)
        return as_row(*totals, tiles), [differing]
    drawn = [draw(text, *case) for case in cases_of(name)]
    counts, tiles, _ = drawn[0]
    row = as_row(counts.instructions, counts.conflicts, counts.divergent, tiles)
    return {**row, "phases": [round(count / tiles) for count in counts.phases]}, [one[2] for one in drawn]


def as_row(instructions, conflicts, divergent, tiles):
    counts = {"instructions": instructions, "conflicts": conflicts, "divergent": divergent}
    return {name: -(-int(count) // tiles) for name, count in counts.items()}
