"""The only file that knows which compiler is used.

A scalar function is plain Python over integers, written once and compiled for whatever calls it: `scalar` makes it
callable from CPU loops today and is where a device compiler gets the same source. `threads` compiles a loop whose
`prange` runs on all of numba's threads; what it and `compiled` make is kept on disk (`_disk_cache`). All keep the types
of what they decorate, so that callers stay type-checked. Nothing here allows reassociated floats (`fastmath`): results
must not depend on the instruction set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.extending import overload

from hews_gpu.kernels._disk_cache import cache_on_disk

__all__ = [
    "ONE_AT_A_TIME",
    "compiled",
    "current_thread",
    "inlined",
    "max_threads",
    "multiply",
    "on_arrays",
    "prange",
    "scalar",
    "threads",
]

F = TypeVar("F", bound=Callable[..., Any])

ONE_AT_A_TIME = threading.RLock()
"""Held by whoever calls a `threads` kernel: not every one of numba's threading layers takes calls from two threads at
once, and some end the process. Nothing is lost by it, as one call keeps all cores busy."""

prange: type[range] = numba.prange
"""`range` whose iterations run on several threads inside a `threads` kernel."""


def scalar(body: F) -> F:
    """Compile a function of scalars; LLVM inlines it into every loop that calls it."""
    made: F = numba.njit(nogil=True, forceinline=True)(body)
    return made


def multiply(a: float, b: float) -> float:
    """Return the product rounded to nearest, never fused with a sum after it; a device compiler has its own."""
    return a * b


@overload(multiply, target="cpu")
def _multiply_on_cpu(a: Any, b: Any) -> Callable[..., Any]:
    """Multiply plainly: without `fastmath` nothing is fused on a CPU."""
    del a, b

    def product(a: Any, b: Any) -> Any:
        return a * b

    return product


def on_arrays(made: Any) -> Callable[..., Any]:
    """Return the plain Python body of a `scalar` function: on NumPy arrays it does the same to each element."""
    body: Callable[..., Any] = getattr(made, "py_func", made)  # where compiling is disabled it is plain already
    return body


def inlined(body: F) -> F:
    """Compile a part of a CPU kernel that takes arrays as if it were written where it is called.

    An array handed to a compiled function is counted up and down like any Python object; in two threads at once that
    costs more than the few hundred bytes such a part works on.
    """
    made: F = numba.njit(nogil=True, inline="always")(body)
    return made


def compiled(kernel: F) -> F:
    """Compile a CPU kernel without threads of its own, to be called from a `threads` kernel."""
    made: F = _njit(kernel, parallel=False)
    return made


def threads(kernel: F) -> F:
    """Compile a CPU kernel with threads over its `prange` and without the interpreter lock."""
    made: F = _njit(kernel, parallel=True)
    return made


def _njit(kernel: F, *, parallel: bool) -> Any:
    """Compile at the first call, or load what another process has compiled."""
    made = numba.njit(parallel=parallel, nogil=True)(kernel)
    if kernel.__module__.startswith(__package__):
        cache_on_disk(made)
    return made


current_thread: Callable[[], int] = numba.get_thread_id
"""Number of the thread that runs this iteration, below `max_threads()`: picks its row of a scratch array."""


def max_threads() -> int:
    """Return how many threads a kernel can run on at most: rows that a scratch array needs."""
    return int(numba.config.NUMBA_NUM_THREADS)
