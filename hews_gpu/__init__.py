"""HEWS-GPU: a homicide and shooting early warning system, from a table of incidents to a judged forecast.

The names below are loaded when they are first used: importing the package loads neither torch nor Dask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hews_gpu.api import backtest, judge, load_run, open_city, prepare, rasterize, train
    from hews_gpu.errors import UserError

__all__ = [
    "UserError",
    "__version__",
    "backtest",
    "judge",
    "load_run",
    "open_city",
    "prepare",
    "rasterize",
    "train",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load a name of the Python interface.

    Raises:
        AttributeError: there is no such name.
    """
    if name not in __all__:
        raise AttributeError(f"module 'hews_gpu' has no attribute {name!r}")
    return getattr(import_module("hews_gpu.errors" if name == "UserError" else "hews_gpu.api"), name)


def __dir__() -> list[str]:
    return __all__
