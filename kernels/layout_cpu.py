"""The reference tables laid out for CPU threads: lit outlines as blocks to flip, discs as rows of bytes.

Outlines. What a pixel looks like depends on which of its owners are lit. All looks are blended once, here, with the
same arithmetic that a pixel would be blended with, and turned into changes that add up under exclusive or: the change
of a set of owners is the exclusive or of the looks of all its subsets, so that flipping, for the owners that are lit,
the changes of all their subsets gives just the look of all of them together. (This is the Moebius transform over
GF(2).) The change of a single owner covers its whole outline, those of two or more only what they share, so a window
flips one long list per lit neighborhood and a few short ones. A list holds blocks of 16 bytes of the map. Pixels with
more than `MOST_OWNERS` owners, and maps smaller than a block, stay out of this and are blended as they come.

Discs. Alpha and color are repeated for the three bytes of a pixel and padded with alpha 0, which leaves a byte as it
is, so that one row of a disc is one run of bytes without a remainder.

Incidents. What drawing reads of one is worked out once and lies together.

Shapes: E incidents, N neighborhoods, S sets of neighborhoods that share a pixel (single ones among them), V blocks
listed, Q pixels (per owner) that are blended as they come, K colors, D the side of a disc's stamp, R bytes in a padded
row.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import max_threads, on_arrays
from hews_gpu.kernels._shim_vectors import BLEND_BYTES, COPIES, FLIP_BYTES, MOVE_BYTES
from hews_gpu.kernels.scalars import FIXED_BITS, FIXED_ONE, blend
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables

__all__ = ["MOST_OWNERS", "ChannelsLayout", "DiscsLayout", "ReferenceLayout", "lay_out", "look_changes"]

MOST_OWNERS = 4
"""Looks double with each owner; of the 278 areas of a real city 7 pixels of 11,112 have more than four."""

Bytes = NDArray[np.uint8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt32 = NDArray[np.uint32]
"""Indices that compiled code need not test for being negative."""


class ReferenceLayout(NamedTuple):
    """What `raster_cpu.fill_reference` reads: few arrays, as handing over each of them costs a call 0.3 us."""

    base: Bytes  # [H, X, 3]
    incident: Int32  # [E, 4] neighborhood or -1, row and column where the stamp begins, placement << 8 | color
    set_start: UInt32  # [N + 1] the sets whose lowest member is n: [set_start[n], set_start[n + 1]), {n} first
    sets: UInt32  # [S + 1, 4] the other members, the highest repeated, n itself in {n}; where its list begins
    block: UInt32  # [V] first byte of a block of the map
    change: Bytes  # [V, FLIP_BYTES] what to flip in it
    rest_start: Int32  # [N + 1] pixels that are blended as they come, by neighborhood
    rest: Int32  # [Q, 5] first byte of the pixel, coverage, color
    stamp_row: Bytes  # [256, D, R] alpha by placement (fraction y * 16 + fraction x), row of the disc, byte
    color_row: Bytes  # [K, R] the color, repeated
    is_lit: Bytes  # [threads, N] scratch: zeros before and after every call
    listed: UInt32  # [threads, N] scratch
    scratch: Bytes  # [threads, ..] scratch: `COPIES` maps, to where lines of the cache begin


class ChannelsLayout(NamedTuple):
    """What `raster_cpu.fill_channels` reads."""

    base: Bytes  # [H, X, C]
    counter: Int32  # [E] the byte that counts an incident in step 0; -1 for none
    groups: int  # G, from one step's byte to the next one's
    scratch: Bytes  # [threads, ..]


class DiscsLayout(NamedTuple):
    """What `raster_cpu.fill_discs` reads."""

    base: Bytes  # [H, X, C]
    incident: Int32  # [E, 4] group, row and column where the stamp begins, placement
    groups: int  # G
    stamp: Bytes  # [256, D, D] what is added, by placement (fraction y * 16 + fraction x), row and column of the disc
    scratch: Bytes  # [threads, ..]


def lay_out(
    tables: ReferenceTables | ChannelsTables | DiscsTables, neighborhoods: int = 0
) -> ReferenceLayout | ChannelsLayout | DiscsLayout:
    """Return the tables as the kernel of their style reads them.

    Takes some milliseconds; the reference style 20 bytes per listed block and 16 per incident.
    """
    size = COPIES * tables.base.size
    scratch = np.zeros((max_threads(), size + -size % MOVE_BYTES), np.uint8)
    if isinstance(tables, ChannelsTables):
        counter = tables.cell.astype(np.int32) * tables.base.shape[2] + tables.group
        return ChannelsLayout(tables.base, np.where(tables.cell < 0, -1, counter), tables.groups, scratch)
    side = tables.stamp.shape[-1]
    stamp = tables.stamp.reshape(-1, side, side)
    if isinstance(tables, DiscsTables):
        return DiscsLayout(tables.base, _incidents(tables), tables.groups, stamp, scratch)
    most_owners = MOST_OWNERS if tables.base.size >= FLIP_BYTES else 0
    set_start, sets, block, change = _sets(tables, neighborhoods, most_owners)
    rest_start, rest = _rest(tables, neighborhoods, most_owners)
    padding = -(3 * side) % BLEND_BYTES
    return ReferenceLayout(
        base=tables.base,
        incident=_incidents(tables),
        set_start=set_start,
        sets=sets,
        block=block,
        change=change,
        rest_start=rest_start,
        rest=rest,
        stamp_row=np.pad(np.repeat(stamp, 3, axis=2), ((0, 0), (0, 0), (0, padding))),
        color_row=np.pad(np.tile(tables.palette, (1, side)), ((0, 0), (0, padding))),
        is_lit=np.zeros((max_threads(), neighborhoods), np.uint8),
        listed=np.zeros((max_threads(), neighborhoods), np.uint32),
        scratch=scratch,
    )


def _incidents(tables: ReferenceTables | DiscsTables) -> Int32:
    """Return `incident` of a layout."""
    reach = tables.stamp.shape[-1] // 2
    top, left = (tables.y >> FIXED_BITS) - reach, (tables.x >> FIXED_BITS) - reach
    placement = (tables.y & (FIXED_ONE - 1)) * FIXED_ONE + (tables.x & (FIXED_ONE - 1))
    if isinstance(tables, DiscsTables):
        columns: list[NDArray[np.integer[Any]]] = [tables.group, top, left, placement]
    else:
        columns = [tables.neighborhood, top, left, placement << 8 | tables.color]
    return np.stack([column.astype(np.int32) for column in columns], axis=1)


def _rest(tables: ReferenceTables, neighborhoods: int, most_owners: int) -> tuple[Int32, Int32]:
    """Return `rest_start` and `rest` of a layout."""
    counts = np.diff(tables.start)
    is_rest = np.repeat(counts > most_owners, counts)
    order = np.argsort(tables.owner[is_rest], kind="stable")
    byte = np.repeat(tables.pixel, counts)[is_rest][order] * 3
    color = np.tile(tables.lit_color, (len(order), 1))
    rest = np.column_stack([byte, tables.coverage[is_rest][order], color]).astype(np.int32)
    return _starts(np.bincount(tables.owner[is_rest], minlength=neighborhoods)), rest


def _starts(counts: Int64) -> Int32:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _sets(tables: ReferenceTables, neighborhoods: int, most_owners: int) -> tuple[UInt32, UInt32, UInt32, Bytes]:
    """Return `set_start`, `sets`, `block` and `change` of a layout."""
    counts = np.diff(tables.start)
    parts = [look_changes(tables, np.flatnonzero(counts == k), k) for k in range(1, most_owners + 1)]
    members = np.concatenate([np.empty((0, MOST_OWNERS), np.int64), *(part[0] for part in parts)])
    pixel = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    rgb = np.concatenate([np.empty((0, 3), np.int64), *(part[2] for part in parts)])
    powers = np.int64(max(neighborhoods, 1)) ** np.arange(MOST_OWNERS)[::-1]
    key, which = np.unique(members @ powers, return_inverse=True)  # sets by lowest member, {n} before {n, ..}
    sets = key[:, None] // powers % max(neighborhoods, 1)
    byte = (pixel[:, None] * 3 + np.arange(3)).ravel()
    of, block, change = _blocks(np.repeat(which, 3), byte, rgb.ravel(), tables.base.size)
    set_start = _starts(np.bincount(sets[:, 0], minlength=neighborhoods))
    others = np.concatenate([sets[:, 1:], np.zeros((1, MOST_OWNERS - 1), np.int64)])
    begin = np.searchsorted(of, np.arange(len(sets) + 1))
    return set_start.astype(np.uint32), np.column_stack([others, begin]).astype(np.uint32), block, change


def look_changes(tables: ReferenceTables, at: Int64, owners: int) -> tuple[Int64, Int64, Int64]:
    """Return for the pixels `at` of so many owners and each set of those: members [.., 4], pixel, change [.., 3]."""
    pairs = tables.start[at][:, None] + np.arange(owners)  # [pixels, owners]
    pixel = tables.pixel[at].astype(np.int64)
    below = tables.base.reshape(-1, 3)[pixel].astype(np.int32)
    looks: dict[tuple[int, ...], NDArray[np.int32]] = {(): below}
    members, changes = [], []
    for size in range(1, owners + 1):
        for chosen in combinations(range(owners), size):
            alpha = tables.coverage[pairs[:, chosen[-1]]].astype(np.int32)[:, None]
            looks[chosen] = on_arrays(blend)(looks[chosen[:-1]], tables.lit_color.astype(np.int32), alpha)
            change = np.zeros_like(below)
            for smaller in range(size + 1):
                for subset in combinations(chosen, smaller):
                    change ^= looks[subset]
            padded = chosen + chosen[-1:] * (MOST_OWNERS - size)
            members.append(tables.owner[pairs[:, padded]].astype(np.int64))
            changes.append(change.astype(np.int64))
    return np.concatenate(members), np.tile(pixel, len(members)), np.concatenate(changes)


def _blocks(which: Int64, byte: Int64, flip: Int64, size: int) -> tuple[Int64, UInt32, Bytes]:
    """Put bytes together to blocks: list, first byte, change, by list, then byte. What stays as it is falls out.

    The last block ends with the map, for nothing behind it may be touched: it begins inside the one before, whose
    bytes it leaves alone.
    """
    first = np.where(byte < size // FLIP_BYTES * FLIP_BYTES, byte // FLIP_BYTES * FLIP_BYTES, size - FLIP_BYTES)
    key, entry = np.unique(which << 32 | first, return_inverse=True)
    change = np.zeros((len(key), FLIP_BYTES), np.uint8)
    change[entry, byte - first] = flip
    keep = change.any(axis=1)
    return key[keep] >> 32, (key[keep] & 0xFFFFFFFF).astype(np.uint32), change[keep]
