"""The direct feed: maps are drawn in the training process, a few batches ahead.

On a CPU a thread draws them while the model computes; on a GPU a side stream does (`hews_gpu.feed.on_device`), if the
rasterizer draws there. One that draws on the CPU can feed a GPU too: its maps are copied over.

Shapes: B batch, C channels, H rows, X columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.batch import Batch, Feed, Source
from hews_gpu.feed.on_device import DeviceDrawer
from hews_gpu.feed.plan import Share
from hews_gpu.feed.prefetch import ahead

__all__ = ["DirectFeed"]


class DirectFeed(Feed):
    """Calls the source's rasterizer.

    Args:
        source: what to draw.
        device: "cpu" or "cuda".

    Raises:
        ValueError: a rasterizer that draws on a GPU, for batches on the CPU.
    """

    def __init__(self, source: Source, *, device: str = "cpu") -> None:
        super().__init__(source, device=device)
        self._drawer = DeviceDrawer(source, self.device) if self.is_drawn_on_device else None

    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        if self._drawer is not None:
            yield from self._drawer.batches(shares, augment)
            return
        with self._ring() as ring:
            yield from ahead(shares, lambda turn, share: self._draw(ring.take(turn, len(share)), share, augment))

    def _draw(self, out: Tensor, share: Share, augment: Augmentation | None) -> Batch:
        """Draw one batch into a buffer of the ring."""
        self.source.rasterizer.fill(self.source.pairs[share.ids], out)
        return self._finish(share, out, augment)
