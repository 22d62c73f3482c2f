"""On which side of a line a point lies, exactly, with nothing but float64: scalar functions for every compiler.

The sign of a 2 x 2 determinant decides. It is first computed in the ordinary way; only where its size is below a proven
bound on its rounding error is it computed again without any error, as a sum of float64 numbers that do not overlap.
Both follow J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates" (1997).

Every product goes through `multiply`: a compiler that fused a product with the sum after it would leave out a rounding
that the proofs count on, and a CPU and a GPU would then disagree. Exact while no product over- or underflows, which
takes coordinates beyond 1e150 or differences below 1e-140.
"""

from __future__ import annotations

from hews_gpu.kernels._shim import multiply, scalar

__all__ = ["SIGN_ERROR", "exact_side", "side"]

SIGN_ERROR = (3.0 + 16.0 * 2.0**-53) * 2.0**-53
"""Bound on the relative error of the plain determinant (ccwerrboundA of the paper)."""
SPLITTER = 2.0**27 + 1.0
"""Cuts a 53-bit number into two halves of 26 bits, whose products are exact."""


@scalar
def two_sum(a: float, b: float) -> tuple[float, float]:
    """Return the rounded sum and what rounding took away."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


@scalar
def halves(a: float) -> tuple[float, float]:
    """Return high and low half: a = high + low exactly, 26 bits each."""
    c = multiply(SPLITTER, a)
    high = c - (c - a)
    return high, a - high


@scalar
def two_product(a: float, b: float) -> tuple[float, float]:
    """Return the rounded product and what rounding took away."""
    product = multiply(a, b)
    a_high, a_low = halves(a)
    b_high, b_low = halves(b)
    rest = product - multiply(a_high, b_high)
    rest = rest - multiply(a_low, b_high)
    rest = rest - multiply(a_high, b_low)
    return product, multiply(a_low, b_low) - rest


@scalar
def cross(ax: float, ay: float, bx: float, by: float) -> tuple[float, float, float, float]:
    """Return the determinant ax * by - ay * bx as a sum of four numbers that do not overlap, smallest first."""
    p1, p0 = two_product(ax, by)
    q1, q0 = two_product(ay, bx)
    carry, r0 = two_sum(p0, -q0)
    p1, middle = two_sum(p1, carry)
    carry, r1 = two_sum(middle, -q1)
    r3, r2 = two_sum(p1, carry)
    return r0, r1, r2, r3


@scalar
def grow(e0: float, e1: float, e2: float, e3: float, b: float) -> tuple[float, float, float, float, float]:
    """Add one number to a sum of four that do not overlap; return five that do not, smallest first."""
    carry, r0 = two_sum(b, e0)
    carry, r1 = two_sum(carry, e1)
    carry, r2 = two_sum(carry, e2)
    r4, r3 = two_sum(carry, e3)
    return r0, r1, r2, r3, r4


@scalar
def leading(a: float, b: float) -> float:
    """Return `a` unless it is zero, else `b`."""
    return a if a != 0.0 else b


@scalar
def exact_side(ax: float, ay: float, bx: float, by: float, x: float, y: float) -> float:
    """Return a number with the exact sign of `side`: the largest part of the determinant as twelve apart."""
    e0, e1, e2, e3 = cross(ax, ay, bx, by)
    f0, f1, f2, f3 = cross(bx, by, x, y)
    g0, g1, g2, g3 = cross(x, y, ax, ay)
    s0, e0, e1, e2, e3 = grow(e0, e1, e2, e3, f0)
    s1, e0, e1, e2, e3 = grow(e0, e1, e2, e3, f1)
    s2, e0, e1, e2, e3 = grow(e0, e1, e2, e3, f2)
    s3, s4, s5, s6, s7 = grow(e0, e1, e2, e3, f3)
    t0, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s0)
    t1, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s1)
    t2, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s2)
    t3, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s3)
    t4, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s4)
    t5, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s5)
    t6, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s6)
    t7, g0, g1, g2, g3 = grow(g0, g1, g2, g3, s7)
    high = leading(leading(g3, g2), leading(g1, g0))
    low = leading(leading(leading(t7, t6), leading(t5, t4)), leading(leading(t3, t2), leading(t1, t0)))
    return leading(high, low)


@scalar
def side(ax: float, ay: float, bx: float, by: float, x: float, y: float) -> float:
    """Return a positive number where (x, y) is to the left of the line from a to b, negative to the right, 0 on it."""
    left = multiply(ax - x, by - y)
    right = multiply(ay - y, bx - x)
    determinant = left - right
    bound = multiply(SIGN_ERROR, abs(left) + abs(right))
    if determinant >= bound or -determinant >= bound:
        return determinant
    return exact_side(ax, ay, bx, by, x, y)
