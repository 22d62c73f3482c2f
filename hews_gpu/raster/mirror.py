"""Tables of a mirrored map: what is drawn from them equals the picture mirrored, to the bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels.scalars import FIXED_ONE
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables

__all__ = ["mirrored"]

Tables = ReferenceTables | ChannelsTables | DiscsTables


def mirrored(tables: Tables, left_right: bool, up_down: bool) -> Tables:
    """Tables with west and east, north and south, or both exchanged."""
    height, width, _ = tables.base.shape
    axes = tuple(axis for axis, is_on in ((0, up_down), (1, left_right)) if is_on)
    base = np.ascontiguousarray(np.flip(tables.base, axes))
    if isinstance(tables, ChannelsTables):
        cell = np.where(tables.cell >= 0, _moved(tables.cell, height, width, left_right, up_down), -1)
        return tables._replace(base=base, cell=cell.astype(np.int32))
    x = (width * FIXED_ONE - tables.x).astype(np.int32) if left_right else tables.x
    y = (height * FIXED_ONE - tables.y).astype(np.int32) if up_down else tables.y
    if isinstance(tables, DiscsTables):
        return tables._replace(base=base, x=x, y=y)
    pixel = _moved(tables.pixel, height, width, left_right, up_down)
    order = np.argsort(pixel)
    counts = np.diff(tables.start)
    begin = np.repeat(tables.start[:-1][order], counts[order])  # where the owners of each pixel were
    start = np.concatenate([[0], np.cumsum(counts[order])])
    pairs = begin + np.arange(len(begin)) - np.repeat(start[:-1], counts[order])
    return tables._replace(
        base=base,
        pixel=pixel[order].astype(np.int32),
        start=start.astype(np.int32),
        owner=tables.owner[pairs],
        coverage=tables.coverage[pairs],
        x=x,
        y=y,
    )


def _moved(index: NDArray[np.int32], height: int, width: int, left_right: bool, up_down: bool) -> NDArray[np.int64]:
    """Where each row * X + column goes."""
    row, column = np.divmod(index.astype(np.int64), width)
    row = height - 1 - row if up_down else row
    column = width - 1 - column if left_right else column
    return row * width + column
