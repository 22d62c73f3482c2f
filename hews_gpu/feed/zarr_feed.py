"""The zarr feed: maps read from the store that `hews rasterize` wrote, for people who have materialized them.

The same batches as from the rasterizer: a window is looked up by its incidents, and a map of several history steps is
put together from the maps of its steps. Whole chunks are read, so the most recently used ones are kept in memory: a
shuffled order over more than that reads a chunk for nearly every map.

Shapes: B batch, T history steps, H rows, X columns, C channels, K windows of a chunk, W windows of the store.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hews_gpu.arrays import Int64, UInt8
from hews_gpu.errors import UserError
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.batch import Batch, Feed, MapSource, prefetch
from hews_gpu.feed.plan import Share

__all__ = ["CACHE_BYTES", "ZarrFeed"]

CACHE_BYTES = 2**30
"""Of chunks kept in memory."""
AGAIN = "Make them again with 'hews rasterize DIR --out MAPS'"


class ZarrFeed(Feed):
    """Reads the maps of the source's windows from a store.

    Args:
        source: whose maps to read; its rasterizer draws nothing, but says what they must look like.
        device: "cpu" or "cuda".
        store: folder that `hews rasterize` wrote.

    Raises:
        UserError: no such folder, it holds other maps, lacks some of the windows, or is damaged.
    """

    def __init__(self, source: MapSource, *, device: str = "cpu", store: Path | None = None) -> None:
        super().__init__(source, device=device)
        if store is None:
            remedy = "Give the folder that 'hews rasterize DIR --out MAPS' wrote, as --feed zarr:MAPS"
            raise UserError("--feed", "zarr", allowed="needs a folder of maps", remedy=remedy)
        self._values = source.rasterizer.values
        group = _open(store)
        _require_same(store, dict(group.attrs).get("drawing", {}), source.rasterizer.fingerprint())
        self._store, self._maps = store, group["maps"]
        missing = self._maps.nchunks - self._maps.nchunks_initialized
        if missing > 0:  # below 0 where the last file has room for more chunks than there are
            raise _damaged(store, f"{missing} or more of its chunks are missing")
        self._lock = threading.Lock()  # several iterators may read at once
        self._chunk = lru_cache(max(1, CACHE_BYTES // int(np.prod(self._maps.chunks))))(self._read_chunk)
        self._rows = _find_rows(store, group["pairs"][:], source)
        self._codes = torch.from_numpy(self._values.codes.copy().view(f"i{self._values.codes.itemsize}"))

    def close(self) -> None:
        super().close()
        self._chunk.cache_clear()

    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        with self._ring() as ring:
            yield from prefetch(shares, lambda turn, share: self._read(ring.take(turn, len(share)), share, augment))

    def _read(self, out: Tensor, share: Share, augment: Augmentation | None) -> Batch:
        if self._values.is_plain:
            self._copy(share.ids, out.numpy())
        else:
            read = np.empty(out.shape, np.uint8)
            self._copy(share.ids, read)
            bits = torch.take(self._codes, torch.from_numpy(read).long())
            out.copy_(bits.view(out.dtype))
        return self._finish(share, out, augment)

    def _copy(self, ids: Int64, out: UInt8) -> None:
        """Copy the stored maps of samples into uint8 [B, H, X, C], chunk by chunk."""
        rows = self._rows[ids]  # [B, T]
        parts = out.reshape(*out.shape[:3], rows.shape[1], -1)  # [B, H, X, T, G]
        chunk, place = np.divmod(rows, self._maps.chunks[0])
        for which in np.unique(chunk):
            with self._lock:
                stored = self._chunk(int(which))
            b, t = np.nonzero(chunk == which)
            parts[b, :, :, t] = stored[place[b, t]]

    def _read_chunk(self, which: int) -> UInt8:
        """Return chunk `which`, uint8 [K, H, X, C].

        Raises:
            UserError: it is damaged.
        """
        first = which * self._maps.chunks[0]
        last = min(first + self._maps.chunks[0], self._maps.shape[0]) - 1
        try:
            chunk: UInt8 = self._maps[first : last + 1]
        except (ValueError, RuntimeError, OSError) as error:
            raise _damaged(self._store, f"windows {first}..{last} cannot be read ({error})") from error
        return chunk


def _open(store: Path) -> Any:
    """Open the group of a folder of maps."""
    import zarr

    path = store / "maps.zarr" if (store / "maps.zarr").is_dir() else store
    try:
        group = zarr.open_group(path, mode="r")
        missing = [name for name in ("maps", "pairs") if name not in group]
    except (OSError, ValueError, KeyError) as error:
        allowed = f"is not a folder of maps ({type(error).__name__})"
        raise UserError("maps", store, allowed=allowed, remedy=AGAIN) from error
    if missing:
        allowed = f"holds no {' and no '.join(missing)}: it is another program's, or an earlier version's"
        raise UserError("maps", store, allowed=allowed, remedy=AGAIN)
    return group


def _require_same(store: Path, stored: dict[str, Any], needed: dict[str, Any]) -> None:
    """Refuse maps that were not drawn as the rasterizer would, and say what differs."""
    differ = [key for key in needed if stored.get(key) != needed[key]]
    if not differ:
        return
    named = [f"{key} {stored.get(key)!r}, here {needed[key]!r}" for key in differ if key != "tables"]
    named = named or ["its incidents, outlines or colors are others"]
    allowed = f"holds maps of other data or settings: {'; '.join(named)}"
    raise UserError("maps", store, allowed=allowed, remedy=AGAIN)


def _find_rows(store: Path, pairs: Int64, source: MapSource) -> Int64:
    """Return the stored window of each step of each sample, int64 [S, T]: the one that holds the same incidents."""
    events = source.rasterizer.events
    known, row = np.unique(_keys(pairs, events), return_index=True)
    wanted = _keys(source.pairs, events).reshape(len(source), -1)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    missing = int((known[place] != wanted).any(axis=1).sum()) if len(known) else len(source)
    if missing:
        allowed = f"lacks windows of {missing:,} of {len(source):,} samples: it was cut at other times"
        remedy = "Choose a history in steps of the window's length and stride, or use --feed direct"
        raise UserError("maps", store, allowed=allowed, remedy=remedy)
    return row[place]


def _keys(pairs: Int64, events: int) -> Int64:
    """Return one number for each pair [first, last); all empty windows look alike and share one."""
    first, last = pairs[..., 0], pairs[..., 1]
    return np.where(first == last, -1, first * (events + 1) + last)


def _damaged(store: Path, why: str) -> UserError:
    return UserError("maps", store, allowed=f"is damaged: {' '.join(why.split())}", remedy=AGAIN)
