"""Raster kernels for CUDA: a block composes a tile of one window's map in shared memory, then writes it out once.

A map is a run of bytes, cut into tiles of at most `TILE_BYTES`; block (b, i) owns tile i of window b. Blocks that run
side by side hold the same tile of neighboring windows, so that the base stays in the first cache. Nothing here needs
an atomic for the sake of order: every byte of a tile belongs to one thread while discs are drawn.

    tile, 16 bytes a run      base: thread t takes runs t, t + threads, ..          16-byte loads
    +----+----+----+----+     outlines: warp w takes lit areas w, w + warps, .., lane l sets l, l + 32, .. of the area's
    | r0 | r1 | r2 | .. |     draw: warp w takes rows w, w + warps, .. of the map,
    +----+----+----+----+           lane l its bytes l, l + 32, ..: the same thread for every disc, in event order
                              write: thread t takes 16 bytes of output, t + threads, ..     16-byte stores

Outlines are flipped by the sets that the lit neighborhoods have in the tile: a lit neighborhood touches few tiles, and
most are not lit. Each is listed once, by the thread that lights it; a window of more incidents than threads looks
through all neighborhoods instead. Sets that touch one word flip different bits of it, or flip them again, in any order:
an exclusive or that nobody interrupts is enough. A pixel of too many owners for sets is listed by each of them, and
blended by a lane of the first that is lit. Discs are drawn by rows because a row of a disc (27 bytes) then keeps
a whole warp busy; were every thread to look after its own run alone, a warp would blend 16 bytes for the two lanes that
a disc touches. Which incidents reach the tile is computed by all threads at once and listed in event order: a bit for
each, and the bits before it are counted.

The channels style with a disc per incident lists the incidents that reach the tile in any order: sums that stop at 255
of numbers that are not negative do not depend on it.

    read: warp w takes steps w, w + warps, .. (a part of one where warps are more than steps), lane l an incident
    draw: warp w takes rows w, w + warps, .. of the map, lane l columns l, l + 32, ..

In bulk, from sm_90 on and where asked, go bytes that are written as they are: one thread starts the copy of the base,
which comes while incidents are read, and one starts the copy to memory when all have drawn (`tiles_cuda`,
`_inline_ptx`).

Integers only, and those of 32 bits where they can be: the compiler widens every sum to 64, so sums are cast back
(`i32`, `u32`), and indices are unsigned, as a signed one is tested for being negative at every access. Shapes as in
`kernels.layout_cuda`; B windows, T steps. Callers have checked every argument but what lies on the device alone: a pair
that reaches outside the tables is drawn as an empty window, and noted in `bad`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from hews_gpu.kernels._shim_cuda import cuda, device, kernel, load16, types
from hews_gpu.kernels.scalars import FIXED_BITS, FIXED_ONE, blend, saturated_increment, saturated_sum
from hews_gpu.kernels.tiles_cuda import Output, base_reader, copy_table, place_of, tile_writer, window_of

__all__ = ["REGISTERS", "THREADS", "TILE_BYTES", "Output", "channels_kernel", "discs_kernel", "reference_kernel"]

THREADS = 256
"""Threads of a block: eight blocks fill a multiprocessor."""
TILE_BYTES = 16_384
"""Shared memory for a tile: eight of them and their lists fit a multiprocessor of sm_90, seven one of sm_80."""
REGISTERS = 32
"""Of a thread, at most: then 2,048 threads, as many as a multiprocessor takes, have registers."""
LANES = 32

i32, u32, u64 = np.int32, np.uint32, np.uint64


@cache
def reference_kernel(
    output: Output, lit_bytes: int, is_rest: bool, threads: int, tile_bytes: int, is_bulk: bool
) -> Any:
    """Return the kernel of the reference style, for `lit_bytes` >= N; `is_rest` if pixels are blended as they come.

    `is_bulk` if the device has bulk copies and is to use them.
    """
    warps, value_type = threads // LANES, output.value_type
    list_words, table_size, quarter = 3 * threads, 256 if output.is_table else 1, lit_bytes // 4
    new_tile, read_base, wait = base_reader(tile_bytes // 8, is_bulk and output == Output())
    finish, write = tile_writer(output, threads, is_bulk)

    def draw_reference(
        layout: Any,
        pairs: Any,  # int64 [2 * B]
        table: Any,  # uint8/uint16/uint32 [256], or [1]
        out: Any,
        sizes: Any,
        bad: Any,  # int32 [1] 1 + a window that reached outside the tables
    ) -> None:
        tile = new_tile()
        lit_words = cuda.shared.array(quarter, types.uint32)
        areas = cuda.shared.array(threads, types.uint16)
        kept = cuda.shared.array(warps, types.uint32)
        listed = cuda.shared.array(list_words, types.int32)
        codes = cuda.shared.array(table_size, value_type)
        window = cuda.shared.array(5, types.int32)  # first, last, areas to look at, rows of the map in the tile
        tid, b = u32(cuda.threadIdx.x), u32(cuda.blockIdx.x)
        begin = i32(i32(cuda.blockIdx.y) * sizes.tile)
        end = min(i32(begin + sizes.tile), sizes.size)
        if tid == 0:
            first, last = window_of(pairs, b, b, sizes, bad)
            window[0], window[1] = first, last
            window[2] = i32(0) if i32(last - first) <= threads else i32(sizes.neighborhoods)
            window[3] = i32(u32(begin) // u32(sizes.row))
            window[4] = i32(u32(end + sizes.row - 1) // u32(sizes.row))
        _clear(tid, u32(threads), u32(sizes.neighborhoods), lit_words, kept)
        copy_table(tid, u32(threads), table, codes)
        read_base(layout.base, tid, u32(threads), begin, end, tile)
        cuda.syncthreads()
        chunk, last, lit = window[0], window[1], lit_words.view(np.uint8)
        _mark_lit(layout.places, tid, threads, chunk, last, lit_words, areas, window)
        bytes_ = tile.view(np.uint8)
        is_first = True
        is_open: Any = True
        while is_open:  # what is read from `window` again needs no register meanwhile: on sm_80 there is none left
            chunk, last = window[0], window[1]
            reaches = _keep(layout.places, chunk, last, tid, window, sizes, kept)
            cuda.syncthreads()
            if is_first:
                wait(tile)
                _light_sets(layout, layout.set_start, tid, u32(threads), sizes, lit, areas, window, tile)
                if is_rest:
                    cuda.syncthreads()
                    _blend_rest(layout, layout.rest_start, tid, u32(threads), sizes, lit, areas, window, tile)
                is_first = False
                chunk, last = window[0], window[1]
            used = u32(min(i32(i32(last - chunk) + 31) >> 5, i32(warps)))
            count = _list(layout.places, chunk, tid, reaches, used, kept, listed)
            cuda.syncthreads()
            _draw_discs(layout, tid, i32(warps), begin, end, window, sizes, listed, count, bytes_)
            is_open = i32(window[0] + threads) < window[1]
            if is_open:
                cuda.syncthreads()
                if tid < warps:
                    kept[tid] = 0
                if tid == 0:
                    window[0] = i32(window[0] + threads)
                cuda.syncthreads()
        finish(tile)
        cuda.syncthreads()
        write(tile, bytes_, codes, tid, b, begin, end, sizes, out)

    return kernel(draw_reference, REGISTERS)


@device
def _clear(tid: Any, threads: Any, neighborhoods: Any, lit_words: Any, kept: Any) -> None:
    """Start with no neighborhood lit and no incident kept."""
    n = tid
    while n < u32(neighborhoods + u32(3)) >> u32(2):
        lit_words[n] = 0
        n = u32(n + threads)
    if tid < threads >> u32(5):
        kept[tid] = 0


@device
def _mark_lit(
    places: Any, tid: Any, threads: Any, first: Any, last: Any, lit_words: Any, areas: Any, window: Any
) -> None:
    """Mark the neighborhoods that hold an incident, and list those of the first incidents, as many as threads."""
    e = i32(first + i32(tid))
    while e < last:
        _, _, _, n = place_of(places, u32(e))
        if n >= 0:
            bit = u32(u32(1) << u32((u32(n) & u32(3)) << u32(3)))
            is_lit = (cuda.atomic.or_(lit_words, u32(n) >> u32(2), bit) & bit) != u32(0)
            if not is_lit and i32(last - first) <= threads:
                areas[u32(cuda.atomic.add(window, 2, 1))] = n
        e = i32(e + threads)


def _by_area(act: Callable[..., None], bits: int) -> Callable[..., None]:
    """Return a part that does `act` with what each lit neighborhood, of those listed or of all, has in the tile.

    `2 ** bits` lanes share what one has.
    """
    lanes = 1 << bits

    @device
    def act_by_area(
        layout: Any, starts: Any, tid: Any, threads: Any, sizes: Any, lit: Any, areas: Any, window: Any, tile: Any
    ) -> None:
        i = u32(tid >> u32(bits))
        while i < u32(window[2]):
            n = u32(areas[i]) if i32(window[1] - window[0]) <= i32(threads) else i
            if lit[n]:
                place = u32(u32(n * u32(cuda.gridDim.y)) + u32(cuda.blockIdx.y))
                v, v_end = u32(u32(starts[place]) + (tid & u32(lanes - 1))), u32(starts[u32(place + u32(1))])
                while v < v_end:
                    act(layout, v, n, sizes, lit, tile)
                    v = u32(v + u32(lanes))
            i = u32(i + (threads >> u32(bits)))

    return act_by_area


@device
def _flip_set(layout: Any, v: Any, n: Any, sizes: Any, lit: Any, tile: Any) -> None:
    """Flip the outlines of a set in the tile's base, if its other members are lit, too."""
    held, words = layout.sets[v], tile.view(np.uint32)
    others = lit[u32(held) >> u32(16)] & lit[u32(held >> u64(32)) & u32(0xFFFF)] & lit[u32(held >> u64(48))]
    if others:
        at = u32((u32(held) & u32(0xFFFF)) << u32(2))
        low, high = load16(layout.change, np.int64(2 * v))
        _flip(words, at, u32(low))
        _flip(words, u32(at + u32(1)), u32(low >> u64(32)))
        _flip(words, u32(at + u32(2)), u32(high))
        _flip(words, u32(at + u32(3)), u32(high >> u64(32)))


