"""The reference tables laid out for CUDA blocks: everything by runs of 16 bytes of the map, which one thread composes.

Lit outlines are words to flip, as in `layout_cpu`: sets of owners, listed by their first member and the tile that they
touch. A block looks through the sets of its lit neighborhoods alone, and flips the changes of those whose other members
are lit, too. Pixels with more than `MOST_OWNERS` owners are listed by each owner and tile, and blended as they come.
Maps need not be a whole number of runs: tables are padded, and what is beyond the map is never stored.

Shapes: R runs of a map, N neighborhoods, I tiles, V sets listed, Q pixels listed that are blended as they come, O
owners of these, E incidents, D the side of a disc's stamp, L bytes in a row of a disc.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels.layout_cpu import MOST_OWNERS, look_changes
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables

__all__ = ["RUN_BYTES", "ChannelsLayout", "DiscsLayout", "ReferenceLayout", "Sizes", "lay_out"]

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
    channels: Any  # C


class ReferenceLayout(NamedTuple):
    """What the kernel of the reference style reads."""

    base: NDArray[np.uint64]  # [R * 2] the base, padded
    set_start: Int32  # [N * I + 1] first member n flips in tile i sets [set_start[n * I + i], ..)
    sets: NDArray[np.uint64]  # [V] four times 16 bits: the run in its tile; the other members, the last repeated
    change: NDArray[np.uint64]  # [V * 2] what to flip in the run
    rest_start: Int32  # [N * I + 1] member n blends pixels of tile i as they come: [rest_start[n * I + i], ..)
    rest: Int32  # [Q * 3] first and end among `owners`, and the pixel's first byte in the tile: -2 or more
    owners: Int32  # [O] owner * 256 + coverage, by pixel that is blended as it comes, then ascending
    places: NDArray[np.uint64]  # [E * 2] four int32: x, y in 1/16 pixel, color, neighborhood
    stamp_row: NDArray[np.uint8]  # [256 * D * L] alpha by (fraction y * 16 + fraction x), row, byte
    color_row: NDArray[np.uint8]  # [colors * L]
    lit_color: NDArray[np.uint8]  # [3]


class ChannelsLayout(NamedTuple):
    """What the kernel of the channels style reads."""

    base: NDArray[np.uint64]  # [R * 2] static layers, and zeros where counts go; padded
    places: NDArray[np.uint64]  # [E] two int32: cell, or -1; group


class DiscsLayout(NamedTuple):
    """What the kernel of the channels style with discs reads."""

    base: NDArray[np.uint64]  # [R * 2] static layers, and zeros where discs go; padded
    places: NDArray[np.uint64]  # [E * 2] four int32: x, y in 1/16 pixel, group, nothing
    stamp: NDArray[np.uint8]  # [256 * D * D] what is added, by (fraction y * 16 + fraction x), row, column


def lay_out(
    tables: ReferenceTables | ChannelsTables | DiscsTables, neighborhoods: int, tile_bytes: int
) -> ReferenceLayout | ChannelsLayout | DiscsLayout:
    """Return the tables as the kernel of their style reads them, for N `neighborhoods` and tiles of whole runs."""
    if isinstance(tables, ChannelsTables):
        return ChannelsLayout(_padded(tables.base), _packed(tables.cell, tables.group))
    if isinstance(tables, DiscsTables):
        places = _packed(tables.x, tables.y, tables.group, np.zeros_like(tables.x))
        return DiscsLayout(_padded(tables.base), places, tables.stamp.reshape(-1))
    set_start, sets, change = _flips(tables, neighborhoods, tile_bytes)
    rest_start, rest, owners = _rest(tables, neighborhoods, tile_bytes)
    side = tables.stamp.shape[-1]
    return ReferenceLayout(
        base=_padded(tables.base),
        set_start=set_start,
        sets=sets,
        change=change,
        rest_start=rest_start,
        rest=rest.reshape(-1),
        owners=owners,
        places=_packed(tables.x, tables.y, tables.color, tables.neighborhood),
        stamp_row=np.repeat(tables.stamp.reshape(-1, side, side), 3, axis=2).reshape(-1),
        color_row=np.tile(tables.palette, (1, side)).reshape(-1),
        lit_color=tables.lit_color,
    )


def _padded(base: NDArray[np.uint8]) -> NDArray[np.uint64]:
    flat = base.reshape(-1)
    return np.pad(flat, (0, -len(flat) % RUN_BYTES)).view(np.uint64)


def _packed(*columns: NDArray[Any]) -> NDArray[np.uint64]:
    """Return columns as int32, incident by incident."""
    rows = np.stack([column.astype(np.int32) for column in columns], axis=1)
    return np.ascontiguousarray(rows).view(np.uint64).reshape(-1)


def _tiles(tables: ReferenceTables, tile_bytes: int) -> int:
    return -(-tables.base.size // tile_bytes)


def _flips(
    tables: ReferenceTables, neighborhoods: int, tile_bytes: int
) -> tuple[Int32, NDArray[np.uint64], NDArray[np.uint64]]:
    """Return where sets begin, by first member and tile [N * I + 1]; of each, run and members [V], change [V * 2]."""
    counts, tile_runs = np.diff(tables.start), tile_bytes // RUN_BYTES
    parts = [look_changes(tables, np.flatnonzero(counts == k), k) for k in range(1, MOST_OWNERS + 1)]
    members, pixel, rgb = (np.concatenate([part[i] for part in parts]) for i in range(3))
    packed = (members.astype(np.uint64) << (np.uint64(16) * np.arange(4, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
    sets, of_set = np.unique(packed, return_inverse=True)
    byte = (pixel[:, None] * 3 + np.arange(3)).ravel()
    keys, entry = np.unique(byte // RUN_BYTES * len(sets) + np.repeat(of_set, 3), return_inverse=True)
    change = np.zeros((len(keys), RUN_BYTES), np.uint8)
    change[entry, byte % RUN_BYTES] = rgb.ravel()
    keep = change.any(axis=1)
    run, members_of = keys[keep] // len(sets), sets[keys[keep] % len(sets)]
    first = (members_of & np.uint64(0xFFFF)).astype(np.int64)
    order, starts = _by_place(first, run // tile_runs, neighborhoods, _tiles(tables, tile_bytes))
    held = (members_of & ~np.uint64(0xFFFF)) | (run % tile_runs).astype(np.uint64)
    return starts, held[order], np.ascontiguousarray(change[keep][order]).view(np.uint64).reshape(-1)


def _by_place(area: Int64, tile: Int64, neighborhoods: int, tiles: int) -> tuple[Int64, Int32]:
    """Return the order by area, then tile, of what areas have in tiles, and where each place begins [N * I + 1]."""
    place = area * tiles + tile
    order = np.argsort(place, kind="stable")
    return order, np.searchsorted(place[order], np.arange(neighborhoods * tiles + 1)).astype(np.int32)


def _rest(tables: ReferenceTables, neighborhoods: int, tile_bytes: int) -> tuple[Int32, Int32, Int32]:
    """Return where pixels begin, by member and tile [N * I + 1], the pixels [Q, 3], and their owners [O]."""
    counts = np.diff(tables.start)
    is_rest = counts > MOST_OWNERS
    if not is_rest.any():
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    of_owner = np.repeat(is_rest, counts)
    owner = tables.owner[of_owner]
    end, first = np.cumsum(counts[is_rest]), tables.pixel[is_rest].astype(np.int64) * 3
    pixel = np.repeat(np.arange(len(end)), counts[is_rest])
    tile, last_tile = first[pixel] // tile_bytes, (first[pixel] + 2) // tile_bytes
    spills = np.flatnonzero(last_tile != tile)
    which, tile = np.concatenate([pixel, pixel[spills]]), np.concatenate([tile, last_tile[spills]])
    area = np.concatenate([owner, owner[spills]])
    order, starts = _by_place(area, tile, neighborhoods, _tiles(tables, tile_bytes))
    rows = np.stack([(end - counts[is_rest])[which], end[which], first[which] - tile * tile_bytes], axis=1)
    return starts, rows[order].astype(np.int32), owner * 256 + tables.coverage[of_owner]
