"""How a CUDA block writes a finished tile: bytes or values of a table, channels-last or a plane per channel.

A thread packs 16 bytes of output and stores them at once; where a map is no whole number of such stores, or the memory
is not aligned to them, values are written one by one. Indices are unsigned and of 32 bits, as in `raster_cuda`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hews_gpu.kernels._shim_cuda import device, store16, types

__all__ = ["Output", "tile_writer"]

u32, u64 = np.uint32, np.uint64


class Output(NamedTuple):
    """What is written: one kernel is compiled for each."""

    item: int = 1
    """Bytes of a value: 1, 2 or 4."""
    is_table: bool = False
    """Whether counts are looked up in a table; without, bytes are written as they are."""
    is_planes: bool = False
    """A plane per channel, [B, C, H, X], instead of channels-last."""
    is_whole: bool = True
    """Whether every tile is a whole number of aligned 16-byte stores."""

    @property
    def per_run(self) -> int:
        """Values in 16 bytes."""
        return 16 // self.item

    @property
    def value_type(self) -> Any:
        """Of a value's bit pattern."""
        return {1: types.uint8, 2: types.uint16, 4: types.uint32}[self.item]


def tile_writer(output: Output, threads: int) -> Callable[..., None]:
    """The part of a kernel that writes a finished tile as `output` says."""
    if output.is_whole and output == Output():
        return _bytes_writer(threads)
    value, place = _look_up if output.is_table else _as_it_is, _in_planes if output.is_planes else _in_place
    per_run, item = output.per_run, output.item
    half, per_word = per_run // 2, 8 // output.item

    @device
    def pack(bytes_: Any, codes: Any, source: Any, step: Any) -> Any:
        """Eight bytes of output."""
        word = u64(0)
        for j in range(per_word):
            word |= u64(value(codes, bytes_[u32(source + u32(j) * step)])) << u64(8 * item * j)
        return word

    @device
    def write_runs(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        start = np.int64(b) * np.int64(u32(sizes.size) // u32(per_run))
        v, values = u32(tid * u32(per_run)), u32(end - begin)
        while v < values:
            source, step, target = place(sizes, u32(begin), values, v)
            low = pack(bytes_, codes, source, step)
            high = pack(bytes_, codes, u32(source + u32(half) * step), step)
            store16(out, np.int64(2 * (start + np.int64(target // u32(per_run)))), low, high)
            v = u32(v + u32(threads * per_run))

    @device
    def write_values(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        v, values = tid, u32(end - begin)
        while v < values:
            source, _, target = place(sizes, u32(begin), values, v)
            out[u64(b) * u64(sizes.size) + u64(target)] = value(codes, bytes_[source])
            v = u32(v + u32(threads))

    return write_runs if output.is_whole else write_values


def _bytes_writer(threads: int) -> Callable[..., None]:
    """Bytes as they are, channels-last, 16 at a time."""

    @device
    def write_bytes(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        start = np.int64(b) * np.int64(sizes.runs) + np.int64(begin >> 4)
        run, runs = tid, u32((end - begin) >> 4)
        while run < runs:
            store16(out, np.int64(2 * (start + np.int64(run))), tile[u32(2 * run)], tile[u32(2 * run + 1)])
            run = u32(run + u32(threads))

    return write_bytes


@device
def _in_place(sizes: Any, begin: Any, values: Any, v: Any) -> Any:
    """Where value v of a tile and those after it come from (byte of the tile, step), and go to in the map."""
    return v, u32(1), u32(begin + v)


@device
def _in_planes(sizes: Any, begin: Any, values: Any, v: Any) -> Any:
    """The same for a plane per channel: the tile, a whole number of pixels, is read channel by channel."""
    channels = u32(sizes.channels)
    pixels = values // channels
    c = v // pixels
    p = u32(v - u32(c * pixels))
    return u32(p * channels + c), channels, u32(c * u32(sizes.pixels) + begin // channels + p)


@device
def _look_up(codes: Any, byte: Any) -> Any:
    return codes[byte]


@device
def _as_it_is(codes: Any, byte: Any) -> Any:
    return byte
