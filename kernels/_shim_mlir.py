"""The device half of the shim for numba-cuda-mlir, the successor of numba-cuda.

It shares numba-cuda's language and typing, but no object: its types are its own, and it knows nothing of functions that
numba compiles for a CPU. So a scalar of `hews_gpu.kernels.scalars` is compiled here as a device function of its own, at
the first kernel that calls it. Device functions are inlined into kernels by their Python source; scalars are called,
and inlined only afterwards, as the hundred of them in the search for a polygon would take minutes otherwise.

What it compiles is seen on the interpreter of PTX to give the bits of the reference. It has never run on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from numba.core.dispatcher import Dispatcher
from numba_cuda_mlir import cuda, lowering_utilities
from numba_cuda_mlir._mlir.dialects import llvm
from numba_cuda_mlir._mlir.extras import types as bits
from numba_cuda_mlir.extending import lower_builtin, refresh_registries, type_callable, typeof_impl
from numba_cuda_mlir.numba_cuda import config, types

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

config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small batch is no mistake of the user's

_space_of_memory = lowering_utilities.memref_llvm_address_space


def _space(memory: Any) -> int:
    """Return the address space of an array: any (0) where it is not known, which the assembler then finds out.

    A shared array that a device function takes is of no known memory. Version 0.6 takes it for global memory in atomic
    operations, and 0 for its address.
    """
    return 0 if memory.memory_space is None else int(_space_of_memory(memory))


lowering_utilities.memref_llvm_address_space = _space


def device(body: F) -> F:
    """Compile a part of a kernel that takes arrays or uses barriers; it is inlined."""
    made: F = cuda.jit(device=True, inline="always", annotations_as_signatures=False)(body)
    return made


def kernel(body: Callable[..., None], registers: int | None = None) -> Any:
    """Compile a kernel at its first launch: `made[blocks, threads, stream](...)`; of at most so many registers."""
    limit = {} if registers is None else {"max_registers": registers}
    return cuda.jit(annotations_as_signatures=False, **limit)(body)


@device
def load16(array: Any, index: Any) -> tuple[Any, Any]:
    """Read words `index` and `index + 1` of a uint64 array, in one access of 16 bytes: `index` is even."""
    pair = cuda.vector.load(array, index, 2, 16)
    return pair.x, pair.y


@device
def store16(array: Any, index: Any, low: Any, high: Any) -> None:
    """Write words `index` and `index + 1` of a uint64 array, in one access of 16 bytes: `index` is even."""
    cuda.vector.store(array, index, cuda.uint64x2(low, high), 16)


HAS_BULK = True
"""Whether bulk copies can be had, where the device has them."""
SHARED = 3
"""The address space of shared memory."""


def _shared_at(memory: Any, at: Any) -> Any:
    """Return where in shared memory byte `at` of an array is: 32 bits."""
    begin = llvm.addrspacecast(llvm.PointerType.get(SHARED), lowering_utilities.memref_data_pointer(memory))
    return llvm.ptrtoint(bits.i32(), lowering_utilities.llvm_ptr_add_bytes(begin, at))


def _global_at(memory: Any, index: Any) -> Any:
    """Return a pointer to a word of an array."""
    return lowering_utilities.memref_to_llvm_ptr(memory, [index], memory.type.element_type)


def _assembled(text: str, constraints: str, operands: list[Any], result: Any = None) -> Any:
    """Put inline assembly where code is made; returns what it gives."""
    return llvm.inline_asm(result, operands, text, constraints, has_side_effects=True)


def _generated(result: Any = types.none) -> Callable[[F], F]:
    """Replace calls of the decorated function in kernels by what it generates: a value of type `result`."""

    def decorate(generate: F) -> F:
        @type_callable(generate)
        def type_of(context: Any) -> Callable[..., Any]:
            del context
            return lambda *arguments: result

        @lower_builtin(generate, types.VarArg(types.Any))
        def lower(lower: Any, target: Any, arguments: Any, keywords: Any) -> None:
            del keywords
            lower.store_var(target, generate(*lower.load_vars(arguments)))

        return generate

    return decorate


@_generated()
def write_codes(tile: Any, at: Any, codes: Any, out: Any, index: Any) -> None:
    """Write the codes of the bytes of `tile` from `at` on into words `index` and `index + 1` of `out`.

    `tile` and `codes` are in shared memory, `at` is a multiple of as many bytes as have codes of 16.
    """
    text = _inline_ptx.codes_writer(codes.type.element_type.width // 8)
    _assembled(text, _inline_ptx.CODES_OPERANDS, [_shared_at(tile, at), _shared_at(codes, 0), _global_at(out, index)])


@_generated()
def begin_read(tile: Any, barrier_at: Any, base: Any, index: Any, size: Any) -> None:
    """Have `size` bytes of `base`, from word `index` on, copied into `tile`; for one thread.

    Byte `barrier_at` of `tile`, behind what is copied, begins a barrier, which is made here.
    """
    operands = [_shared_at(tile, 0), _shared_at(tile, barrier_at), _global_at(base, index), size]
    _assembled(_inline_ptx.READ, _inline_ptx.READ_OPERANDS, operands)


@_generated(types.uint32)
def has_arrived(tile: Any, barrier_at: Any) -> Any:
    """Return 1 if what the barrier waits for has arrived, which this thread then sees; 0 after some waiting."""
    operands = [_shared_at(tile, barrier_at)]
    return _assembled(_inline_ptx.HAS_ARRIVED, _inline_ptx.HAS_ARRIVED_OPERANDS, operands, bits.i32())


@_generated()
def fence() -> None:
    """Let the copy engine see what this thread wrote into shared memory, after a barrier of threads."""
    _assembled(_inline_ptx.FENCE, "~{memory}", [])


@_generated()
def send(tile: Any, out: Any, index: Any, size: Any) -> None:
    """Have the first `size` bytes of `tile` copied to word `index` of `out` and on; for one thread."""
    operands = [_global_at(out, index), _shared_at(tile, 0), size]
    _assembled(_inline_ptx.SEND, _inline_ptx.SEND_OPERANDS, operands)


def shared_words(count: int) -> Callable[[], Any]:
    """Return what makes a uint64 array in shared memory that begins at a multiple of 16 bytes."""

    @device
    def make() -> Any:
        return cuda.shared.array(count, types.uint64, 16)

    return make


def array_words(address: int, shape: tuple[int, ...], item: int) -> list[int]:
    """Return what is passed for a C-contiguous array, MLIR's memref: address, again, offset, shape, strides.

    The offset and the strides are in elements.
    """
    del item
    return [address, address, 0, *shape, *(math.prod(shape[k + 1 :]) for k in range(len(shape)))]


def flat_words(address: int, count: int, item: int) -> tuple[int, int, int, int]:
    """Return those of a flat array that differ from launch to launch, and follow `FLAT_AT`."""
    del item
    return address, address, 0, count


FLAT_AT = 0
"""Word of an array at which `flat_words` begin."""


def _called(function: Any, body: Callable[..., Any]) -> Any:
    """Have kernels that call a function call this body, compiled for the device."""
    made = cuda.jit(device=True, inline="never", annotations_as_signatures=False)(body)

    @lower_builtin(function, types.VarArg(types.Any))
    def generate(lower: Any, target: Any, arguments: Any, keywords: Any) -> None:
        lower.store_var(target, lower.build_user_defined_function_call(target, made, arguments, keywords))

    refresh_registries(typing=False)
    return made


SCALARS: dict[Any, Any] = {}
"""By what numba makes of it for a CPU, what is made of a scalar here."""


@typeof_impl.register(Dispatcher)
def _type_of_scalar(function: Any, context: Any) -> Any:
    """Return the type of a function that numba compiles for a CPU: that of the device function of the same source."""
    del context
    if function not in SCALARS:
        SCALARS[function] = _called(function, function.py_func)
    return SCALARS[function]._numba_type_


def _product(a: Any, b: Any) -> Any:
    """Multiply by an instruction of its own: of a plain product and a sum after it the assembler makes one."""
    return cuda.libdevice.dmul_rn(a, b)


_called(multiply, _product)


@type_callable(multiply)
def _type_of_product(context: Any) -> Callable[..., Any]:
    del context

    def of(a: Any, b: Any) -> Any:
        del a, b
        return types.float64

    return of
