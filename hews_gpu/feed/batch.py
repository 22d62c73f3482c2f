"""What every feed is made of: a source of maps, the batches made of them, and the feed that stands between.

A `MapSource` says what to draw and what goes with it. A `Feed` turns shares of a plan into batches; how (drawn here, by
DALI, read from a store) differs, and with augmentation off every feed gives the same batches to the bit. One thread
makes a few batches ahead of the reader, in a ring of buffers that are used again and again: drawing releases the
interpreter lock, so that it goes on while the model computes, and fresh memory would cost more than drawing into it.

Shapes: B batch, S samples, T history steps, C channels, H rows, X columns, F calendar features.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from hews_gpu.arrays import Bool, Float32, Float64, Int64
from hews_gpu.feed.augment import Augmentation, warp
from hews_gpu.feed.plan import Share
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.units import DAY_S, WEEK_S

if TYPE_CHECKING:  # a machine that only draws needs none of what reads tables
    from hews_gpu.data.windows import Samples

__all__ = ["AHEAD", "FEATURES", "Batch", "Feed", "MapSource", "Ring", "calendar_features", "prefetch", "tensors"]

AHEAD = 2
"""Batches made while one is read: one is enough when it goes steadily, two ride out a hiccup."""
YEAR_S = 365.2425 * DAY_S
CYCLES = ((DAY_S, 3), (WEEK_S, 3), (YEAR_S, 2))
"""Period and harmonics: three per day and week draw the evening and weekend peaks, two per year the summer."""
FEATURES = 2 * sum(harmonics for _, harmonics in CYCLES)
"""F."""

Made = TypeVar("Made")
Buffer = TypeVar("Buffer")


def calendar_features(begin_s: Int64) -> Float32:
    """Return sines and cosines, float32 [S, F], of hour of day, time of week and day of year of local times [S]."""
    columns: list[Float64] = []
    for period_s, harmonics in CYCLES:
        phase = 2 * np.pi * (np.asarray(begin_s, dtype=np.int64) % period_s) / period_s
        columns += [wave(k * phase) for k in range(1, harmonics + 1) for wave in (np.sin, np.cos)]
    return np.stack(columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Batch:
    """What the model reads of B samples, and their labels."""

    ids: Int64  # [B] positions among the feed's samples
    maps: Tensor  # [B, C, H, X] of the rasterizer's dtype, channels-last; valid until the next batch is asked for
    calendar: Tensor  # float32 [B, F]; F = 0 where the task has no calendar
    climatology: Tensor  # float32 [B] log-odds; 0 where the task has none
    y: Tensor  # float32 [B], 0 or 1

    def __len__(self) -> int:
        return len(self.ids)

    def slices(self, size: int) -> Iterator[Batch]:
        """Yield the same batch in pieces of at most `size` samples, without a copy."""
        yield from self.parts([min(size, len(self) - first) for first in range(0, len(self), size)])

    def parts(self, sizes: Iterable[int]) -> Iterator[Batch]:
        """Yield the same batch in pieces of so many samples, without a copy."""
        first = 0
        columns = (self.ids, self.maps, self.calendar, self.climatology, self.y)
        for size in sizes:
            yield Batch(*(column[first : first + size] for column in columns))  # type: ignore[arg-type]
            first += size


@dataclass(frozen=True, kw_only=True, eq=False)
class MapSource:
    """S samples: what to draw for each, and what goes with its map.

    Raises:
        ValueError: columns of different lengths, or pairs that the rasterizer does not draw.
    """

    rasterizer: Rasterizer
    """Its `values` decide the dtype and the normalization of the maps."""
    pairs: Int64
    """[S, 2] (one window) or [S, T, 2] (T history steps): index pairs [first, last) into the event table."""
    y: Float32  # [S] 0 or 1
    calendar: Float32  # [S, F]
    climatology: Float32  # [S]

    def __post_init__(self) -> None:
        self.rasterizer.require_pairs(self.pairs)
        for name, ndim in (("y", 1), ("calendar", 2), ("climatology", 1)):
            shape = getattr(self, name).shape
            if len(shape) != ndim or shape[0] != len(self):
                expected = f"({len(self)},)" if ndim == 1 else f"({len(self)}, F)"
                raise ValueError(f"{name}: has shape {shape}, must be {expected} like samples")

    def __len__(self) -> int:
        return len(self.pairs)

    @classmethod
    def of_samples(cls, rasterizer: Rasterizer, samples: Samples, climatology: Float64) -> MapSource:
        """Return the forecast task: histories of T steps, their calendar, and log-odds float64 [S] to start from."""
        return cls(
            rasterizer=rasterizer,
            pairs=samples.history,
            y=samples.y.astype(np.float32),
            calendar=calendar_features(samples.target_begin_s),
            climatology=climatology.astype(np.float32),
        )

    @classmethod
    def of_maps(cls, rasterizer: Rasterizer, pairs: Int64, y: Bool) -> MapSource:
        """Return maps and their labels, nothing else: the reference system's task."""
        empty = np.zeros((len(pairs), 0), np.float32)
        zero = np.zeros(len(pairs), np.float32)
        return cls(rasterizer=rasterizer, pairs=pairs, y=y.astype(np.float32), calendar=empty, climatology=zero)

    def select(self, which: Bool | Int64) -> MapSource:
        """Return the samples at the given positions or where the mask is true."""
        columns = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name != "rasterizer"}
        return MapSource(rasterizer=self.rasterizer, **columns)


