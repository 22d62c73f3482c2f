"""The vector half of the shim: 16, 32 or 64 bytes of an array at once, where LLVM would not find them in a loop.

A loop over bytes of two arrays is vectorized only behind a test that they do not overlap, with a remainder of single
bytes after it, and arithmetic on pixels ends up in lanes of 32 bits; for rows of 27 bytes that costs more than the
work. Here a row is one load, a few operations in lanes of 16 bits and one store. All of it is plain LLVM vector code
without an instruction set in it: each processor gets the widest registers that it has, or several narrow ones.

Arrays are C-contiguous and of bytes, places in them are counted in bytes from their beginning, whatever their shape;
nothing is checked. No alignment is asked for unless said.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

__all__ = [
    "BLEND_BYTES",
    "COPIES",
    "FLIP_BYTES",
    "MOVE_BYTES",
    "address",
    "blend_lanes",
    "flip",
    "move_past_cache",
    "settle",
    "spread",
]

FLIP_BYTES = 16
"""A lit outline touches a third fewer words of 16 bytes than of 8, and not many more than of 32 or 64."""
BLEND_BYTES = 32
"""A row of the default disc is 27 bytes."""
MOVE_BYTES = 64
"""A cache line, which is also the widest register there is."""
COPIES = 4
"""Maps that are begun at once: each line of the base is read for all of them, and memory takes lines in several places
sooner than in one. Of more maps, the first would have left the cache before it is drawn."""

BYTE, SHORT = ir.IntType(8), ir.IntType(16)


def _vector_at(context: Any, builder: Any, kind: Any, array: Any, at: Any, lanes: int) -> Any:
    """Return a pointer to so many bytes of an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), ir.VectorType(BYTE, lanes).as_pointer())


@intrinsic
def move_past_cache(typing: Any, source: Any, at: Any, target: Any, to: Any) -> Any:
    """Copy `MOVE_BYTES` bytes to a multiple of as many in memory (see `address`), leaving the caches alone.

    Other threads see them only after `settle`.
    """
    del typing, at, to

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, at, target, to = arguments
        value = builder.load(_vector_at(context, builder, signature.args[0], source, at, MOVE_BYTES))
        value.align = 1
        store = builder.store(value, _vector_at(context, builder, signature.args[2], target, to, MOVE_BYTES))
        store.align = MOVE_BYTES
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


@intrinsic
def settle(typing: Any) -> Any:
    """Wait until all that this thread wrote can be seen by others."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature, arguments
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def address(typing: Any, array: Any, at: Any) -> Any:
    """Return where in memory byte `at` of the array is."""
    del typing, at

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(builder.gep(data, [arguments[1]]), ir.IntType(64))

    return types.int64(array, types.int64), generate


@intrinsic
def spread(typing: Any, source: Any, at: Any, target: Any, to: Any, apart: Any) -> Any:
    """Copy `MOVE_BYTES` bytes to `COPIES` places, `apart` bytes from one to the next."""
    del typing, at, to, apart

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, at, target, to, apart = arguments
        value = builder.load(_vector_at(context, builder, signature.args[0], source, at, MOVE_BYTES))
        value.align = 1
        for _ in range(COPIES):
            place = _vector_at(context, builder, signature.args[2], target, to, MOVE_BYTES)
            builder.store(value, place).align = 1
            to = builder.add(to, apart)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.int64), generate


@intrinsic
def flip(typing: Any, target: Any, to: Any, change: Any, at: Any) -> Any:
    """Flip in `FLIP_BYTES` bytes of `target` the bits that are set in as many of `change`."""
    del typing, to, at

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, to, change, at = arguments
        pointer = _vector_at(context, builder, signature.args[0], target, to, FLIP_BYTES)
        flips = builder.load(_vector_at(context, builder, signature.args[2], change, at, FLIP_BYTES))
        value = builder.load(pointer)
        flips.align = value.align = 1
        builder.store(builder.xor(value, flips), pointer).align = 1
        return context.get_dummy_value()

    return types.void(target, types.int64, change, types.int64), generate


@intrinsic
def blend_lanes(typing: Any, target: Any, to: Any, above: Any, above_at: Any, alpha: Any, alpha_at: Any) -> Any:
    """Blend `BLEND_BYTES` bytes of `above` over as many of `target`, with as many alphas, as `scalars.blend` does.

    With t = below * (255 - alpha) + above * alpha + 128 the result is (t + (t >> 8)) >> 8, and no t is above 65,407. So
    all of it may be done modulo 65,536, where t is also (below << 8) - below + 128 + alpha * (above - below).
    """
    del typing, to, above_at, alpha_at

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = [
            _vector_at(context, builder, signature.args[i], arguments[i], arguments[i + 1], BLEND_BYTES)
            for i in (0, 2, 4)
        ]
        lanes = ir.VectorType(SHORT, BLEND_BYTES)
        values = [builder.load(pointer) for pointer in pointers]
        for value in values:
            value.align = 1
        below, above, alpha = (builder.zext(value, lanes) for value in values)
        eight, half = (ir.Constant(lanes, [number] * BLEND_BYTES) for number in (8, 128))
        unweighted = builder.add(builder.sub(builder.shl(below, eight), below), half)
        weighted = builder.add(unweighted, builder.mul(alpha, builder.sub(above, below)))
        rounded = builder.lshr(builder.add(weighted, builder.lshr(weighted, eight)), eight)
        builder.store(builder.trunc(rounded, ir.VectorType(BYTE, BLEND_BYTES)), pointers[0]).align = 1
        return context.get_dummy_value()

    signature = types.void(target, types.int64, above, types.int64, alpha, types.int64)
    return signature, generate
