"""The direct feed: maps are drawn in the training process, a few batches ahead.

On a CPU a thread draws them while the model computes. A rasterizer that draws on the CPU can feed a GPU too: its maps
are copied over. One that draws on a GPU does so on a side stream, ahead of the stream on which the model computes,
several batches at a time. Launching returns at once, so no thread is needed; but each launch takes the interpreter a
fraction of a millisecond, which a small model's step would feel. So the maps of consecutive batches are drawn by one
launch into one buffer, and a batch is a part of it. What goes with the maps of many launches (ids, labels, calendar,
matrices of the augmentation) is put on the device at once: a step copies nothing from the host.

Events keep the order. The reader's stream waits for a group of batches to be drawn; the side stream draws into a buffer
only after the reader's stream is done with all that was in it, which is known once the reader asks for the batch after
it::

    side    draw 0-7 | draw 8-15 | draw 16-23 | (buffer 0 is read) draw 24-31 | ...
    reader        (0-7 are drawn) step 0 | step 1 | ... | step 7 | (8-15 are drawn) step 8 | ...

Shapes: B batch, S samples, T history steps, C channels, H rows, X columns.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hews_gpu.arrays import Int64
from hews_gpu.feed.augment import Augmentation, for_torch, warp_by_torch
from hews_gpu.feed.batch import AHEAD, Batch, Feed, MapSource, prefetch, tensors
from hews_gpu.feed.plan import Share

__all__ = ["GROUP_BYTES", "DeviceDrawer", "DirectFeed"]

GROUP_BYTES = 32 * 2**20
"""Of maps drawn by one launch, about: some hundred, so that it costs each little; resampling takes ten times it."""
UPLOADED = 8192
"""Samples whose ids and matrices are uploaded at once, at most: so many cost little each, and the GPU waits some
milliseconds for them."""


class DirectFeed(Feed):
    """Calls the source's rasterizer."""

    def __init__(self, source: MapSource, *, device: str = "cpu") -> None:
        super().__init__(source, device=device)
        self._drawer = DeviceDrawer(source, self._columns) if self.is_drawn_on_device else None

    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        if self._drawer is not None:
            yield from self._drawer.batches(shares, augment)
            return
        with self._ring() as ring:
            yield from prefetch(shares, lambda turn, share: self._draw(ring.take(turn, len(share)), share, augment))

    def _draw(self, out: Tensor, share: Share, augment: Augmentation | None) -> Batch:
        """Draw one batch into a buffer of the ring."""
        self.source.rasterizer.fill(self.source.pairs[share.ids], out)
        return self._finish(share, out, augment)


class DeviceDrawer:
    """Draws a source's batches on a GPU.

    Args:
        source: what to draw.
        columns: calendar, climatology and labels of its samples, on a CUDA device of torch.
        cuda: where streams come from.
        group: samples drawn by one launch, but for whole batches and at least one; None: about `GROUP_BYTES`.
    """

    def __init__(
        self, source: MapSource, columns: tuple[Tensor, ...], cuda: Any = torch.cuda, *, group: int | None = None
    ) -> None:
        self.source, self.device, self.cuda = source, columns[0].device, cuda
        self._columns = (torch.from_numpy(np.ascontiguousarray(source.pairs)).to(self.device), *columns)
        rasterizer = source.rasterizer
        map_bytes = math.prod(rasterizer.shape) * rasterizer.values.codes.itemsize
        self.group = max(1, GROUP_BYTES // map_bytes) if group is None else group

    def batches(self, shares: Iterator[Share], augment: Augmentation | None) -> Generator[Batch]:
        """Yield one batch per share; its maps may be read on the stream that is current when it is given."""
        side = self.cuda.Stream(self.device)
        rasterizer = self.source.rasterizer
        ring = tensors(rasterizer, device=self.device)
        free: list[list[Any]] = [[] for _ in range(AHEAD + 1)]  # the reader's events after which to draw into a buffer
        drawn: deque[tuple[int, list[Batch], Any]] = deque()
        try:
            for turn, (sizes, ids, columns) in enumerate(self._groups(shares, augment, side)):
                place, out = turn % len(free), ring.take(turn, len(ids))
                drawn.append((place, *self._launch(out, free[place], side, sizes, ids, columns)))
                if len(drawn) > AHEAD:
                    yield from self._hand_over(*drawn.popleft(), free)
            while drawn:
                yield from self._hand_over(*drawn.popleft(), free)
        finally:
            side.synchronize()  # nothing may draw into memory that is about to be given back
        rasterizer.check(side)

    def _groups(
        self, shares: Iterator[Share], augment: Augmentation | None, side: Any
    ) -> Iterator[tuple[list[int], Int64, list[Tensor]]]:
        """Yield for each launch the sizes of its batches, their ids, and what goes with these on the device."""
        height, width, _ = self.source.rasterizer.shape
        for many in _grouped(shares, UPLOADED):
            ids = np.concatenate([share.ids for share in many])
            _require_within(ids, len(self.source))
            with self.cuda.stream(side):
                at = self._upload(torch.from_numpy(ids))
                columns = [column[at] for column in self._columns]
                if augment is not None:
                    words = np.concatenate([augment.words(share.epoch, share.first, len(share)) for share in many])
                    columns.append(self._upload(for_torch(augment.matrices_of(words, height, width), height, width)))
            first = 0
            for group in _grouped(iter(many), self.group):
                sizes = [len(share) for share in group]
                last = first + sum(sizes)
                yield sizes, ids[first:last], [column[first:last] for column in columns]
                first = last

    def _upload(self, tensor: Tensor) -> Tensor:
        """Copy to the device without waiting for it; from memory that is not pinned the driver may wait."""
        return (tensor.pin_memory() if self.device.type == "cuda" else tensor).to(self.device, non_blocking=True)

    def _launch(
        self, out: Tensor, free: list[Any], side: Any, sizes: list[int], ids: Int64, columns: list[Tensor]
    ) -> tuple[list[Batch], Any]:
        """Start drawing some batches; return them with the event after which they are done."""
        pairs, calendar, climatology, y, *moved = columns
        with self.cuda.stream(side):
            for event in free:
                side.wait_event(event)
            free.clear()
            self.source.rasterizer.fill(pairs, out, stream=side)
            maps = out.permute(0, 3, 1, 2)
            if moved:
                maps = warp_by_torch(maps, *moved)
            return list(Batch(ids, maps, calendar, climatology, y).parts(sizes)), side.record_event()

    def _hand_over(self, place: int, batches: list[Batch], drawn: Any, free: list[list[Any]]) -> Iterator[Batch]:
        """Yield batches to the reader's stream, and mark when that is done with each."""
        for batch in batches:
            reader = self.cuda.current_stream(self.device)
            reader.wait_event(drawn)
            for tensor in (batch.maps, batch.calendar, batch.climatology, batch.y):
                if tensor.is_cuda:  # made on the side stream, read on this one: the allocator must know of both
                    tensor.record_stream(reader)
            yield batch
            free[place].append(self.cuda.current_stream(self.device).record_event())


def _grouped(shares: Iterator[Share], samples: int) -> Iterator[list[Share]]:
    """Yield consecutive shares, of at most so many samples together unless one alone has more."""
    group: list[Share] = []
    for share in shares:
        if group and sum(map(len, group)) + len(share) > samples:
            yield group
            group = []
        group.append(share)
    if group:
        yield group


def _require_within(ids: Int64, samples: int) -> None:
    """Refuse samples that do not exist, as a GPU would read anything."""
    if len(ids) and not (ids.min() >= 0 and ids.max() < samples):
        raise IndexError(f"ids: must be 0..{samples - 1}")