class Ring(Generic[Buffer]):
    """Buffers for `depth` batches of maps of one shape (H, X, C), made by `empty`; each grows to the largest seen."""

    def __init__(self, shape: tuple[int, ...], empty: Callable[[tuple[int, ...]], Buffer], depth: int) -> None:
        self.shape, self.empty = shape, empty
        self._buffers = [(0, empty((0, *shape))) for _ in range(depth)]

    def take(self, turn: int, size: int) -> Buffer:
        """Return room for the maps [B, H, X, C] of a turn; it is that of the turn `depth` before."""
        place = turn % len(self._buffers)
        if self._buffers[place][0] < size:
            self._buffers[place] = (size, self.empty((size, *self.shape)))
        return self._buffers[place][1][:size]  # type: ignore[index,no-any-return]


def tensors(rasterizer: Rasterizer, depth: int = AHEAD + 1, device: torch.device | str = "cpu") -> Ring[Tensor]:
    """Return a ring of torch's tensors for a rasterizer's maps."""
    dtype = getattr(torch, rasterizer.values.dtype)
    return Ring(rasterizer.shape, lambda dims: torch.empty(dims, dtype=dtype, device=device), depth)


def prefetch(shares: Iterator[Share], make: Callable[[int, Share], Made]) -> Generator[Made]:
    """Yield `make(turn, share)` for each share, in order; at most `AHEAD` more are made meanwhile, by one thread.

    Things of `AHEAD` + 1 turns exist at once. Ends with its thread, however it ends.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed")
    made: deque[Future[Made]] = deque()
    try:
        for turn, share in enumerate(shares):
            made.append(pool.submit(make, turn, share))
            if len(made) > AHEAD:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Feed(ABC):
    """Turns shares of a plan into batches.

    Args:
        source: what to draw.
        device: "cpu", "cuda" or "cuda:1", of the batches' tensors.

    Raises:
        ValueError: a rasterizer that draws on a GPU, for batches on the CPU.

    Attributes:
        waited_s: seconds that readers have waited for batches so far; grows only, so that a reader takes differences.
    """

    def __init__(self, source: MapSource, *, device: str = "cpu") -> None:
        self.source, self.device = source, torch.device(device)
        self.waited_s = 0.0
        columns = (source.calendar, source.climatology, source.y)
        # small next to one batch of maps, so that the whole table may lie on the device
        self._columns = tuple(torch.from_numpy(np.ascontiguousarray(column)).to(self.device) for column in columns)
        self._idle: list[Ring[Any]] = []

        if self.is_drawn_on_device and self.device.type == "cpu":
            raise ValueError(f"rasterizer: draws on a GPU, must draw on the CPU for a feed with device = {device!r}")

    def __len__(self) -> int:
        return len(self.source)

    @property
    def is_drawn_on_device(self) -> bool:
        """Return whether the rasterizer draws into a GPU's memory."""
        return self.source.rasterizer.backend == "cuda"

    def batches(self, plan: Iterable[Share | Int64], *, augment: Augmentation | None = None) -> Iterator[Batch]:
        """Yield one batch per entry of `plan`, in its order; a few more are made meanwhile.

        A batch's maps are overwritten once the next is asked for: copy what must last. An error while a batch is made
        is raised where that batch would have come; a reader that stops early leaves no thread.

        Args:
            plan: which samples each batch holds; plain ids int64 [B] will do where nothing is augmented.
            augment: how to vary the maps; None: not at all.

        Raises:
            ValueError: `augment` with plain ids, which do not say where in the epoch they are.
        """
        made = self._make(_shares(plan, augment), augment)
        try:
            while True:
                asked = time.perf_counter()
                batch = next(made, None)
                self.waited_s += time.perf_counter() - asked
                if batch is None:
                    return
                yield batch
        finally:
            made.close()

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield every sample once, in order; the last batch may be shorter."""
        everything = np.arange(len(self), dtype=np.int64)
        yield from self.batches(everything[first : first + batch_size] for first in range(0, len(self), batch_size))

    def close(self) -> None:
        """Free the memory that outlives an iterator. The feed may be used again."""
        self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @abstractmethod
    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        """Return a generator of one batch per share."""

    @contextmanager
    def _ring(self) -> Iterator[Ring[Any]]:
        """Lend buffers to one iterator, which the next will use again."""
        ring = self._idle.pop() if self._idle else self._new_ring()
        try:
            yield ring
        finally:
            self._idle.append(ring)

    def _new_ring(self) -> Ring[Any]:
        return tensors(self.source.rasterizer)

    def _batch(self, ids: Int64, maps: Tensor) -> Batch:
        """Return maps [B, C, H, X] with what goes with them."""
        at = torch.from_numpy(ids).to(self.device)
        return Batch(ids, maps, *(column[at] for column in self._columns))

    def _finish(self, share: Share, drawn: Tensor, augment: Augmentation | None) -> Batch:
        """Return the batch of maps [B, H, X, C] that were just written, varied as `augment` says."""
        maps = drawn.permute(0, 3, 1, 2)
        if augment is not None:
            height, width = maps.shape[2:]
            matrices = augment.matrices(share.epoch, share.first, len(share), height, width)
            maps = warp(maps, matrices)
        return self._batch(share.ids, maps.to(self.device))


def _shares(plan: Iterable[Share | Int64], augment: Augmentation | None) -> Iterator[Share]:
    for entry in plan:
        if isinstance(entry, Share):
            yield entry
        elif augment is None:
            yield Share(ids=entry)
        else:
            raise ValueError("plan: has plain ids, must have shares (feed.plan.shares) where maps are augmented")
