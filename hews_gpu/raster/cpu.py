"""What draws for a Rasterizer on a CPU: the NumPy reference and the compiled kernels.

The compiled kernels draw plain bytes where they belong. Everything else is drawn into a scratch of a few maps, which
stays in the cache, and written from there through the table.

Shapes: B windows, H rows, X columns, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Int64
from hews_gpu.kernels import layout_cpu, raster_cpu, reference_numpy
from hews_gpu.kernels._shim import ONE_AT_A_TIME, max_threads
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables
from hews_gpu.raster.output import Values, host_target

__all__ = ["NumbaKernels", "NumpyKernels", "Tables"]

SCRATCH_MAPS = 4
"""Of each thread: enough to share what it costs to start, few enough to stay in a core's cache."""

Tables = ReferenceTables | ChannelsTables | DiscsTables


class NumpyKernels:
    """The slow reference."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def fill(self, pairs: Any, values: Values, out: Any, stream: Any) -> None:
        """Draw window b of `pairs` into out[b]; `stream` means nothing here."""
        maps = np.empty((len(pairs), *self.tables.base.shape), np.uint8)
        target = host_target(out, maps.shape, values.dtype)
        reference_numpy.draw(self.tables, np.asarray(pairs), maps)
        target[:] = values.codes[maps].reshape(target.shape)


class NumbaKernels:
    """The compiled kernels, on all of numba's threads."""

    def __init__(self, tables: Tables, neighborhoods: int) -> None:
        self.layout = layout_cpu.lay_out(tables, neighborhoods)
        self.shape = tables.base.shape
        self._scratch = np.empty((0, *self.shape), np.uint8)

    def fill(self, pairs: Any, values: Values, out: Any, stream: Any) -> None:
        """Draw window b of `pairs` into out[b]; `stream` means nothing here."""
        target = host_target(out, (len(pairs), *self.shape), values.dtype)
        if len(pairs) == 0:
            return
        pairs = np.ascontiguousarray(pairs)  # of another layout, or torch's, the kernels would be compiled anew or fail
        with ONE_AT_A_TIME:  # the scratch of a layout is shared, too
            if values.is_plain:
                raster_cpu.draw(self.layout, pairs, target)
            else:
                self._encode(pairs, values, target)

    def _encode(self, pairs: Int64, values: Values, target: NDArray[Any]) -> None:
        """Draw into the scratch, some maps at a time, and write these through the table."""
        if len(self._scratch) == 0:
            self._scratch = np.empty((SCRATCH_MAPS * max_threads(), *self.shape), np.uint8)
        for begin in range(0, len(pairs), len(self._scratch)):
            part = pairs[begin : begin + len(self._scratch)]
            maps = self._scratch[: len(part)]
            raster_cpu.draw(self.layout, part, maps)
            raster_cpu.encode(maps.reshape(len(part), -1), values.codes, target[begin : begin + len(part)])
