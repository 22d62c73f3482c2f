"""The device half of the shim for numba-cuda, and for its simulator.

Scalars of `hews_gpu.kernels.scalars` are called from kernels as they are: the compiler takes their Python source again.
What the simulator lacks (16-byte accesses) is written out in Python for it here, and nowhere else.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import config, cuda, types

from hews_gpu.kernels import _inline_ptx
from hews_gpu.kernels._shim import multiply

__all__ = [
    "FLAT_AT",
    "HAS_BULK",
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


HAS_BULK = not SIMULATED and "alignment" in inspect.signature(cuda.shared.array).parameters
"""Whether bulk copies can be had, where the device has them: they need arrays at multiples of 16 bytes."""


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

    def _global_at(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
        """Return where in memory a word of an array is: 64 bits."""
        data = context.make_array(array_type)(context, builder, array).data
        return builder.ptrtoint(builder.gep(data, [index]), ir.IntType(64))

    def _assembled(builder: Any, text: str, constraints: str, operands: list[Any], result: Any = None) -> Any:
        """Put inline assembly where the builder is; returns what it gives."""
        kind = ir.FunctionType(result or ir.VoidType(), [operand.type for operand in operands])
        return builder.asm(kind, text, constraints, operands, True)

    @intrinsic
    def write_codes(typing: Any, tile: Any, at: Any, codes: Any, out: Any, index: Any) -> Any:
        """Write the codes of the bytes of `tile` from `at` on into words `index` and `index + 1` of `out`.

        `tile` and `codes` are in shared memory, `at` is a multiple of as many bytes as have codes of 16.
        """
        del typing, at, index

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            source = builder.add(_shared_at(context, builder, kinds[0], arguments[0]), arguments[1])
            table = _shared_at(context, builder, kinds[2], arguments[2])
            target = _global_at(context, builder, kinds[3], *arguments[3:])
            text = _inline_ptx.codes_writer(kinds[2].dtype.bitwidth // 8)
            _assembled(builder, text, _inline_ptx.CODES_OPERANDS, [source, table, target])
            return context.get_dummy_value()

        return types.void(tile, types.uint32, codes, out, types.int64), generate

    @intrinsic
    def begin_read(typing: Any, tile: Any, barrier_at: Any, base: Any, index: Any, size: Any) -> Any:
        """Have `size` bytes of `base`, from word `index` on, copied into `tile`; for one thread.

        Byte `barrier_at` of `tile`, behind what is copied, begins a barrier, which is made here.
        """
        del typing, barrier_at, index, size

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            target = _shared_at(context, builder, signature.args[0], arguments[0])
            barrier = builder.add(target, arguments[1])
            source = _global_at(context, builder, signature.args[2], *arguments[2:4])
            operands = [target, barrier, source, arguments[4]]
            _assembled(builder, _inline_ptx.READ, _inline_ptx.READ_OPERANDS, operands)
            return context.get_dummy_value()

        return types.void(tile, types.uint32, base, types.int64, types.uint32), generate

    @intrinsic
    def has_arrived(typing: Any, tile: Any, barrier_at: Any) -> Any:
        """Return 1 if what the barrier waits for has arrived, which this thread then sees; 0 after some waiting."""
        del typing, barrier_at

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            barrier = builder.add(_shared_at(context, builder, signature.args[0], arguments[0]), arguments[1])
            made = ir.IntType(32)
            return _assembled(builder, _inline_ptx.HAS_ARRIVED, _inline_ptx.HAS_ARRIVED_OPERANDS, [barrier], made)

        return types.uint32(tile, types.uint32), generate

    @intrinsic
    def fence(typing: Any) -> Any:
        """Let the copy engine see what this thread wrote into shared memory, after a barrier of threads."""
        del typing

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del signature, arguments
            _assembled(builder, _inline_ptx.FENCE, "~{memory}", [])
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def send(typing: Any, tile: Any, out: Any, index: Any, size: Any) -> Any:
        """Have the first `size` bytes of `tile` copied to word `index` of `out` and on; for one thread."""
        del typing, index, size

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source = _shared_at(context, builder, signature.args[0], arguments[0])
            target = _global_at(context, builder, signature.args[1], *arguments[1:3])
            _assembled(builder, _inline_ptx.SEND, _inline_ptx.SEND_OPERANDS, [target, source, arguments[3]])
            return context.get_dummy_value()

        return types.void(tile, out, types.int64, types.uint32), generate

    def shared_words(count: int) -> Callable[[], Any]:
        """Return what makes a uint64 array in shared memory that begins at a multiple of 16 bytes."""

        @device
        def make() -> Any:
            return cuda.shared.array(count, types.uint64, 16)

        return make