@device
def _flip(words: Any, at: Any, change: Any) -> None:
    """Flip bits of a word that other threads may flip, too; most sets touch two words of four."""
    if change != u32(0):
        cuda.atomic.xor(words, at, change)


@device
def _blend_pixel(layout: Any, v: Any, n: Any, sizes: Any, lit: Any, tile: Any) -> None:
    """Blend the lit owners of a pixel that has too many for a prepared look, in order, if n is the first of them."""
    q, q_end, first = u32(layout.rest[u32(3 * v)]), u32(layout.rest[u32(3 * v + 1)]), i32(layout.rest[u32(3 * v + 2)])
    bytes_ = tile.view(np.uint8)
    while q < q_end:
        owner = u32(layout.owners[q])
        if lit[owner >> u32(8)] != 0:
            if owner >> u32(8) < n:
                break
            for c in range(3):
                at = u32(first + c)  # a large one where the pixel begins in the tile before
                if at < u32(sizes.tile):
                    bytes_[at] = blend(i32(bytes_[at]), i32(layout.lit_color[u32(c)]), i32(owner & u32(255)))
        q = u32(q + u32(1))


_light_sets, _blend_rest = _by_area(_flip_set, 5), _by_area(_blend_pixel, 2)


@device
def _keep(places: Any, chunk: Any, last: Any, tid: Any, window: Any, sizes: Any, kept: Any) -> Any:
    """Return whether this thread's incident of the chunk reaches the tile, and set its bit if so."""
    e = i32(chunk + i32(tid))
    reaches: Any = False
    if e < last:
        x, y, _, _ = place_of(places, u32(e))
        left = i32(3 * ((x >> FIXED_BITS) - (sizes.side >> 1)))
        top = i32((y >> FIXED_BITS) - (sizes.side >> 1))
        is_row = top < window[4] and i32(top + sizes.side) > window[3]
        reaches = is_row and left < sizes.row and i32(left + 3 * sizes.side) > 0
    if reaches:
        cuda.atomic.or_(kept, tid >> u32(5), u32(1) << (tid & u32(31)))
    return reaches


