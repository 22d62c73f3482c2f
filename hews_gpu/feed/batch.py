"""What every feed is made of: a source of samples, the batches made of them, and the feed that stands between.

A `Source` says what to draw and what goes with it. A `Feed` turns shares of a plan into batches; how (drawn here, by
DALI, read from a store) is its own affair, and with augmentation off every feed gives the same batches to the bit.

Shapes: B batch, S samples, T history steps, C channels, H rows, X columns, F calendar features.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hews_gpu.feed.augment import Augmentation, warp
from hews_gpu.feed.calendar import calendar_features
from hews_gpu.feed.plan import Share
from hews_gpu.feed.prefetch import DTYPES, Ring, tensors
from hews_gpu.raster.rasterizer import Rasterizer

if TYPE_CHECKING:  # a machine that only draws needs none of what reads tables
    from hews_gpu.data.windows import Samples

__all__ = ["Batch", "Feed", "Source"]


@dataclass(frozen=True)
class Batch:
    """What the model reads of B samples, and what it should have said."""

    ids: NDArray[np.int64]  # [B] positions among the feed's samples
    maps: Tensor  # [B, C, H, X] of the rasterizer's dtype, channels-last; valid until the next batch is asked for
    calendar: Tensor  # float32 [B, F]; F = 0 where the task has no calendar
    climatology: Tensor  # float32 [B] log-odds; 0 where the task has none
    y: Tensor  # float32 [B], 0 or 1

    def __len__(self) -> int:
        return len(self.ids)

    def slices(self, size: int) -> Iterator[Batch]:
        """The same batch in pieces of at most `size` samples, without a copy."""
        yield from self.parts([min(size, len(self) - first) for first in range(0, len(self), size)])

    def parts(self, sizes: Iterable[int]) -> Iterator[Batch]:
        """The same batch in pieces of so many samples, without a copy."""
        first = 0
        columns = (self.ids, self.maps, self.calendar, self.climatology, self.y)
        for size in sizes:
            yield Batch(*(column[first : first + size] for column in columns))  # type: ignore[arg-type]
            first += size


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """S samples: what to draw for each, and what goes with its map.

    Raises:
        ValueError: columns of different lengths, or pairs that the rasterizer does not draw.
    """

    rasterizer: Rasterizer
    """Its `values` decide the dtype and the normalization of the maps."""
    pairs: NDArray[np.int64]
    """[S, 2] (one window) or [S, T, 2] (T history steps): index pairs [first, last) into the event table."""
    y: NDArray[np.float32]  # [S] 0 or 1
    calendar: NDArray[np.float32]  # [S, F]
    climatology: NDArray[np.float32]  # [S]

    def __post_init__(self) -> None:
        steps = self.rasterizer.steps
        if self.pairs.ndim == 3 and self.pairs.shape[1] != steps:
            raise ValueError(f"rasterizer: draws {steps} steps, must be {self.pairs.shape[1]}")
        if self.pairs.ndim != 2 + (steps > 0) or self.pairs.shape[-1] != 2:
            raise ValueError(f"pairs: has shape {self.pairs.shape}, must be [S, {f'{steps}, ' * (steps > 0)}2]")
        first, last = self.pairs[..., 0], self.pairs[..., 1]
        events = self.rasterizer.events
        if len(self) and not (first.min() >= 0 and bool((first <= last).all()) and last.max() <= events):
            raise ValueError(f"pairs: must hold 0 <= first <= last <= {events}, the number of incidents")
        for name, ndim in (("y", 1), ("calendar", 2), ("climatology", 1)):
            shape = getattr(self, name).shape
            if len(shape) != ndim or shape[0] != len(self):
                expected = f"({len(self)},)" if ndim == 1 else f"({len(self)}, F)"
                raise ValueError(f"{name}: has shape {shape}, must be {expected} like samples")

    def __len__(self) -> int:
        return len(self.pairs)

    @classmethod
    def of_samples(cls, rasterizer: Rasterizer, samples: Samples, climatology: NDArray[np.float64]) -> Source:
        """The forecast task: histories of T steps, their calendar, and the log-odds float64 [S] to start from."""
        return cls(
            rasterizer=rasterizer,
            pairs=samples.history,
            y=samples.y.astype(np.float32),
            calendar=calendar_features(samples.target_begin_s),
            climatology=climatology.astype(np.float32),
        )

    @classmethod
    def of_maps(cls, rasterizer: Rasterizer, pairs: NDArray[np.int64], y: NDArray[np.bool_]) -> Source:
        """Maps and what they should be told to be, nothing else: the reference system's task."""
        empty = np.zeros((len(pairs), 0), np.float32)
        zero = np.zeros(len(pairs), np.float32)
        return cls(rasterizer=rasterizer, pairs=pairs, y=y.astype(np.float32), calendar=empty, climatology=zero)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Source:
        """The samples at the given positions or where the mask is true."""
        columns = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name != "rasterizer"}
        return Source(rasterizer=self.rasterizer, **columns)


