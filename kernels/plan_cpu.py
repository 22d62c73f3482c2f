"""The reference tables laid out for CPU threads: lit outlines as words to flip, discs as rows of bytes.

Outlines. What a pixel looks like depends on which of its owners are lit. All looks are blended once, here, with the
same arithmetic that a pixel would be blended with, and turned into changes that add up under exclusive or: the change
of a set of owners is the exclusive or of the looks of all its subsets, so that flipping, for the owners that are lit,
the changes of all their subsets gives just the look of all of them together. (This is the Moebius transform over
GF(2).) The change of a single owner covers its whole outline, those of two or more only what they share, so a window
flips one long list per lit neighbourhood and a few short ones. A list holds 8-byte words of the map. Pixels with more
than `MOST_OWNERS` owners, and maps that are no whole number of words, stay out of this and are blended as they come.

Discs. Alpha and colour are repeated for the three bytes of a pixel and padded with alpha 0, which leaves a byte as it
is, so that one row of a disc is one run of bytes without a remainder.

Shapes: N neighbourhoods, S sets of neighbourhoods that share a pixel (single ones among them), V words listed, K
colours, D the side of a disc's stamp, R bytes in a padded row.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import max_threads, on_arrays
from hews_gpu.kernels.scalars import blend
from hews_gpu.kernels.tables import ReferenceTables

__all__ = ["MOST_OWNERS", "ReferencePlan", "look_changes", "plan_reference"]

MOST_OWNERS = 4
"""Looks double with each owner; of the 278 areas of a real city 7 pixels of 11,112 have more than four."""
ROW_BYTES = 32
"""Padded rows are a multiple of the widest vector that CPUs have in common (AVX2)."""

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


class ReferencePlan(NamedTuple):
    """What `raster_cpu.fill_reference` reads beside the tables."""

    base_bytes: NDArray[np.uint8]  # [H * X * 3] the base
    base_words: NDArray[np.uint64]  # [words] the same memory; empty where a map is no whole number of words
    set_start: Int32  # [N + 1] the sets whose lowest member is n: [set_start[n], set_start[n + 1]), {n} first
    member: Int32  # [S, 3] the other members, the highest repeated; n itself in {n}
    list_start: NDArray[np.uint64]  # [S + 1] set s flips the words [list_start[s], list_start[s + 1])
    word: NDArray[np.uint32]  # [V] which word of the map
    change: NDArray[np.uint64]  # [V] what to flip in it
    rest_start: Int32  # [N + 1] pixels that are blended as they come, by neighbourhood
    rest_pixel: Int32  # [..] row * X + column
    rest_coverage: NDArray[np.uint8]  # [..]
    stamp_row: NDArray[np.uint8]  # [256, D, R] alpha by (fraction y * 16 + fraction x), row of the disc, byte
    color_row: NDArray[np.uint8]  # [K, R] the colour, repeated
    is_lit: NDArray[np.uint8]  # [threads, N] scratch: zeros before and after every call
    lit: Int32  # [threads, N] scratch


def plan_reference(tables: ReferenceTables, neighborhoods: int) -> ReferencePlan:
    """Lay out the tables; takes some milliseconds and 12 bytes per listed word."""
    is_whole = tables.base.size % 8 == 0
    counts = np.diff(tables.start)
    rest = np.repeat(counts > (MOST_OWNERS if is_whole else 0), counts)
    order = np.argsort(tables.owner[rest], kind="stable")
    set_start, member, list_start, word, change = _sets(tables, neighborhoods, MOST_OWNERS if is_whole else 0)
    side = tables.stamp.shape[-1]
    padding = -(3 * side) % ROW_BYTES
    alpha = np.repeat(tables.stamp.reshape(-1, side, side), 3, axis=2)
    return ReferencePlan(
        base_bytes=tables.base.reshape(-1),
        base_words=tables.base.reshape(-1).view(np.uint64) if is_whole else np.empty(0, np.uint64),
        set_start=set_start,
        member=member,
        list_start=list_start,
        word=word,
        change=change,
        rest_start=_starts(np.bincount(tables.owner[rest], minlength=neighborhoods)),
        rest_pixel=np.repeat(tables.pixel, counts)[rest][order],
        rest_coverage=tables.coverage[rest][order],
        stamp_row=np.pad(alpha, ((0, 0), (0, 0), (0, padding))),
        color_row=np.pad(np.tile(tables.palette, (1, side)), ((0, 0), (0, padding))),
        is_lit=np.zeros((max_threads(), neighborhoods), np.uint8),
        lit=np.zeros((max_threads(), neighborhoods), np.int32),
    )


def _starts(counts: Int64) -> Int32:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _sets(
    tables: ReferenceTables, neighborhoods: int, most_owners: int
) -> tuple[Int32, Int32, NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint64]]:
    """`set_start`, `member`, `list_start`, `word` and `change` of a plan."""
    counts = np.diff(tables.start)
    parts = [look_changes(tables, np.flatnonzero(counts == k), k) for k in range(1, most_owners + 1)]
    members = np.concatenate([np.empty((0, MOST_OWNERS), np.int64), *(part[0] for part in parts)])
    pixel = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    rgb = np.concatenate([np.empty((0, 3), np.int64), *(part[2] for part in parts)])
    powers = np.int64(max(neighborhoods, 1)) ** np.arange(MOST_OWNERS)[::-1]
    key, which = np.unique(members @ powers, return_inverse=True)  # sets by lowest member, {n} before {n, ..}
    sets = key[:, None] // powers % max(neighborhoods, 1)
    of, word, change = _words(np.repeat(which, 3), (pixel[:, None] * 3 + np.arange(3)).ravel(), rgb.ravel())
    set_start = _starts(np.bincount(sets[:, 0], minlength=neighborhoods))
    list_start = np.searchsorted(of, np.arange(len(sets) + 1)).astype(np.uint64)
    return set_start, np.ascontiguousarray(sets[:, 1:]).astype(np.int32), list_start, word, change


def look_changes(tables: ReferenceTables, at: Int64, owners: int) -> tuple[Int64, Int64, Int64]:
    """For the pixels `at` of so many owners and each set of those: members [.., 4], pixel, change [.., 3]."""
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


def _words(which: Int64, byte: Int64, flip: Int64) -> tuple[Int64, NDArray[np.uint32], NDArray[np.uint64]]:
    """Bytes put together to words of a list: list, word, change, by list, then word. What stays as it is falls out."""
    key = which << 32 | byte >> 3
    order = np.argsort(key, kind="stable")
    key = key[order]
    place = ((byte[order] & 7) if np.little_endian else (7 - (byte[order] & 7))).astype(np.uint64) << np.uint64(3)
    first = np.flatnonzero(np.diff(key, prepend=-1))
    flips = flip[order].astype(np.uint64) << place
    change = np.bitwise_or.reduceat(flips, first) if len(first) else flips
    key, change = key[first][change != 0], change[change != 0]
    return key >> 32, (key & 0xFFFFFFFF).astype(np.uint32), change