@device
def _list(places: Any, chunk: Any, tid: Any, reaches: Any, used: Any, kept: Any, listed: Any) -> Any:
    """Put the kept incidents, which `used` warps looked at, into the list, in event order; returns how many."""
    count, rank, w = u32(0), u32(0), u32(0)
    while w < used:
        bits = kept[w]
        count = u32(count + u32(cuda.popc(bits)))
        before = bits if w < tid >> u32(5) else u32(0)
        if w == tid >> u32(5):
            before = u32(bits & u32((u32(1) << (tid & u32(31))) - u32(1)))
        rank = u32(rank + u32(cuda.popc(before)))
        w = u32(w + u32(1))
    if reaches:
        x, y, color, _ = place_of(places, u32(chunk + i32(tid)))
        listed[u32(3 * rank)] = x
        listed[u32(3 * rank + 1)] = y
        listed[u32(3 * rank + 2)] = i32(color)
    return count


@device
def _draw_discs(
    layout: Any,
    tid: Any,
    warps: Any,
    begin: Any,
    end: Any,
    window: Any,
    sizes: Any,
    listed: Any,
    count: Any,
    bytes_: Any,
) -> None:
    """Blend the listed discs, each thread the bytes that are its own."""
    stamp_row, color_row = layout.stamp_row, layout.color_row
    warp, lane = i32(tid >> u32(5)), i32(tid & u32(31))
    first_row, end_row = window[3], window[4]
    width = i32(3 * sizes.side)
    i = u32(0)
    while i < count:
        x, y, color = listed[u32(3 * i)], listed[u32(3 * i + 1)], listed[u32(3 * i + 2)]
        top = i32((y >> FIXED_BITS) - (sizes.side >> 1))
        left = i32(3 * ((x >> FIXED_BITS) - (sizes.side >> 1)))
        placement = i32((y & (FIXED_ONE - 1)) * FIXED_ONE + (x & (FIXED_ONE - 1)))
        low, high = max(top, first_row), min(i32(top + sizes.side), end_row)
        row = i32(low + (i32(warp - low) & i32(warps - 1)))
        while row < high:
            stamp = i32((placement * sizes.side + (row - top)) * width)
            byte = i32(i32(lane - left) & 31)
            while byte < width:
                column = i32(left + byte)
                at = i32(row * sizes.row + column - begin)
                if column >= 0 and column < sizes.row and at >= 0 and at < i32(end - begin):
                    alpha, above = stamp_row[u32(stamp + byte)], color_row[u32(color * width + byte)]
                    bytes_[u32(at)] = blend(i32(bytes_[u32(at)]), i32(above), i32(alpha))
                byte = i32(byte + LANES)
            row = i32(row + warps)
        i = u32(i + u32(1))


