"""The device half of the shim: chooses what compiles, launches and simulates CUDA kernels, once for a process.

`HEWS_CUDA_COMPILER` names the compiler: numba-cuda, the default, or numba-cuda-mlir, its successor. All that differs
between them is in `_shim_numba` and `_shim_mlir`; kernels import from here. How a kernel is launched again, with most
of its arguments as they were, is in `_launch_cuda`.
Under `NUMBA_ENABLE_CUDASIM=1`, set before anything is imported, kernels run as Python threads on NumPy arrays; only
numba-cuda has that simulator.

Importing this loads the CUDA compiler: only what draws on a GPU, or compiles for one, does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from numba import config

__all__ = [
    "COMPILER",
    "FLAT_AT",
    "HAS_BULK",
    "SIMULATED",
    "VARIABLE",
    "array_words",
    "begin_read",
    "cuda",
    "device",
    "fence",
    "flat_words",
    "has_arrived",
    "has_bulk_copies",
    "kernel",
    "load16",
    "send",
    "shared_words",
    "store16",
    "types",
    "write_codes",
]

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE = "HEWS_CUDA_COMPILER"
"""Environment variable that names the compiler."""
COMPILERS = {"numba-cuda": "_shim_numba", "numba-cuda-mlir": "_shim_mlir"}


def _chosen() -> str:
    """Return the compiler that is named, or the first."""
    name = os.environ.get(VARIABLE) or next(iter(COMPILERS))
    if name not in COMPILERS:
        raise ValueError(f"{VARIABLE}: is {name!r}, must be one of {', '.join(COMPILERS)}")
    if config.ENABLE_CUDASIM and name != "numba-cuda":
        raise ValueError(f"{VARIABLE}: {name} has no simulator, unset it or NUMBA_ENABLE_CUDASIM")
    return name


COMPILER = _chosen()
"""Name of the distribution that compiles kernels in this process."""
SIMULATED = bool(config.ENABLE_CUDASIM)
"""Whether kernels run in the simulator, which needs no GPU."""

_half: Any = import_module(f"{__package__}.{COMPILERS[COMPILER]}")
cuda, types = _half.cuda, _half.types
kernel, load16, store16, write_codes = _half.kernel, _half.load16, _half.store16, _half.write_codes
_bulk: list[Any] = [
    getattr(_half, name, None) for name in ("begin_read", "has_arrived", "fence", "send", "shared_words")
]
begin_read, has_arrived, fence, send, shared_words = _bulk  # the simulator has none
HAS_BULK: bool = _half.HAS_BULK
array_words, flat_words, FLAT_AT = _half.array_words, _half.flat_words, _half.FLAT_AT


def device(body: F) -> F:
    """Compile a part of a kernel that takes arrays or uses barriers; it is inlined."""
    made: F = _half.device(body)
    return made


def has_bulk_copies() -> bool:
    """Return whether the current device copies in bulk between its memories, and the compiler can say so."""
    return HAS_BULK and bool(cuda.get_current_device().compute_capability >= (9, 0))
