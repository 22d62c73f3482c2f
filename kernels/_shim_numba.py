"""The device half of the shim for numba-cuda, and for its simulator.

Scalars of `hews_gpu.kernels.scalars` are called from kernels as they are: the compiler takes their Python source again.
What the simulator lacks (16-byte accesses) is written out in Python for it here, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import config, cuda, types

from hews_gpu.kernels import _inline_ptx
from hews_gpu.kernels._shim import multiply

__all__ = [
    "FLAT_AT",
    "array_words",
    "cuda",
    "device",
    "flat_words",
    "kernel",
    "load16",
    "store16",
    "types",
    "write_codes",
]

F = TypeVar("F", bound=Callable[..., Any])

SIMULATED = bool(config.ENABLE_CUDASIM)
"""Whether kernels run in the simulator, which needs no GPU."""


def device(body: F) -> F:
    """Compile a part of a kernel that takes arrays or uses barriers; it is inlined."""
    made: F = cuda.jit(device=True)(body) if SIMULATED else cuda.jit(device=True, inline="always")(body)
    return made


def kernel(body: Callable[..., None], registers: int | None = None) -> Any:
    """Compile a kernel at its first launch: `made[blocks, threads, stream](...)`; of at most so many registers."""
    return cuda.jit(body) if SIMULATED or registers is None else cuda.jit(body, max_registers=registers)


def array_words(address: int, shape: tuple[int, ...], item: int) -> list[int]:
    """Return what is passed for a C-contiguous array: two words that are 0, elements, bytes of one, address, ..

    .. shape, and strides in bytes.
    """
    strides = [item * math.prod(shape[k + 1 :]) for k in range(len(shape))]
    return [0, 0, math.prod(shape), item, address, *shape, *strides]


def flat_words(address: int, count: int, item: int) -> tuple[int, int, int, int]:
    """Return those of a flat array that differ from launch to launch, and follow `FLAT_AT`."""
    return count, item, address, count


FLAT_AT = 2
"""Word of an array at which `flat_words` begin."""


if SIMULATED:

    def load16(array: Any, index: Any) -> tuple[Any, Any]:
        """Read words `index` and `index + 1` of a uint64 array, in one access of 16 bytes: `index` is even."""
        return array[index], array[index + 1]

    def store16(array: Any, index: Any, low: Any, high: Any) -> None:
        """Write words `index` and `index + 1` of a uint64 array, in one access of 16 bytes: `index` is even."""
        array[index] = low
        array[index + 1] = high

    def write_codes(tile: Any, at: Any, codes: Any, out: Any, index: Any) -> None:
        """Write the codes of the bytes of `tile` from `at` on into words `index` and `index + 1` of `out`.

        `tile` and `codes` are in shared memory, `at` is a multiple of as many bytes as have codes of 16.
        """
        values = codes[tile.view(np.uint8)[at : at + 16 // codes.itemsize]].view(np.uint64)
        store16(out, index, *values)

else:
    from llvmlite import ir
    from numba.cuda import dispatcher
    from numba.cuda.extending import overload
    from numba.extending import intrinsic

    SHARED = 3
    """The address space of shared memory."""

    dispatcher.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small batch is no mistake of the user's

    @overload(multiply, target="cuda")
    def _multiply_on_device(a: Any, b: Any) -> Callable[..., Any]:
        """Multiply by an instruction of its own: of a plain product and a sum after it the assembler makes one."""
        del a, b

        def product(a: Any, b: Any) -> Any:
            return cuda.libdevice.dmul_rn(a, b)

        return product

    def _as_pair(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> tuple[Any, Any]:
        """Return the type of two words, and a pointer to word `index` as such a pair."""
        pair = ir.VectorType(ir.IntType(64), 2)
        data = context.make_array(array_type)(context, builder, array).data
        return pair, builder.bitcast(builder.gep(data, [index]), pair.as_pointer())

    @intrinsic
    def load16(typing: Any, array: Any, index: Any) -> Any:
        """Read words `index` and `index + 1` of a uint64 array, in one access of 16 bytes: `index` is even."""
        del typing, index

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, pointer = _as_pair(context, builder, signature.args[0], *arguments)
            value = builder.load(pointer)
            value.align = 16
            words = [builder.extract_element(value, ir.Constant(ir.IntType(32), k)) for k in (0, 1)]
            return context.make_tuple(builder, signature.return_type, words)

        return types.UniTuple(types.uint64, 2)(array, types.int64), generate

    @intrinsic
    def store16(typing: Any, array: Any, index: Any, low: Any, high: Any) -> Any:
        """Write words `index` and `index + 1` of a uint64 array, in one access of 16 bytes: `index` is even."""
        del typing, index, low, high

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pair, pointer = _as_pair(context, builder, signature.args[0], *arguments[:2])
            value = ir.Constant(pair, ir.Undefined)
            for k in (0, 1):
                value = builder.insert_element(value, arguments[2 + k], ir.Constant(ir.IntType(32), k))
            builder.store(value, pointer).align = 16
            return context.get_dummy_value()

        return types.void(array, types.int64, types.uint64, types.uint64), generate

    def _shared_at(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
        """Return where in shared memory an array begins: 32 bits."""
        data = context.make_array(array_type)(context, builder, array).data
        return builder.ptrtoint(builder.addrspacecast(data, data.type.pointee.as_pointer(SHARED)), ir.IntType(32))

    @intrinsic
    def write_codes(typing: Any, tile: Any, at: Any, codes: Any, out: Any, index: Any) -> Any:
        """Write the codes of the bytes of `tile` from `at` on into words `index` and `index + 1` of `out`.

        `tile` and `codes` are in shared memory, `at` is a multiple of as many bytes as have codes of 16.
        """
        del typing, at, index

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            tile, at, codes, out, index = arguments
            types_of = signature.args
            source = builder.add(_shared_at(context, builder, types_of[0], tile), at)
            table = _shared_at(context, builder, types_of[2], codes)
            _, target = _as_pair(context, builder, types_of[3], out, index)
            text = _inline_ptx.codes_writer(types_of[2].dtype.bitwidth // 8)
            kind = ir.FunctionType(ir.VoidType(), [source.type, table.type, target.type])
            builder.asm(kind, text, _inline_ptx.CODES_OPERANDS, [source, table, target], True)
            return context.get_dummy_value()

        return types.void(tile, types.uint32, codes, out, types.int64), generate
