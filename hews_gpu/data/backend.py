"""The one module that knows which DataFrame library holds the numbers: pandas on the host, or cuDF on a GPU.

Text is parsed on the host (a row that is set aside needs its line); the numbers made of it are then a frame of either
library. Code elsewhere uses what both have (columns, `assign`, `sort_values`) and NumPy's functions, which CuPy's
arrays answer to; the few things that differ are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

__all__ = [
    "Backend",
    "array_of",
    "as_array_like",
    "concat",
    "names_of",
    "sort_by_time",
    "take_arrow",
    "take_pandas",
    "to_arrow",
    "to_host",
]

Backend = Literal["pandas", "cudf"]


def take_pandas(frame: pd.DataFrame, backend: Backend) -> Any:
    """A frame of the host as one of the backend's: numbers, truth values and categoricals."""
    if backend == "pandas":
        return frame
    import cudf

    return cudf.DataFrame(frame)


def take_arrow(table: pa.Table, backend: Backend) -> Any:
    """The same of an Arrow table of numbers and truth values."""
    if backend == "pandas":
        return table.to_pandas()
    import cudf

    return cudf.DataFrame.from_arrow(table)


def to_pandas(frame: Any) -> pd.DataFrame:
    """A frame of either library as pandas'."""
    host: pd.DataFrame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    return host


def to_arrow(frame: Any) -> pa.Table:
    """A frame of either library as an Arrow table, without its index."""
    if isinstance(frame, pd.DataFrame):
        return pa.Table.from_pandas(frame, preserve_index=False)
    return frame.to_arrow(preserve_index=False)


def array_of(column: Any) -> Any:
    """The values of a column without nulls, where they are: of NumPy or of CuPy."""
    return column.to_numpy() if isinstance(column, pd.Series) else column.values


def names_of(column: Any) -> list[str]:
    """The categories of a categorical column, in the order of their codes."""
    names = column.cat.categories
    return list(names) if isinstance(names, pd.Index) else names.to_arrow().to_pylist()


def to_host(array: Any) -> npt.NDArray[Any]:
    """An array of either library as NumPy's."""
    host: npt.NDArray[Any] = array if isinstance(array, np.ndarray) else array.get()
    return host


def as_array_like(array: npt.NDArray[Any], like: Any) -> Any:
    """A host array as one of the library that `like` belongs to."""
    if isinstance(like, np.ndarray):
        return array
    import cupy

    return cupy.asarray(array)


def sort_by_time(frame: Any) -> Any:
    """A frame whose rows are in the order of row_id wherever their time_s is equal, by both; numbered anew."""
    if isinstance(frame, pd.DataFrame):
        return frame.sort_values("time_s", kind="stable", ignore_index=True)
    return frame.sort_values(["time_s", "row_id"], ignore_index=True)


def concat(frames: Sequence[Any]) -> Any:
    """Frames of one library, one below the other, numbered anew."""
    if isinstance(frames[0], pd.DataFrame):
        return pd.concat(frames, ignore_index=True)
    import cudf

    return cudf.concat(frames, ignore_index=True)
