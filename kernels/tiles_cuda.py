"""The tile of a map that a CUDA block owns: read where it starts from, and write it out when it is finished.

A thread stores 16 bytes of output at once, values by a table as `_inline_ptx` says; where a map is no whole number of
such stores, or the memory is not aligned to them, values are written one by one. In bulk, one thread has the copy
engine of the device move the whole tile, which begins at a multiple of 16 bytes for that. Indices are unsigned and of
32 bits, as in `raster_cuda`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hews_gpu.kernels._shim_cuda import (
    begin_read,
    cuda,
    device,
    fence,
    has_arrived,
    load16,
    send,
    shared_words,
    store16,
    types,
    write_codes,
)

__all__ = ["Output", "base_reader", "copy_table", "place_of", "tile_writer", "window_of"]

i32, u32, u64 = np.int32, np.uint32, np.uint64


class Output(NamedTuple):
    """What is written; one kernel is compiled for each."""

    item: int = 1
    """Bytes of a value: 1, 2 or 4."""
    is_table: bool = False
    """Whether counts are looked up in a table; without, bytes are written as they are."""
    is_whole: bool = True
    """Whether every tile is a whole number of aligned 16-byte stores."""

    @property
    def value_type(self) -> Any:
        """The type of a value's bit pattern."""
        return {1: types.uint8, 2: types.uint16, 4: types.uint32}[self.item]


@device
def window_of(pairs: Any, at: Any, b: Any, sizes: Any, bad: Any) -> Any:
    """Return first and last of pair `at`, which is window b's; a negative number is a large one when unsigned.

    A pair that reaches outside the table becomes an empty one, and its window is noted in `bad`.
    """
    first, last = u64(pairs[u32(2 * at)]), u64(pairs[u32(2 * at + 1)])
    if first > last or last > u64(sizes.events):
        bad[0] = i32(b + u32(1))
        first = last = u64(0)
    return i32(first), i32(last)


@device
def place_of(places: Any, e: Any) -> Any:
    """Return x, y, color, neighborhood of an incident: 16 bytes."""
    low, high = load16(places, np.int64(2 * e))
    return i32(u32(low)), i32(u32(low >> u64(32))), u32(high), i32(u32(high >> u64(32)))


@device
def copy_table(tid: Any, threads: Any, table: Any, codes: Any) -> None:
    """Copy the table into shared memory."""
    value = tid
    while value < table.shape[0]:
        codes[value] = table[value]
        value = u32(value + threads)


@device
def _copy_base(base: Any, tid: Any, threads: Any, begin: Any, end: Any, tile: Any) -> None:
    """Copy the tile of a window without incidents into shared memory."""
    run, runs = tid, u32((i32(end - begin) + 15) >> 4)
    first = u32(begin >> 4)
    while run < runs:
        low, high = load16(base, np.int64(2 * u32(first + run)))
        tile[u32(2 * run)] = low
        tile[u32(2 * run + 1)] = high
        run = u32(run + threads)


def base_reader(tile_words: int, is_bulk: bool) -> tuple[Callable[..., Any], ...]:
    """Return the parts of a kernel that make room for a tile, begin to read its base, and wait for it.

    Threads have met between the last two. In bulk one thread lets the copy engine read, and the others go on.
    """
    if not is_bulk:

        @device
        def make_plain() -> Any:
            return cuda.shared.array(tile_words, types.uint64)

        return make_plain, _copy_base, _nothing
    barrier_at = 8 * tile_words

    @device
    def read(base: Any, tid: Any, threads: Any, begin: Any, end: Any, tile: Any) -> None:
        if tid == 0:
            size = u32(u32(i32(end - begin) + 15) & u32(0xFFFFFFF0))
            begin_read(tile, u32(barrier_at), base, np.int64(2 * u32(begin >> 4)), size)

    @device
    def wait(tile: Any) -> None:
        while has_arrived(tile, u32(barrier_at)) == 0:
            pass

    return shared_words(tile_words + 1), read, wait


@device
def _nothing(tile: Any) -> None:
    pass


def tile_writer(output: Output, threads: int, is_bulk: bool) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the parts of a kernel that write a finished tile as `output` says: before its threads meet, and after."""
    if output == Output():
        return (_show, _send_bytes) if is_bulk else (_nothing, _bytes_writer(threads))
    value, per_run = _look_up if output.is_table else _as_it_is, 16 // output.item

    @device
    def write_runs(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        v, values = u32(tid * u32(per_run)), u32(end - begin)
        first = np.int64(b) * np.int64(u32(sizes.size) // u32(per_run))
        at = np.int64(2 * (first + np.int64(u32(u32(begin) + v) // u32(per_run))))
        while v < values:
            write_codes(tile, v, codes, out, at)
            v = u32(v + u32(threads * per_run))
            at = np.int64(at + np.int64(2 * threads))

    @device
    def write_values(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        v, values = tid, u32(end - begin)
        while v < values:
            out[u64(b) * u64(sizes.size) + u64(u32(u32(begin) + v))] = value(codes, bytes_[v])
            v = u32(v + u32(threads))

    return _nothing, write_runs if output.is_whole else write_values


@device
def _show(tile: Any) -> None:
    """Let the copy engine see what this thread wrote."""
    fence()


@device
def _send_bytes(
    tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
) -> None:
    """Have the copy engine write the tile's bytes as they are."""
    if tid == 0:
        start = np.int64(b) * np.int64(sizes.runs) + np.int64(begin >> 4)
        send(tile, out, np.int64(2 * start), u32(end - begin))


def _bytes_writer(threads: int) -> Callable[..., None]:
    """Return the part that writes bytes as they are, 16 at a time."""

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
def _look_up(codes: Any, byte: Any) -> Any:
    return codes[u32(byte)]  # numba-cuda-mlir 0.6 takes a byte that is an index for a signed one


@device
def _as_it_is(codes: Any, byte: Any) -> Any:
    return byte
