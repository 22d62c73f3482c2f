"""The launch part of the shim: a kernel's arguments laid out once as the driver reads them, a few written each time.

The compiler's own launcher looks at every argument in every launch, down to each array of a named tuple. Here the
block of parameters is kept, and a launch writes address and size of what changes into it:

    array           64-bit words, as of `_shim_cuda.array_words`
    whole number    as many bytes as it has

each at a multiple of its size. That is how compilers pass them, and is not written down anywhere; so a block is used
only if its fields are those that the `.param` lines of the compiled kernel name. Where they are not, or cuda.bindings
is missing, `packed` returns None, and the compiler's launcher goes on launching.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np

from hews_gpu.kernels._shim_cuda import FLAT_AT, SIMULATED, array_words, cuda, flat_words

__all__ = ["Launch", "lay_out", "packed", "parameters"]

Launch = Callable[..., None]
"""`launch(grid, stream, *changed)`: (x, y), a handle, and (address, elements) of each array that changes."""


def parameters(ptx: str) -> list[tuple[int, int]]:
    """Return first byte and bytes of each parameter of the one kernel of a PTX text."""
    head, end, places = ptx[ptx.index(".visible .entry") :].partition("{")[0], 0, []
    for size in (int(bits) // 8 for bits in re.findall(r"\.param \.[usbf](\d+) ", head)):
        places.append((-(-end // size) * size, size))
        end = sum(places[-1])
    return places


def lay_out(arguments: Sequence[Any]) -> tuple[bytes, list[tuple[int, int]], list[int]]:
    """Return the block of parameters, begin and size of its fields in bytes, and each argument's first field.

    Args:
        arguments: NumPy whole numbers, arrays with a `__cuda_array_interface__`, C-contiguous, or named tuples of both.
    """
    kinds, values, first = "", list[int](), []
    for argument in arguments:
        first.append(len(values))
        for one in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(one, np.integer):
                kinds, values = kinds + one.dtype.char, [*values, int(one)]
            else:
                words = _words(one.__cuda_array_interface__)
                kinds, values = kinds + "q" * len(words), [*values, *words]
    sizes = [struct.calcsize(f"@{kind}") for kind in kinds]
    places = [(struct.calcsize(f"@{kinds[: k + 1]}") - size, size) for k, size in enumerate(sizes)]
    return struct.pack(f"@{kinds}", *values), places, first


def _words(about: dict[str, Any]) -> list[int]:
    """Return what is passed for a C-contiguous array."""
    words: list[int] = array_words(about["data"][0], tuple(about["shape"]), np.dtype(about["typestr"]).itemsize)
    return words


def packed(made: Any, arguments: Sequence[Any], threads: int, changing: Sequence[int]) -> Launch | None:
    """Return what launches a kernel, which was launched with such arguments before, with some of them changed.

    Args:
        made: the kernel, compiled for arguments of one type.
        arguments: as of `lay_out`; whoever calls keeps what does not change alive.
        threads: of a block.
        changing: which arguments change: arrays of one dimension.
    """
    try:
        from cuda.bindings import driver
    except ImportError:
        return None
    if SIMULATED:
        return None
    (compiled,) = made.overloads.values()
    block, places, first = lay_out(arguments)
    if parameters(compiled.inspect_asm(cuda.get_current_device().compute_capability)) != places:
        return None
    memory = ctypes.create_string_buffer(block, len(block))
    address = ctypes.addressof(memory)
    pointers = (ctypes.c_void_p * len(places))(*(address + begin for begin, _ in places))
    at = [places[first[k] + FLAT_AT][0] for k in changing]
    items = [np.dtype(arguments[k].__cuda_array_interface__["typestr"]).itemsize for k in changing]
    function = _function(compiled)
    where, start, lock, write = ctypes.addressof(pointers), driver.cuLaunchKernel, Lock(), struct.pack_into

    def launch(grid: tuple[int, int], stream: int, *changed: tuple[int, int], _alive: Any = (memory, pointers)) -> None:
        with lock:  # the driver has read the block when it returns
            for begin, item, (address, count) in zip(at, items, changed, strict=True):
                write("=qqqq", memory, begin, *flat_words(address, count, item))
            (error,) = start(function, grid[0], grid[1], 1, threads, 1, 1, 0, stream, where, 0)
            if error == driver.CUresult.CUDA_ERROR_INVALID_CONTEXT:  # this thread has not used the device yet
                cuda.current_context()
                (error,) = start(function, grid[0], grid[1], 1, threads, 1, 1, 0, stream, where, 0)
        if error:
            raise RuntimeError(f"the CUDA driver refused a launch: {error.name}")

    return launch


def _function(compiled: Any) -> int:
    """Return the driver's handle of a compiled kernel."""
    function = compiled._codelibrary.get_cufunc()
    handle = getattr(function, "kernel", function).handle
    return int(getattr(handle, "value", handle))
