"""What a Rasterizer writes: values that stand for the bytes of a map, into batches that a caller owns.

A byte becomes one of 256 bit patterns of uint8, float16, bfloat16 or float32. Normalization, log scaling of counts, and
the rounding to a narrow type all happen once, in the table; a kernel only looks up. A batch is [B, H, X, C],
C-contiguous, of NumPy or torch, with a GPU also of CuPy or numba. Kernels see bit patterns: no library has to know
bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64
from hews_gpu.errors import UserError, did_you_mean

__all__ = ["DTYPES", "Dtype", "Values", "address_of", "host_target", "is_on_device", "name_of", "target_address"]

Dtype = Literal["uint8", "float16", "bfloat16", "float32"]
DTYPES: tuple[Dtype, ...] = ("uint8", "float16", "bfloat16", "float32")
BYTES = np.arange(256, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Values:
    """A table; `Values.plain()` writes bytes as they are."""

    dtype: Dtype
    codes: NDArray[Any]
    """[256] bit patterns as uint8, uint16 or uint32."""

    @classmethod
    def of(cls, real: Float64, dtype: Dtype = "float32") -> Values:
        """Round 256 numbers to `dtype`, to nearest and ties to even; uint8 is clipped to 0..255.

        Raises:
            UserError: an unknown dtype.
            ValueError: not 256 finite numbers.
        """
        if dtype not in DTYPES:
            raise UserError("dtype", dtype, allowed="is not known", remedy=did_you_mean(dtype, DTYPES))
        if real.shape != (256,) or not np.isfinite(real).all():
            raise ValueError(f"real: has shape {real.shape}, must be 256 finite numbers")
        if dtype == "uint8":
            return cls(dtype, np.clip(np.rint(real), 0, 255).astype(np.uint8))
        if dtype == "float16":
            return cls(dtype, real.astype(np.float16).view(np.uint16))
        single = real.astype(np.float32).view(np.uint32)
        if dtype == "float32":
            return cls(dtype, single)
        odd = (single >> np.uint32(16)) & np.uint32(1)
        return cls(dtype, ((single + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16))

    @classmethod
    def plain(cls, dtype: Dtype = "uint8") -> Values:
        """Return the table that leaves 0..255 as they are."""
        return cls.of(BYTES, dtype)

    @classmethod
    def unit(cls, dtype: Dtype = "float32") -> Values:
        """Return the table of 0..255 as 0..1."""
        return cls.of(BYTES / 255, dtype)

    @classmethod
    def normalized(cls, mean: float, deviation: float, dtype: Dtype = "float32") -> Values:
        """Return the table of (value - mean) / deviation, both in units of a byte.

        Raises:
            ValueError: a deviation that is not positive.
        """
        if not deviation > 0:
            raise ValueError(f"deviation = {deviation}: must be positive")
        return cls.of((BYTES - mean) / deviation, dtype)

    @classmethod
    def log_counts(cls, dtype: Dtype = "float32") -> Values:
        """Return the table of log(1 + count); as uint8 stretched over 0..255."""
        scale = 255 / np.log(256) if dtype == "uint8" else 1.0
        return cls.of(np.log1p(BYTES) * scale, dtype)

    @cached_property
    def is_plain(self) -> bool:
        """Whether bytes are written as they are."""
        return self.dtype == "uint8" and bool(np.array_equal(self.codes, BYTES))

    def real(self) -> Float64:
        """Return float64[256], the numbers that the patterns stand for."""
        if self.dtype == "bfloat16":
            return (self.codes.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
        return self.codes.view(self.dtype).astype(np.float64)


def is_on_device(array: Any) -> bool:
    """Return whether an array's memory is a GPU's."""
    if _is_torch(array):
        return bool(array.is_cuda)
    name = "__cuda_array_interface__"
    return hasattr(type(array), name) or hasattr(array, name)  # asking the array itself may cost microseconds


def target_address(out: Any, shape: tuple[int, ...], dtype: Dtype) -> int:
    """Check a batch for maps of B, H, X, C = `shape` and return where its memory begins.

    Raises:
        ValueError: a wrong shape or dtype, memory that is not contiguous, or that must not be written.
    """
    held, dims, is_contiguous, address, is_writable = _describe(out)
    names = {dtype, "uint16"} if dtype == "bfloat16" else {dtype}  # NumPy holds bfloat16 as uint16
    if held not in names or dims != shape:
        raise ValueError(f"out: is {held}{list(dims)}, must be {dtype}{list(shape)}")
    if not (is_contiguous and is_writable):
        raise ValueError("out: must be contiguous and writable")
    return address


def host_target(out: Any, shape: tuple[int, ...], dtype: Dtype) -> NDArray[Any]:
    """Return the bit patterns [B, H * X * C] of a batch on the CPU, a view; raises as `target_address` does."""
    if type(out) is np.ndarray and out.shape == shape and out.dtype == np.uint8 and dtype == "uint8":
        flags = out.flags  # the usual batch: describing it would take longer than handing it to a kernel
        if flags.c_contiguous and flags.writeable:
            return out.reshape(shape[0], -1) if out.size else out.reshape(shape[0], 0)
    target_address(out, shape, dtype)
    array = _torch_bits(out) if _is_torch(out) else out
    flat: NDArray[Any] = array.view(f"u{array.itemsize}").reshape(shape[0], int(np.prod(shape[1:])))
    return flat


def address_of(array: Any) -> int:
    """Return where the numbers of an array lie, one after another in the order of its dimensions.

    Raises:
        ValueError: they do not, as in a transposed array.
    """
    _, _, is_contiguous, address, _ = _describe(array)
    if not is_contiguous:
        raise ValueError("pairs: must be contiguous on a GPU")
    return address


def _describe(array: Any) -> tuple[str, tuple[int, ...], bool, int, bool]:
    """Return dtype, shape, whether the memory is C-contiguous, its address, and whether it may be written."""
    if _is_torch(array):
        return name_of(array.dtype), tuple(array.shape), bool(array.is_contiguous()), array.data_ptr(), True
    if isinstance(array, np.ndarray):
        flags = array.flags
        return name_of(array.dtype), array.shape, flags.c_contiguous, array.ctypes.data, flags.writeable
    about = getattr(array, "__cuda_array_interface__", None)
    if about is None:
        raise ValueError(f"out: is a {type(array).__name__}, must be an array of NumPy, torch, CuPy or numba")
    dtype, dims = _dtype_of(about["typestr"]), tuple(about["shape"])
    address, is_read_only = about["data"]
    strides = about.get("strides")  # absent where the memory is contiguous
    is_contiguous = strides is None or 0 in dims or _is_packed(tuple(strides), dims, dtype.itemsize)
    return name_of(dtype), dims, is_contiguous, address, not is_read_only


_dtype_of = cache(np.dtype)


@cache
def name_of(dtype: Any) -> str:
    """Return the name of a dtype of NumPy or torch."""
    return str(dtype).removeprefix("torch.")


def _is_packed(strides: tuple[int, ...], dims: tuple[int, ...], item: int) -> bool:
    """Return whether strides are those of a C-contiguous array; of a dimension of one element they mean nothing."""
    for step, size in zip(reversed(strides), reversed(dims), strict=True):
        if size > 1 and step != item:
            return False
        item *= size
    return True


def _is_torch(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"


def _torch_bits(tensor: Any) -> NDArray[Any]:
    """Return the memory of a CPU tensor; NumPy knows no bfloat16, but whole numbers of its size."""
    import torch

    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[tensor.element_size()]
    array: NDArray[Any] = tensor.detach().view(whole).numpy()
    return array
