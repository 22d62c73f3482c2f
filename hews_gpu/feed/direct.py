"""The direct feed: maps are drawn in the training process, a few batches ahead.

On a CPU a thread draws them while the model computes.

Shapes: B batch, C channels, H rows, X columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from hews_gpu.feed.ahead import DRAWING, Ring, ahead
from hews_gpu.feed.augment import Augmentation, warp
from hews_gpu.feed.batch import DTYPES, Batch, Feed, Source
from hews_gpu.feed.plan import Share

__all__ = ["DirectFeed"]


class DirectFeed(Feed):
    """Calls the source's rasterizer.

    Args:
        source: what to draw; its rasterizer's backend must be one for the device.
        device: "cpu" or "cuda".
    """

    def __init__(self, source: Source, *, device: str = "cpu") -> None:
        super().__init__(source, device=device)
        self._ring = Ring(source.rasterizer.shape, DTYPES[source.rasterizer.values.dtype])

    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        return ahead(shares, lambda turn, share: self._draw(turn, share, augment))

    def _draw(self, turn: int, share: Share, augment: Augmentation | None) -> Batch:
        """Draw one batch into a buffer of the ring."""
        out = self._ring.take(turn, len(share))
        with DRAWING:
            self.source.rasterizer.fill(self.source.pairs[share.ids], out)
        maps = out.permute(0, 3, 1, 2)
        if augment is not None:
            height, width = maps.shape[2:]
            matrices = augment.matrices(share.epoch, share.first, len(share), height, width)
            maps = warp(maps, torch.from_numpy(matrices))
        return self._batch(share.ids, maps)
