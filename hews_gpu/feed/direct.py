"""The direct feed: maps are drawn in the training process, a few batches ahead.

On a CPU a thread draws them while the model computes.

Shapes: B batch, C channels, H rows, X columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from hews_gpu.feed.ahead import DRAWING, ahead
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.batch import Batch, Feed
from hews_gpu.feed.plan import Share

__all__ = ["DirectFeed"]


class DirectFeed(Feed):
    """Calls the source's rasterizer.

    Args:
        source: what to draw; its rasterizer's backend must be one for the device.
        device: "cpu" or "cuda".
    """

    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        with self._ring() as ring:
            yield from ahead(shares, lambda turn, share: self._draw(ring.take(turn, len(share)), share, augment))

    def _draw(self, out: Tensor, share: Share, augment: Augmentation | None) -> Batch:
        """Draw one batch into a buffer of the ring."""
        with DRAWING:
            self.source.rasterizer.fill(self.source.pairs[share.ids], out)
        return self._finish(share, out, augment)
