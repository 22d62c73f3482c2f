"""Batches drawn on a GPU: on a side stream, a few ahead of the stream on which the model computes.

Launching returns at once, so no thread is needed; what must not overtake what is said by events. The reader's stream
waits for a batch to be drawn; the side stream draws into a buffer only after the reader's stream is done with what was
in it, which is known once the reader asks for the next batch::

    side    draw 0 | draw 1 | draw 2 | (buffer 0 is read) draw 3 | ...
    reader        (0 is drawn) step 0 | (1 is drawn) step 1 | ...

Shapes: B batch, S samples, T history steps, C channels, H rows, X columns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hews_gpu.feed.ahead import AHEAD, DTYPES, tensors
from hews_gpu.feed.augment import Augmentation, warp
from hews_gpu.feed.batch import Batch, Source
from hews_gpu.feed.plan import Share

__all__ = ["DeviceDrawer"]


class DeviceDrawer:
    """Draws a source's batches on a GPU.

    Args:
        source: what to draw, by a rasterizer whose backend is "cuda".
        device: a CUDA device of torch.
        cuda: where streams come from: torch.cuda.
    """

    def __init__(self, source: Source, device: torch.device, cuda: Any = torch.cuda) -> None:
        self.source, self.device, self.cuda = source, device, cuda
        columns = (source.calendar, source.climatology, source.y)
        # Small next to one batch of maps: the whole table stays on the device.
        self._columns = tuple(torch.from_numpy(np.ascontiguousarray(column)).to(device) for column in columns)
        self._pairs = torch.from_numpy(np.ascontiguousarray(source.pairs)).to(device)

    def batches(self, shares: Iterator[Share], augment: Augmentation | None) -> Generator[Batch]:
        """One batch per share; its maps may be read on the stream that is current when it is given."""
        side = self.cuda.Stream(self.device)
        rasterizer = self.source.rasterizer
        ring = tensors(rasterizer.shape, DTYPES[rasterizer.values.dtype], device=self.device)
        free: list[Any] = [None] * (AHEAD + 1)  # the reader's event after which a buffer may be drawn into
        drawn: deque[tuple[int, Batch, Any]] = deque()
        try:
            for turn, share in enumerate(shares):
                place = turn % len(free)
                drawn.append((place, *self._launch(ring.take(turn, len(share)), free[place], side, share, augment)))
                if len(drawn) > AHEAD:
                    yield from self._hand_over(*drawn.popleft(), free)
            while drawn:
                yield from self._hand_over(*drawn.popleft(), free)
        finally:
            side.synchronize()  # nothing may draw into memory that is about to be given back
        rasterizer.check(side)

    def _launch(
        self, out: Tensor, free: Any, side: Any, share: Share, augment: Augmentation | None
    ) -> tuple[Batch, Any]:
        """Start drawing one batch; returns it with the event that says it is done."""
        _require_within(share.ids, len(self.source))
        with self.cuda.stream(side):
            if free is not None:
                side.wait_event(free)
            ids = torch.from_numpy(share.ids).to(self.device, non_blocking=True)
            self.source.rasterizer.fill(self._pairs[ids], out, stream=side)
            maps = out.permute(0, 3, 1, 2)
            if augment is not None:
                height, width = maps.shape[2:]
                matrices = augment.matrices(share.epoch, share.first, len(share), height, width)
                maps = warp(maps, matrices)
            batch = Batch(share.ids, maps, *(column[ids] for column in self._columns))
            return batch, side.record_event()

    def _hand_over(self, place: int, batch: Batch, drawn: Any, free: list[Any]) -> Iterator[Batch]:
        """Give a batch to the reader's stream, and mark when that is done with it."""
        reader = self.cuda.current_stream(self.device)
        reader.wait_event(drawn)
        for tensor in (batch.maps, batch.calendar, batch.climatology, batch.y):
            if tensor.is_cuda:  # made on the side stream, read on this one: the allocator must know of both
                tensor.record_stream(reader)
        yield batch
        free[place] = self.cuda.current_stream(self.device).record_event()


def _require_within(ids: NDArray[np.int64], samples: int) -> None:
    """A GPU would read anything."""
    if len(ids) and not (ids.min() >= 0 and ids.max() < samples):
        raise IndexError(f"ids: must be 0..{samples - 1}")
