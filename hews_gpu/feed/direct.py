"""The direct feed: maps are drawn in the training process, a few batches ahead, by a thread of their own.

Drawing releases the interpreter lock, so that it goes on while the model computes. Batches are written into a small
ring of buffers that live as long as the feed: fresh memory would cost more than drawing into it.

Shapes: B batch, S samples, T history steps, G groups, H rows, X columns, F calendar features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hews_gpu.data.windows import Samples
from hews_gpu.feed.calendar import calendar_features
from hews_gpu.raster.rasterizer import Rasterizer

__all__ = ["Batch", "DirectFeed"]

AHEAD = 2  # batches drawn while one is read: one is enough when drawing is steady, two ride out a hiccup


@dataclass(frozen=True)
class Batch:
    """What the model reads of B samples, and what it should have said."""

    ids: NDArray[np.int64]  # [B] positions among the feed's samples
    maps: Tensor  # uint8 [B, T * G, H, X], channels-last; valid until the next batch is asked for
    calendar: Tensor  # float32 [B, F]
    climatology: Tensor  # float32 [B] log-odds
    y: Tensor  # float32 [B], 0 or 1

    def __len__(self) -> int:
        return len(self.ids)

    def slices(self, size: int) -> Iterator[Batch]:
        """The same batch in pieces of at most `size` samples, without a copy."""
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            columns = (self.ids, self.maps, self.calendar, self.climatology, self.y)
            yield Batch(*(column[part] for column in columns))  # type: ignore[arg-type]


class DirectFeed:
    """Batches of one split.

    Args:
        rasterizer: of the `channels` style with T history steps.
        samples: S issue times with their history and outcome.
        climatology: log-odds of each sample's target window, float64 [S].

    Raises:
        ValueError: `climatology` is not as long as `samples`, or the rasterizer's history is not theirs.
    """

    def __init__(self, rasterizer: Rasterizer, samples: Samples, climatology: NDArray[np.float64]) -> None:
        if climatology.shape != (len(samples),):
            raise ValueError(f"climatology: has shape {climatology.shape}, must be ({len(samples)},) like samples")
        if rasterizer.steps != samples.history.shape[1]:
            raise ValueError(f"rasterizer: draws {rasterizer.steps} steps, must be {samples.history.shape[1]}")
        self.rasterizer, self.samples = rasterizer, samples
        self._calendar = torch.from_numpy(calendar_features(samples.target_begin_s))
        self._climatology = torch.from_numpy(climatology.astype(np.float32))
        self._y = torch.from_numpy(samples.y.astype(np.float32))
        self._ring: list[NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self.samples)

    def batches(self, plan: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """One batch per entry of `plan`, in its order; maps of at most `AHEAD` more are drawn meanwhile.

        A batch's maps are overwritten once the next is asked for: copy what must last. One iterator at a time.

        Args:
            plan: ids of the samples in each batch, int64 [B] each.
        """
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed")
        drawn: deque[Future[Batch]] = deque()
        try:
            for turn, ids in enumerate(plan):
                drawn.append(pool.submit(self._draw, turn % (AHEAD + 1), ids))
                if len(drawn) > AHEAD:
                    yield drawn.popleft().result()
            while drawn:
                yield drawn.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order; the last batch may be shorter."""
        everything = np.arange(len(self), dtype=np.int64)
        yield from self.batches(everything[first : first + batch_size] for first in range(0, len(self), batch_size))

    def _draw(self, turn: int, ids: NDArray[np.int64]) -> Batch:
        """Draw one batch into a buffer of the ring."""
        out = self._buffer(turn, len(ids))
        self.rasterizer.fill(self.samples.history[ids], out)
        maps = torch.from_numpy(out).permute(0, 3, 1, 2)
        return Batch(ids, maps, self._calendar[ids], self._climatology[ids], self._y[ids])

    def _buffer(self, turn: int, size: int) -> NDArray[np.uint8]:
        """The first `size` maps of a buffer, which grows to the largest batch seen."""
        while len(self._ring) <= turn:
            self._ring.append(np.empty((0, *self.rasterizer.shape), dtype=np.uint8))
        if len(self._ring[turn]) < size:
            self._ring[turn] = np.empty((size, *self.rasterizer.shape), dtype=np.uint8)
        return self._ring[turn][:size]
