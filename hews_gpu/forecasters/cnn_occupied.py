"""The layers of the CNN that look at maps, computed from occupied cells on a CPU.

In two-hour steps one cell in a thousand or so of a map is not zero. What `cnn_network.dense_layers` computes of all of
them, which is the definition and what a GPU is given, `occupied_layers` computes of those and the cells around them,
with the same gradients, but for rounding. `choose_layers` is the one place that decides.

Shapes: B samples, C channels (history steps x categories), H rows, X columns, K filters, A areas.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hews_gpu.arrays import Float32, Int32
from hews_gpu.forecasters.cnn_network import Layers, dense_layers
from hews_gpu.kernels import occupied as kernels

__all__ = ["choose_layers", "occupied_layers"]

LOGARITHMS: Float32 = torch.log1p(torch.arange(256.0)).numpy()
"""Of each count."""


def choose_layers(device: str, *, is_compiled: bool = False) -> tuple[Layers, str]:
    """Return the layers for a network on a device, and in words which they are.

    Args:
        device: "cpu", "cuda" or "cuda:1".
        is_compiled: torch.compile is asked for, which reads tensor operations alone.
    """
    if device == "cpu" and not is_compiled:
        return occupied_layers, "from occupied cells alone (numba, as on every CPU)"
    return dense_layers, f"densely (torch, as {'torch.compile asks' if is_compiled else 'on every GPU'})"


def occupied_layers(
    maps: Tensor, kernel: Tensor, near: Tensor, near_bias: Tensor, area_cells: int
) -> tuple[Tensor, Tensor]:
    """Return what `dense_layers` does, of maps uint8 on the CPU.

    Raises:
        ValueError: other maps.
    """
    if maps.dtype != torch.uint8 or maps.device.type != "cpu":
        raise ValueError(f"maps: are {maps.dtype} on {maps.device}, must be torch.uint8 on cpu for occupied cells")
    height, width = maps.shape[2:]
    occupied, totals = _occupied(maps)
    area, cells = _areas(height, width, area_cells)
    # bfloat16 under autocast, which the kernels do not read
    table = (kernel.T @ near.flip(2, 3).permute(1, 2, 3, 0).flatten(1)).float()
    canvas = partial(_canvas, area, width + 2, len(near_bias))
    sums: Tensor = _AreaSums.apply(table, near_bias, occupied, canvas, len(cells))  # type: ignore[no-untyped-call]
    return totals, (sums * (area_cells / cells)[:, None]).transpose(1, 2).flatten(1)


def _occupied(maps: Tensor) -> tuple[kernels.Occupied, Tensor]:
    """List the occupied cells of maps [B, C, H, X]; return them with the sums of their logarithms [B, C]."""
    content = maps.permute(0, 2, 3, 1).contiguous().numpy()
    if content.ctypes.data % 8:  # a part of a batch, of maps that do not end on a whole word
        content = content.copy()
    whole = content.size // kernels.LINE_BYTES * kernels.LINE_BYTES
    lines = content.reshape(-1)[:whole].view(np.uint64).reshape(-1, 8)
    room = kernels.room(lines)
    corner, channel = np.empty(room, np.int32), np.empty(room, np.int32)
    occupied = kernels.Occupied(np.empty(len(content) + 1, np.int64), corner, channel, np.empty(room, np.float32))
    totals = np.zeros((len(content), content.shape[3]), np.float32)
    kernels.list_occupied(lines, content, LOGARITHMS, occupied, totals)
    return occupied, torch.from_numpy(totals)


@lru_cache(maxsize=8)
def _areas(height: int, width: int, area_cells: int) -> tuple[Int32, Tensor]:
    """Return the area of each cell of a canvas [P], -1 in its margin, and the cells of each area, float32 [A]."""
    across = -(-width // area_cells)
    area = np.full((height + 2, width + 2), -1, np.int32)
    row, column = np.ogrid[:height, :width]
    area[1:-1, 1:-1] = row // area_cells * across + column // area_cells
    cells = np.bincount(area[1:-1, 1:-1].reshape(-1))
    return area.reshape(-1), torch.from_numpy(cells.astype(np.float32))


def _canvas(area: Int32, width: int, filters: int) -> kernels.Canvas:
    """Return an empty canvas."""
    return kernels.Canvas(np.zeros(len(area) * filters, np.float32), np.zeros(len(area), np.uint8), area, width)


class _AreaSums(torch.autograd.Function):
    """Sums over areas [B, A, K] of the cells of a convolution after its ReLU, from a table [C, 9 * K] of footprints."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, bias: Tensor, occupied: Any, canvas: Any, areas: int) -> Tensor:
        ctx.save_for_backward(table, bias)
        ctx.occupied, ctx.canvas = occupied, canvas
        out = np.zeros((len(occupied.first) - 1, areas, len(bias)), np.float32)
        kernels.add_up_areas(occupied, _numbers(table), _numbers(bias), canvas(), out)
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        table, bias = ctx.saved_tensors
        of_table, of_bias = np.zeros(table.numel(), np.float32), np.zeros(len(bias))
        weights, pulled = (_numbers(table), _numbers(bias)), gradient.contiguous().numpy()
        kernels.add_up_gradients(ctx.occupied, *weights, ctx.canvas(), pulled, of_table, of_bias)
        return torch.from_numpy(of_table).view_as(table), torch.from_numpy(of_bias).float(), None, None, None


def _numbers(tensor: Tensor) -> Float32:
    """Return the numbers of a tensor, one after the other."""
    flat: Float32 = tensor.detach().reshape(-1).numpy()
    return flat
