"""The arrays that kernels read, as small named tuples instead of long argument lists.

Shapes: E incidents, N neighborhoods, H rows, X columns, K colors, P pixels that some outline touches, Q (pixel,
owner) pairs, D = 2 * reach + 1 the side of a disc's stamp, G channel groups, C channels. Tables are built once and
never written to by a kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChannelsTables", "DiscsTables", "ReferenceTables"]


class ReferenceTables(NamedTuple):
    """What the reference style is drawn from."""

    base: NDArray[np.uint8]  # [H, X, 3] the map of a window without incidents
    pixel: NDArray[np.int32]  # [P] row * X + column, ascending: the pixels that some outline touches
    start: NDArray[np.int32]  # [P + 1] pixel p is touched by the owners [start[p], start[p + 1])
    owner: NDArray[np.int32]  # [Q] neighborhood, ascending within a pixel: the order of blending
    coverage: NDArray[np.uint8]  # [Q] how much of the pixel the owner's outline covers
    lit_color: NDArray[np.uint8]  # [3] of the outline of a neighborhood that holds an incident
    x: NDArray[np.int32]  # [E] column in 1/16 pixel from the west edge; far outside if hidden
    y: NDArray[np.int32]  # [E] row in 1/16 pixel from the north edge
    color: NDArray[np.uint8]  # [E] row of `palette`
    neighborhood: NDArray[np.int16]  # [E] -1 for none
    palette: NDArray[np.uint8]  # [K, 3]
    stamp: NDArray[np.uint8]  # [16, 16, D, D] alpha of a disc whose center is (fraction y, fraction x) into a pixel

    @property
    def events(self) -> int:
        """E."""
        return len(self.x)


class ChannelsTables(NamedTuple):
    """What the channels style counts."""

    cell: NDArray[np.int32]  # [E] row * X + column; -1 outside the map or hidden
    group: NDArray[np.uint8]  # [E] below `groups`
    groups: int  # G
    base: NDArray[np.uint8]  # [H, X, C] the map of a window without incidents: zeros

    @property
    def events(self) -> int:
        """E."""
        return len(self.cell)


class DiscsTables(NamedTuple):
    """What the channels style draws with a disc per incident instead of one count."""

    x: NDArray[np.int32]  # [E] column in 1/16 pixel from the west edge; far outside if hidden
    y: NDArray[np.int32]  # [E] row in 1/16 pixel from the north edge
    group: NDArray[np.uint8]  # [E] below `groups`
    groups: int  # G
    base: NDArray[np.uint8]  # [H, X, C] the map of a window without incidents: zeros
    stamp: NDArray[np.uint8]  # [16, 16, D, D] what a disc centered (fraction y, fraction x) into a pixel adds to each

    @property
    def events(self) -> int:
        """E."""
        return len(self.x)
