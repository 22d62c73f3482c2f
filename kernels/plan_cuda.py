"""The reference tables laid out for CUDA blocks: everything by runs of 16 bytes of the map, which one thread composes.

Lit outlines are words to flip, as in `plan_cpu`, but listed by run instead of by neighborhood: a block looks through
the sets of owners that touch its runs and flips the changes of those whose members are all lit. Pixels with more
than `MOST_OWNERS` owners are listed by run, too, and blended as they come. Maps need not be a whole number of runs:
tables are padded, and what is beyond the map is never stored.

A plan holds K variants of a city (K basemaps with the points moved alike), one after another; K is 1 without a bank.

Shapes: R runs of a map, V sets listed, Q pixels (in runs) that are blended as they come, E incidents, K variants, D the
side of a disc's stamp, L bytes in a row of a disc.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels.plan_cpu import MOST_OWNERS, look_changes
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables

__all__ = [
    "RUN_BYTES",
    "ChannelsPlan",
    "DiscsPlan",
    "ReferencePlan",
    "Sizes",
    "plan_channels",
    "plan_discs",
    "plan_reference",
]

RUN_BYTES = 16
"""The widest store that one thread has."""

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


class Sizes(NamedTuple):
    """The numbers that a kernel needs: int32 each."""

    size: Any  # bytes of a map
    runs: Any  # R
    events: Any  # E
    row: Any  # bytes in a row of the map: X * C
    side: Any  # D; of the channels style: T
    neighborhoods: Any  # N; of the channels style: G
    tile: Any  # bytes of a block's tile
    pixels: Any  # H * X
    channels: Any  # C
    variants: Any  # K


class ReferencePlan(NamedTuple):
    """What the kernel of the reference style reads."""

    base: NDArray[np.uint64]  # [K * R * 2] the base, padded
    set_start: Int32  # [K * R + 1] run r of variant k flips sets [set_start[k * R + r], ..)
    set_run: Int32  # [V] the run, of the map
    owners: NDArray[np.uint64]  # [V] four owners of 16 bits, the last repeated
    change: NDArray[np.uint64]  # [V * 2] what to flip in the run
    rest_start: Int32  # [K * R + 1] run r blends pixels [rest_start[k * R + r], ..)
    rest: Int32  # [Q * 3] owner, coverage, and the pixel's first byte in the run: -2..15
    places: NDArray[np.uint64]  # [K * E * 2] four int32: x, y in 1/16 pixel, color, neighborhood
    stamp_row: NDArray[np.uint8]  # [256 * D * L] alpha by (fraction y * 16 + fraction x), row, byte
    color_row: NDArray[np.uint8]  # [colors * L]
    lit_color: NDArray[np.uint8]  # [3]


class ChannelsPlan(NamedTuple):
    """What the kernel of the channels style reads."""

    base: NDArray[np.uint64]  # [K * R * 2] static layers, and zeros where counts go; padded
    places: NDArray[np.uint64]  # [K * E] two int32: cell, or -1; group


class DiscsPlan(NamedTuple):
    """What the kernel of the channels style with discs reads."""

    base: NDArray[np.uint64]  # [K * R * 2] static layers, and zeros where discs go; padded
    places: NDArray[np.uint64]  # [K * E * 2] four int32: x, y in 1/16 pixel, group, nothing
    stamp: NDArray[np.uint8]  # [256 * D * D] what is added, by (fraction y * 16 + fraction x), row, column


def plan_reference(variants: Sequence[ReferenceTables]) -> ReferencePlan:
    """Lay out the tables of K variants, which differ in base, outlines and places but not in style."""
    flips = [_flips(tables) for tables in variants]
    rests = [_rest(tables) for tables in variants]
    style = variants[0]
    side = style.stamp.shape[-1]
    return ReferencePlan(
        base=np.concatenate([_padded(tables.base) for tables in variants]),
        set_start=_starts([flip[0] for flip in flips]),
        set_run=np.concatenate([np.repeat(np.arange(len(flip[0])), flip[0]) for flip in flips]).astype(np.int32),
        owners=np.concatenate([flip[1] for flip in flips]),
        change=np.concatenate([flip[2] for flip in flips]),
        rest_start=_starts([rest[0] for rest in rests]),
        rest=np.concatenate([rest[1] for rest in rests]).reshape(-1),
        places=np.concatenate([_packed(*_columns(tables)) for tables in variants]),
        stamp_row=np.repeat(style.stamp.reshape(-1, side, side), 3, axis=2).reshape(-1),
        color_row=np.tile(style.palette, (1, side)).reshape(-1),
        lit_color=style.lit_color,
    )


def plan_channels(variants: Sequence[ChannelsTables]) -> ChannelsPlan:
    """The same for counts."""
    places = [_packed(tables.cell, tables.group) for tables in variants]
    return ChannelsPlan(np.concatenate([_padded(tables.base) for tables in variants]), np.concatenate(places))


def plan_discs(variants: Sequence[DiscsTables]) -> DiscsPlan:
    """The same for discs."""
    places = [_packed(tables.x, tables.y, tables.group, np.zeros_like(tables.x)) for tables in variants]
    base = np.concatenate([_padded(tables.base) for tables in variants])
    return DiscsPlan(base, np.concatenate(places), variants[0].stamp.reshape(-1))


def _padded(base: NDArray[np.uint8]) -> NDArray[np.uint64]:
    flat = base.reshape(-1)
    return np.pad(flat, (0, -len(flat) % RUN_BYTES)).view(np.uint64)


def _starts(counts: Sequence[Int64]) -> Int32:
    return np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int32)


def _columns(tables: ReferenceTables) -> tuple[NDArray[Any], ...]:
    return tables.x, tables.y, tables.color, tables.neighborhood


def _packed(*columns: NDArray[Any]) -> NDArray[np.uint64]:
    """Columns as int32, incident by incident."""
    rows = np.stack([column.astype(np.int32) for column in columns], axis=1)
    return np.ascontiguousarray(rows).view(np.uint64).reshape(-1)


def _runs(tables: ReferenceTables) -> int:
    return -(-tables.base.size // RUN_BYTES)


def _flips(tables: ReferenceTables) -> tuple[Int64, NDArray[np.uint64], NDArray[np.uint64]]:
    """Sets per run [R], and of each, by run: owners [V], change [V * 2]."""
    counts = np.diff(tables.start)
    parts = [look_changes(tables, np.flatnonzero(counts == k), k) for k in range(1, MOST_OWNERS + 1)]
    members, pixel, rgb = (np.concatenate([part[i] for part in parts]) for i in range(3))
    if len(pixel) == 0:
        return np.zeros(_runs(tables), np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    packed = (members.astype(np.uint64) << (np.uint64(16) * np.arange(4, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
    sets, of_set = np.unique(packed, return_inverse=True)
    byte = (pixel[:, None] * 3 + np.arange(3)).ravel()
    key = byte // RUN_BYTES * len(sets) + np.repeat(of_set, 3)
    keys, entry = np.unique(key, return_inverse=True)  # by run, then set
    change = np.zeros((len(keys), RUN_BYTES), np.uint8)
    change[entry, byte % RUN_BYTES] = rgb.ravel()
    keep = change.any(axis=1)
    per_run = np.bincount(keys[keep] // len(sets), minlength=_runs(tables))
    return per_run, sets[keys[keep] % len(sets)], change[keep].view(np.uint64).reshape(-1)


def _rest(tables: ReferenceTables) -> tuple[Int64, Int32]:
    """Entries per run [R], and the entries [Q, 3] by run, then pixel, then owner."""
    counts = np.diff(tables.start)
    rest = np.repeat(counts > MOST_OWNERS, counts)
    byte = np.repeat(tables.pixel.astype(np.int64), counts)[rest] * 3
    entries = np.stack([tables.owner[rest], tables.coverage[rest].astype(np.int32)], axis=1)
    first, last = byte // RUN_BYTES, (byte + 2) // RUN_BYTES
    spills = np.flatnonzero(last != first)
    run = np.concatenate([first, last[spills]])
    which = np.concatenate([np.arange(len(byte)), spills])
    order = np.lexsort((which, run))
    run, which = run[order], which[order]
    offset = (byte[which] - run * RUN_BYTES)[:, None]
    return np.bincount(run, minlength=_runs(tables)), np.concatenate([entries[which], offset], axis=1).astype(np.int32)
