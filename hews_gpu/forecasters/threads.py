"""One thread for small fits: several only wait for each other, for seconds where others use the machine too.

Measured on two shared cores: a Hawkes fit took 1.3 s with one thread and 43 s with two. One thread also makes the sums,
and so the last bits, independent of how many cores a machine has.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

__all__ = ["one_thread"]


def one_thread() -> AbstractContextManager[Any]:
    """Hold BLAS and OpenMP at one thread within a ``with`` block (threadpoolctl, which scikit-learn brings)."""
    limited: AbstractContextManager[Any] = _controller(*(name in sys.modules for name in BRING_OWN)).limit(limits=1)
    return limited


BRING_OWN = ("sklearn.ensemble", "torch")
"""They bring threads of their own, and take long to load."""


@cache
def _controller(*loaded: bool) -> Any:
    """Looks up the loaded libraries, once and again after others were loaded."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
