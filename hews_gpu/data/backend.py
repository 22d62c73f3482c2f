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
    "to_arrow",
    "to_backend",
    "to_host",
    "to_pandas",
]

Backend = Literal["pandas", "cudf"]


def to_backend(content: pd.DataFrame | pa.Table, backend: Backend) -> Any:
    """Return a frame or an Arrow table of the host as a frame of the backend's; not of texts, but of categoricals."""
    is_arrow = isinstance(content, pa.Table)
    if backend == "pandas":
        return content.to_pandas() if is_arrow else content
    import cudf

    return cudf.DataFrame.from_arrow(content) if is_arrow else cudf.DataFrame(content)


def to_pandas(frame: Any) -> pd.DataFrame:
    """Return a frame of either library as pandas'."""
    host: pd.DataFrame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    return host


def to_arrow(frame: Any) -> pa.Table:
    """Return a frame of either library as an Arrow table, without its index."""
    if isinstance(frame, pd.DataFrame):
        return pa.Table.from_pandas(frame, preserve_index=False)
    return frame.to_arrow(preserve_index=False)


def array_of(column: Any) -> Any:
    """Return the values of a column without nulls, where they are: of NumPy or of CuPy."""
    return column.to_numpy() if isinstance(column, pd.Series) else column.values


def names_of(column: Any) -> list[str]:
    """Return the categories of a categorical column, in the order of their codes."""
    names = column.cat.categories
    return list(names) if isinstance(names, pd.Index) else names.to_arrow().to_pylist()


def to_host(array: Any) -> npt.NDArray[Any]:
    """Return an array of either library as NumPy's."""
    host: npt.NDArray[Any] = array if isinstance(array, np.ndarray) else array.get()
    return host


def as_array_like(array: npt.NDArray[Any], like: Any) -> Any:
    """Return a host array as one of the library that `like` belongs to."""
    if isinstance(like, np.ndarray):
        return array
    import cupy

    return cupy.asarray(array)


def sort_by_time(frame: Any) -> Any:
    """Sort a frame by time_s and row_id, and number its rows anew; those of one time must be in order already."""
    if isinstance(frame, pd.DataFrame):
        return frame.sort_values("time_s", kind="stable", ignore_index=True)
    return frame.sort_values(["time_s", "row_id"], ignore_index=True)


def concat(frames: Sequence[Any]) -> Any:
    """Put frames of one library one below the other, numbered anew."""
    if isinstance(frames[0], pd.DataFrame):
        return pd.concat(frames, ignore_index=True)
    import cudf

    return cudf.concat(frames, ignore_index=True)