class Feed(ABC):
    """Turns shares of a plan into batches.

    Args:
        source: what to draw.
        device: "cpu", "cuda" or "cuda:1", of the batches' tensors.

    Raises:
        ValueError: a rasterizer that draws on a GPU, for batches on the CPU.

    Attributes:
        source: what it draws.
        device: of the batches.
        waited_s: seconds that readers have waited for batches so far; grows only, so that a reader takes differences.
        given: batches given so far.
    """

    def __init__(self, source: Source, *, device: str = "cpu") -> None:
        self.source, self.device = source, torch.device(device)
        self.waited_s, self.given = 0.0, 0
        columns = (source.calendar, source.climatology, source.y)
        self._columns = tuple(torch.from_numpy(np.ascontiguousarray(column)) for column in columns)
        self._idle: list[Ring[Any]] = []

        if self.is_drawn_on_device and self.device.type == "cpu":
            raise ValueError(f"rasterizer: draws on a GPU, must draw on the CPU for a feed with device = {device!r}")

    def __len__(self) -> int:
        return len(self.source)

    @property
    def is_drawn_on_device(self) -> bool:
        """Whether the rasterizer draws into a GPU's memory."""
        return self.source.rasterizer.backend == "cuda"

    def batches(
        self, plan: Iterable[Share | NDArray[np.int64]], *, augment: Augmentation | None = None
    ) -> Iterator[Batch]:
        """One batch per entry of `plan`, in its order; a few more are made meanwhile.

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
                self.given += 1
                yield batch
        finally:
            made.close()

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order; the last batch may be shorter."""
        everything = np.arange(len(self), dtype=np.int64)
        yield from self.batches(everything[first : first + batch_size] for first in range(0, len(self), batch_size))

    def close(self) -> None:
        """Let go of the memory that outlives an iterator. The feed may be used again."""
        self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @abstractmethod
    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        """A generator of one batch per share."""

    @contextmanager
    def _ring(self) -> Iterator[Ring[Any]]:
        """Buffers for one iterator, which the next will use again."""
        ring = self._idle.pop() if self._idle else self._new_ring()
        try:
            yield ring
        finally:
            self._idle.append(ring)

    def _new_ring(self) -> Ring[Any]:
        rasterizer = self.source.rasterizer
        return tensors(rasterizer.shape, DTYPES[rasterizer.values.dtype])

    def _batch(self, ids: NDArray[np.int64], maps: Tensor) -> Batch:
        """Maps [B, C, H, X] with what goes with them."""
        calendar, climatology, y = (column[ids].to(maps.device) for column in self._columns)
        return Batch(ids, maps, calendar, climatology, y)

    def _finish(self, share: Share, drawn: Tensor, augment: Augmentation | None) -> Batch:
        """The batch of maps [B, H, X, C] that were just written, varied where that is wished."""
        maps = drawn.permute(0, 3, 1, 2)
        if augment is not None:
            height, width = maps.shape[2:]
            matrices = augment.matrices(share.epoch, share.first, len(share), height, width)
            maps = warp(maps, matrices)
        return self._batch(share.ids, maps.to(self.device))


def _shares(plan: Iterable[Share | NDArray[np.int64]], augment: Augmentation | None) -> Iterator[Share]:
    for entry in plan:
        if isinstance(entry, Share):
            yield entry
        elif augment is None:
            yield Share(ids=entry)
        else:
            raise ValueError("plan: has plain ids, must have shares (feed.plan.shares) where maps are augmented")
