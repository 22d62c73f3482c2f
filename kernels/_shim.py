"""The only file that knows which compiler is used.

A scalar function is plain Python over integers, written once and compiled for whatever calls it: `scalar` makes it
callable from CPU loops today and is where a device compiler gets the same source. `threads` compiles a loop whose
`prange` runs on all of numba's threads. Both keep the types of what they decorate, so that callers stay type-checked.
Nothing here allows reassociated floats (`fastmath`): results must not depend on the instruction set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["current_thread", "max_threads", "prange", "scalar", "threads"]

F = TypeVar("F", bound=Callable[..., Any])

prange: type[range] = numba.prange
"""`range` whose iterations run on several threads inside a `threads` kernel."""


def scalar(body: F) -> F:
    """Compile a scalar function; LLVM inlines it into every loop that calls it."""
    compiled: F = numba.njit(nogil=True)(body)
    return compiled


def threads(kernel: F) -> F:
    """Compile a CPU kernel with threads over its `prange` and without the interpreter lock."""
    compiled: F = numba.njit(parallel=True, nogil=True)(kernel)
    return compiled


current_thread: Callable[[], int] = numba.get_thread_id
"""Number of the thread that runs this iteration, below `max_threads()`: picks its row of a scratch array."""


def max_threads() -> int:
    """How many threads a kernel can run on at most: rows that a scratch array needs."""
    return int(numba.config.NUMBA_NUM_THREADS)
