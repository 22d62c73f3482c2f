"""What a byte of a map becomes in the output: a table of 256 bit patterns of uint8, float16, bfloat16 or float32.

Normalization, log scaling of counts, and the rounding to a narrow type all happen once, here; a kernel only looks up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.errors import UserError, did_you_mean

__all__ = ["DTYPES", "Dtype", "Values"]

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
    def of(cls, real: NDArray[np.float64], dtype: Dtype = "float32") -> Values:
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
        """0..255 as they are."""
        return cls.of(BYTES, dtype)

    @classmethod
    def unit(cls, dtype: Dtype = "float32") -> Values:
        """0..255 as 0..1."""
        return cls.of(BYTES / 255, dtype)

    @classmethod
    def normalized(cls, mean: float, deviation: float, dtype: Dtype = "float32") -> Values:
        """(value - mean) / deviation, both in units of a byte.

        Raises:
            ValueError: a deviation that is not positive.
        """
        if not deviation > 0:
            raise ValueError(f"deviation = {deviation}: must be positive")
        return cls.of((BYTES - mean) / deviation, dtype)

    @classmethod
    def log_counts(cls, dtype: Dtype = "float32") -> Values:
        """log(1 + count); as uint8 stretched over 0..255."""
        scale = 255 / np.log(256) if dtype == "uint8" else 1.0
        return cls.of(np.log1p(BYTES) * scale, dtype)

    @property
    def is_plain(self) -> bool:
        """Whether bytes are written as they are."""
        return self.dtype == "uint8" and bool(np.array_equal(self.codes, BYTES))

    def real(self) -> NDArray[np.float64]:
        """float64[256]: the numbers that the patterns stand for."""
        if self.dtype == "bfloat16":
            return (self.codes.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
        return self.codes.view(self.dtype).astype(np.float64)
