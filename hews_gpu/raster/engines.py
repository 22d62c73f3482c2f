"""What draws on a CPU: the NumPy reference and the compiled kernels, behind one method.

Plain bytes, channels-last, of a single variant are drawn where they belong. Everything else is drawn into a scratch of
a few maps, which stay in the cache, and written from there through the table: it is kept from call to call.

Shapes: B windows, K variants.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels import raster_cpu, reference_numpy
from hews_gpu.kernels._shim import max_threads
from hews_gpu.kernels.plan_cpu import plan_channels, plan_discs, plan_reference
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables
from hews_gpu.raster.targets import host_target
from hews_gpu.raster.values import Values

__all__ = ["Engine", "NumbaEngine", "NumpyEngine"]

SCRATCH_MAPS = 4
"""Of each thread: enough to share what it costs to start, few enough to stay in a core's cache."""

DRAWING = threading.Lock()
"""One thread at a time: kernels share a scratch of each plan, and not every one of numba's threading layers takes calls
from two threads at once. Nothing is lost by it, as one call keeps all cores busy."""

Bank = Sequence[ReferenceTables] | Sequence[ChannelsTables] | Sequence[DiscsTables]


_DRAW = {
    ReferenceTables: raster_cpu.draw_reference,
    ChannelsTables: raster_cpu.draw_channels,
    DiscsTables: raster_cpu.draw_discs,
}


class Engine(Protocol):
    """Draws windows into a batch; every argument but the batch has been checked."""

    def fill(self, pairs: Any, variants: Any, values: Values, out: Any, stream: Any) -> None:
        """Draw window b of `pairs` as variant variants[b] (all as variant 0 if None) into out[b]."""

    def check(self, stream: Any) -> None:
        """Wait for `stream` and raise what could not be checked before."""


class NumpyEngine:
    """The slow reference."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.shape = bank[0].base.shape

    def fill(self, pairs: Any, variants: Any, values: Values, out: Any, stream: Any) -> None:
        """As the protocol says; `stream` means nothing here."""
        target, is_planes = host_target(out, (len(pairs), *self.shape), values.dtype)
        pairs = np.asarray(pairs)
        for k, rows in _by_variant(len(pairs), variants):
            maps, tables = np.empty((len(rows), *self.shape), np.uint8), self.bank[k]
            if isinstance(tables, ChannelsTables):
                reference_numpy.fill_channels(tables, pairs[rows], maps)
            elif isinstance(tables, DiscsTables):
                reference_numpy.fill_discs(tables, pairs[rows], maps)
            else:
                reference_numpy.fill_reference(tables, pairs[rows], maps)
            reference_numpy.encode(maps, rows, values.codes, is_planes, target)

    def check(self, stream: Any) -> None:
        """Nothing is left to check."""


class NumbaEngine:
    """The compiled kernels, on all of numba's threads."""

    def __init__(self, bank: Bank, neighborhoods: int) -> None:
        self.bank = bank
        self.shape = bank[0].base.shape
        self._draw: Any = _DRAW[type(bank[0])]
        self.plans = [_plan(one, neighborhoods) for one in bank]
        self._scratch = np.empty((0, *self.shape), np.uint8)

    def fill(self, pairs: Any, variants: Any, values: Values, out: Any, stream: Any) -> None:
        """As the protocol says; `stream` means nothing here."""
        target, is_planes = host_target(out, (len(pairs), *self.shape), values.dtype)
        if len(pairs) == 0:
            return
        pairs = np.ascontiguousarray(pairs)  # of another layout, or torch's, the kernels would be compiled anew or fail
        with DRAWING:
            if variants is None and values.is_plain and not is_planes:
                self._draw(self.plans[0], pairs, target)
            else:
                self._encode(pairs, variants, values, target, is_planes)

    def _encode(self, pairs: Any, variants: Any, values: Values, target: NDArray[Any], is_planes: bool) -> None:
        """Draw into the scratch, some maps at a time, and write these through the table."""
        if len(self._scratch) == 0:
            self._scratch = np.empty((SCRATCH_MAPS * max_threads(), *self.shape), np.uint8)
        for k, rows in _by_variant(len(pairs), variants):
            for begin in range(0, len(rows), len(self._scratch)):
                part = rows[begin : begin + len(self._scratch)]
                maps = self._scratch[: len(part)]
                self._draw(self.plans[k], pairs[part], maps)
                flat = maps.reshape(len(part), -1)
                raster_cpu.encode(flat, part, values.codes, self.shape[2], is_planes, target)

    def check(self, stream: Any) -> None:
        """Nothing is left to check."""


def _plan(tables: ReferenceTables | ChannelsTables | DiscsTables, neighborhoods: int) -> Any:
    """The tables as the kernel that draws them wants them."""
    if isinstance(tables, ChannelsTables):
        return plan_channels(tables)
    return plan_discs(tables) if isinstance(tables, DiscsTables) else plan_reference(tables, neighborhoods)


def _by_variant(batch: int, variants: NDArray[np.int32] | None) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each variant that occurs, and the windows drawn as it."""
    if variants is None:
        yield 0, np.arange(batch)
        return
    for k in np.unique(variants):
        yield int(k), np.flatnonzero(variants == k)
