"""A few batches made ahead of the reader, by one thread, in a ring of buffers that are used again and again.

Drawing releases the interpreter lock, so that it goes on while the model computes. Fresh memory would cost more than
drawing into it.

Shapes: B batch, C channels, H rows, X columns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch
from torch import Tensor

from hews_gpu.feed.plan import Share

__all__ = ["AHEAD", "DTYPES", "Ring", "ahead", "tensors"]

AHEAD = 2  # batches made while one is read: one is enough when it goes steadily, two ride out a hiccup

DTYPES = {
    "uint8": torch.uint8,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}
"""torch's names for what a rasterizer's values may be."""

Made = TypeVar("Made")
Buffer = TypeVar("Buffer")


class Ring(Generic[Buffer]):
    """Buffers for maps of one shape; each grows to the largest batch seen.

    Args:
        shape: (H, X, C) of one map.
        empty: makes a buffer of the given dimensions, such as a tensor or an array on a GPU.
        depth: how many batches must last at once.
    """

    def __init__(self, shape: tuple[int, ...], empty: Callable[[tuple[int, ...]], Buffer], depth: int) -> None:
        self.shape, self.empty = shape, empty
        self._buffers = [(0, empty((0, *shape))) for _ in range(depth)]

    def take(self, turn: int, size: int) -> Buffer:
        """Room for the maps [B, H, X, C] of a turn; it is that of the turn `depth` before."""
        place = turn % len(self._buffers)
        if self._buffers[place][0] < size:
            self._buffers[place] = (size, self.empty((size, *self.shape)))
        return self._buffers[place][1][:size]  # type: ignore[index,no-any-return]


def tensors(
    shape: tuple[int, ...], dtype: torch.dtype, depth: int = AHEAD + 1, device: torch.device | str = "cpu"
) -> Ring[Tensor]:
    """A ring of torch's tensors."""
    return Ring(shape, lambda dims: torch.empty(dims, dtype=dtype, device=device), depth)


def ahead(shares: Iterator[Share], make: Callable[[int, Share], Made], depth: int = AHEAD) -> Generator[Made]:
    """What `make(turn, share)` gives for each share, in order; at most `depth` more are made meanwhile.

    Things of `depth` + 1 turns exist at once. Ends with its thread, however it ends.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed")
    made: deque[Future[Made]] = deque()
    try:
        for turn, share in enumerate(shares):
            made.append(pool.submit(make, turn, share))
            if len(made) > depth:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
