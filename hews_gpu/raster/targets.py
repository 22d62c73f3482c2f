"""Batches that a caller owns, whoever made them: NumPy, torch, CuPy or numba; on the CPU or a GPU; in either layout.

A batch is [B, H, X, C] (channels-last), or [B, C, H, X] whose memory is either channels-last (torch's channels_last: a
view, nothing is transposed) or a plane per channel. Kernels see bit patterns: no library has to know bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.raster.values import Dtype

__all__ = ["Target", "address_of", "host_target", "is_on_device", "memory"]

ITEM_BYTES: dict[str, int] = {"uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Target:
    """Where a batch lies, and how."""

    address: int
    item: int
    """Bytes of a value."""
    is_planes: bool


def is_on_device(array: Any) -> bool:
    """Whether an array's memory is a GPU's."""
    if _is_torch(array):
        return bool(array.is_cuda)
    return hasattr(array, "__cuda_array_interface__")


def memory(out: Any, shape: tuple[int, ...], dtype: Dtype) -> Target:
    """Check a batch for maps of B, H, X, C = `shape` and find its memory.

    Raises:
        ValueError: a wrong shape or dtype, strides of neither layout, or memory that must not be written.
    """
    found, dims, strides, address, is_writable = _describe(out)
    names = {dtype, "uint16"} if dtype == "bfloat16" else {dtype}  # NumPy holds bfloat16 as uint16
    batch, height, width, channels = shape
    planes = (batch, channels, height, width)
    if found not in names or dims not in (shape, planes):
        raise ValueError(f"out: is {found}{list(dims)}, must be {dtype}{list(shape)} or {dtype}{list(planes)}")
    item = ITEM_BYTES[dtype]
    last = _packed(shape, item)
    if not is_writable:
        raise ValueError("out: must be contiguous and writable")
    if dims == shape and _same(strides, last, dims):
        return Target(address, item, False)
    if dims == planes and _same(strides, (last[0], last[3], last[1], last[2]), dims):
        return Target(address, item, False)
    if dims == planes and _same(strides, _packed(planes, item), dims):
        return Target(address, item, channels > 1)
    raise ValueError("out: must be contiguous and writable, channels-last or a plane per channel")


def host_target(out: Any, shape: tuple[int, ...], dtype: Dtype) -> tuple[NDArray[Any], bool]:
    """Bit patterns [B, H * X * C] of a batch on the CPU, a view; and whether it is planes."""
    if type(out) is np.ndarray and out.shape == shape and out.dtype == np.uint8 and dtype == "uint8":
        flags = out.flags  # the usual batch, found without a description: it is checked once per batch of a run
        if flags.c_contiguous and flags.writeable:
            return out.reshape(shape[0], -1) if out.size else out.reshape(shape[0], 0), False
    target = memory(out, shape, dtype)
    array = _torch_bits(out) if _is_torch(out) else out
    bits = array.view(f"u{target.item}")
    if bits.shape != shape and not target.is_planes:
        bits = bits.transpose(0, 2, 3, 1)
    return bits.reshape(shape[0], shape[1] * shape[2] * shape[3]), target.is_planes


def address_of(array: Any) -> int:
    """Where the numbers of an array lie, one after another in the order of its dimensions.

    Raises:
        ValueError: they do not, as in a transposed array.
    """
    dtype, dims, strides, address, _ = _describe(array)
    if not _same(strides, _packed(dims, np.dtype(dtype).itemsize), dims):
        raise ValueError(f"pairs: has strides {list(strides)}, must be contiguous on a GPU, and so must variants")
    return address


def _describe(out: Any) -> tuple[str, tuple[int, ...], tuple[int, ...], int, bool]:
    """Dtype, shape, strides in bytes, address, and whether it may be written."""
    if _is_torch(out):
        item = out.element_size()
        strides = tuple(step * item for step in out.stride())
        return str(out.dtype).removeprefix("torch."), tuple(out.shape), strides, out.data_ptr(), True
    if isinstance(out, np.ndarray):
        return str(out.dtype), out.shape, out.strides, out.ctypes.data, out.flags.writeable
    about = getattr(out, "__cuda_array_interface__", None)
    if about is None:
        raise ValueError(f"out: is a {type(out).__name__}, must be an array of NumPy, torch, CuPy or numba")
    dtype, dims = np.dtype(about["typestr"]), tuple(about["shape"])
    address, is_read_only = about["data"]
    strides = about.get("strides") or _packed(dims, dtype.itemsize)
    return str(dtype), dims, tuple(strides), address, not is_read_only


def _is_torch(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"


def _torch_bits(tensor: Any) -> NDArray[Any]:
    """The memory of a CPU tensor; NumPy knows no bfloat16, but whole numbers of its size."""
    import torch

    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[tensor.element_size()]
    array: NDArray[Any] = tensor.detach().view(whole).numpy()
    return array


def _packed(dims: Sequence[int], item: int) -> tuple[int, ...]:
    """Strides of a C-contiguous array."""
    strides, step = [], item
    for size in reversed(dims):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _same(strides: Sequence[int], others: Sequence[int], dims: Sequence[int]) -> bool:
    """Whether two strides mean the same memory: those of a dimension of one element mean nothing."""
    return 0 in dims or all(a == b for a, b, size in zip(strides, others, dims, strict=True) if size > 1)