@cache
def channels_kernel(output: Output, threads: int, tile_bytes: int, is_bulk: bool) -> Any:
    """Return the kernel of the channels style: incidents of each step counted into their cells."""
    warps, value_type = threads // LANES, output.value_type
    table_size = 256 if output.is_table else 1
    new_tile, read_base, wait = base_reader(tile_bytes // 8, is_bulk and output == Output())
    finish, write = tile_writer(output, threads, is_bulk)

    def draw_channels(
        layout: Any,
        pairs: Any,  # int64 [2 * T * B]
        table: Any,  # uint8/uint16/uint32 [256], or [1]
        out: Any,
        sizes: Any,
        bad: Any,  # int32 [1] 1 + a window that reached outside the tables
    ) -> None:
        tile = new_tile()
        codes = cuda.shared.array(table_size, value_type)
        tid, b = u32(cuda.threadIdx.x), u32(cuda.blockIdx.x)
        begin = i32(i32(cuda.blockIdx.y) * sizes.tile)
        end = min(i32(begin + sizes.tile), sizes.size)
        read_base(layout.base, tid, u32(threads), begin, end, tile)
        copy_table(tid, u32(threads), table, codes)
        cuda.syncthreads()
        wait(tile)
        words = tile.view(np.uint32)
        t = i32(tid >> u32(5))
        while t < sizes.side:
            step = u32(u32(b * u32(sizes.side)) + u32(t))
            first, last = window_of(pairs, step, b, sizes, bad)
            e = i32(first + i32(tid & u32(31)))
            while e < last:
                place = layout.places[u32(e)]
                cell, group = i32(u32(place)), i32(u32(place >> u64(32)))
                at = i32(cell * sizes.channels + t * sizes.neighborhoods + group - begin)
                if cell >= 0 and at >= 0 and at < i32(end - begin):
                    _count(words, u32(at))
                e = i32(e + LANES)
            t = i32(t + warps)
        finish(tile)
        cuda.syncthreads()
        write(tile, tile.view(np.uint8), codes, tid, b, begin, end, sizes, out)

    return kernel(draw_channels, REGISTERS)


@device
def _count(words: Any, at: Any) -> None:
    """Add one to byte `at`, at most 255; try again while another thread changed the word. Order does not matter."""
    shift = u32((at & u32(3)) << u32(3))
    is_open = True
    while is_open:
        word = words[at >> u32(2)]
        more = u32(saturated_increment(i32((word >> shift) & u32(255))))
        changed = u32((word & u32(~u32(u32(255) << shift))) | u32(more << shift))
        is_open = changed != word and cuda.atomic.cas(words, at >> u32(2), word, changed) != word


@cache
def discs_kernel(output: Output, side: int, threads: int, tile_bytes: int, is_bulk: bool) -> Any:
    """Return the kernel for stamps of `side` pixels: discs of each step added in their channels."""
    warps, value_type = threads // LANES, output.value_type
    list_words, table_size = 3 * threads, 256 if output.is_table else 1
    new_tile, read_base, wait = base_reader(tile_bytes // 8, is_bulk and output == Output())
    finish, write = tile_writer(output, threads, is_bulk)

    def draw_discs(
        layout: Any,
        pairs: Any,  # int64 [2 * T * B]
        table: Any,  # uint8/uint16/uint32 [256], or [1]
        out: Any,
        sizes: Any,
        bad: Any,  # int32 [1] 1 + a window that reached outside the tables
    ) -> None:
        tile = new_tile()
        codes = cuda.shared.array(table_size, value_type)
        listed = cuda.shared.array(list_words, types.int32)
        count = cuda.shared.array(1, types.int32)
        tid, b = u32(cuda.threadIdx.x), u32(cuda.blockIdx.x)
        begin = i32(i32(cuda.blockIdx.y) * sizes.tile)
        end = min(i32(begin + sizes.tile), sizes.size)
        read_base(layout.base, tid, u32(threads), begin, end, tile)
        copy_table(tid, u32(threads), table, codes)
        if tid == 0:
            count[0] = 0
        cuda.syncthreads()
        wait(tile)
        bytes_ = tile.view(np.uint8)
        share, part = _bits_of_share(sizes.side, warps), _part(begin, end, sizes)
        job, e, last, channel = i32(tid >> u32(5)), i32(0), i32(0), i32(0)
        is_open: Any = True
        while is_open:
            while e >= last and job < i32(sizes.side << share):
                step = u32(u32(b * u32(sizes.side)) + u32(job >> share))
                e, last = window_of(pairs, step, b, sizes, bad)
                e = i32(e + i32(LANES * (job & i32((1 << share) - 1))))
                channel = i32((job >> share) * sizes.neighborhoods)
                job = i32(job + warps)
            mine = i32(e + i32(tid & u32(31)))
            if mine < last:
                x, y, group, _ = place_of(layout.places, u32(mine))
                if _reaches(x, y, side, part):
                    slot = u32(cuda.atomic.add(count, 0, 1))
                    listed[u32(3 * slot)] = x
                    listed[u32(3 * slot + 1)] = y
                    listed[u32(3 * slot + 2)] = i32(channel + i32(group))
            e = i32(e + i32(LANES << share))
            is_open = cuda.syncthreads_or(i32(e < last or job < i32(sizes.side << share))) != 0
            _add_discs(layout.stamp, side, tid, i32(warps), begin, end, part, sizes, listed, u32(count[0]), bytes_)
            cuda.syncthreads()
            if tid == 0:
                count[0] = 0
            finish(tile)
            cuda.syncthreads()
        write(tile, bytes_, codes, tid, b, begin, end, sizes, out)

    return kernel(draw_discs, REGISTERS)


@device
def _bits_of_share(steps: Any, warps: Any) -> Any:
    """Return so many bits that 1 << bits warps can share each step: none is without work where steps are few."""
    bits = i32(0)
    while i32(steps << i32(bits + 1)) <= warps:
        bits = i32(bits + 1)
    return bits


@device
def _part(begin: Any, end: Any, sizes: Any) -> Any:
    """Return the rows of the map [first, end) that lie in the tile, or begin or end in it; and X."""
    row = u32(sizes.row)
    return i32(u32(begin) // row), i32(u32(u32(end) + row - u32(1)) // row), i32(row // u32(sizes.channels))


@device
def _reaches(x: Any, y: Any, side: Any, part: Any) -> Any:
    """Return whether some pixel of the disc may lie in the tile."""
    top, left = i32((y >> FIXED_BITS) - (side >> 1)), i32((x >> FIXED_BITS) - (side >> 1))
    return top < part[1] and i32(top + side) > part[0] and left < part[2] and i32(left + side) > 0


@device
def _add_discs(
    stamps: Any,
    side: Any,
    tid: Any,
    warps: Any,
    begin: Any,
    end: Any,
    part: Any,
    sizes: Any,
    listed: Any,
    count: Any,
    bytes_: Any,
) -> None:
    """Add the listed discs, each thread to the pixels that are its own."""
    warp, lane = i32(tid >> u32(5)), i32(tid & u32(31))
    i = u32(0)
    while i < count:
        x, y, channel = listed[u32(3 * i)], listed[u32(3 * i + 1)], listed[u32(3 * i + 2)]
        top, left = i32((y >> FIXED_BITS) - (side >> 1)), i32((x >> FIXED_BITS) - (side >> 1))
        placement = i32((y & (FIXED_ONE - 1)) * FIXED_ONE + (x & (FIXED_ONE - 1)))
        low, high = max(top, part[0]), min(i32(top + side), part[1])
        row = i32(low + (i32(warp - low) & i32(warps - 1)))
        while row < high:
            stamp = i32((placement * side + (row - top)) * side)
            j = i32(i32(lane - left) & 31)
            while j < side:
                column = i32(left + j)
                at = i32(row * sizes.row + column * sizes.channels + channel - begin)
                if column >= 0 and column < part[2] and at >= 0 and at < i32(end - begin):
                    more = i32(stamps[u32(stamp + j)])
                    bytes_[u32(at)] = saturated_sum(i32(bytes_[u32(at)]), more)
                j = i32(j + LANES)
            row = i32(row + warps)
        i = u32(i + u32(1))
