"""Names for the array types that annotations use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Bool", "Float32", "Float64", "Int16", "Int32", "Int64", "UInt8"]

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
