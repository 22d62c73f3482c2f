"""Sums for many moments at once, of which each has the bits that it has alone.

What a running sum carries from one moment to the next, or a library of linear algebra returns for one row of many,
depends in its last bit on the others. Here sums follow the rows that are added, never the moments that are asked about.
For one moment nothing is compiled or loaded: a live forecast is over by then.

Shapes: S moments, R rows, L summands, K columns.
"""

from __future__ import annotations

import numpy as np

from hews_gpu.arrays import Float64, Int64

__all__ = ["FAR", "faded_sums", "own_faded_sums", "product"]

FAR = 32
"""Decays after which fading starts anew from another moment: until then a row counts up to exp(32) times another."""
FORGOTTEN = 900
"""Decays after which nothing is left: exp(-746) is 0."""


def faded_sums(
    when_s: Int64,
    known_s: Int64,
    time_s: Int64,
    column: Int64,
    columns: int,
    decay_s: float,
    weight: Float64 | None = None,
) -> Float64:
    """Return sums [S, K] of ``exp((time - when) / decay)`` over the rows of each column known before each moment.

    Within a stretch of `FAR` decays rows are added up as of its begin; from one stretch to the next all sums fade.

    Args:
        when_s: [S], sorted.
        known_s: [R], sorted: from when on each row counts.
        time_s: [R] since when it fades, no later.
        column: [R] 0..K-1.
        columns: K.
        decay_s: may be infinite: then rows are counted, or their weights added.
        weight: [R, K] of each row in each column, instead of a one in `column`.
    """
    if is_one := len(when_s) == 1 and weight is None:
        left = slice(*np.searchsorted(known_s, [when_s[0] - FORGOTTEN * decay_s, when_s[0]]).tolist())
        known_s, time_s, column = known_s[left], time_s[left], column[left]
    rows, value, keep, fade = _fading(when_s, known_s, time_s, decay_s)
    if is_one:
        sums = _added(column[: rows[0]], value, keep[: rows[0]], columns)
    else:
        from hews_gpu.kernels.sums_cpu import add_rows, add_weighted_rows

        sums = np.empty((len(when_s), columns))
        if weight is None:
            add_rows(rows, np.asarray(column, dtype=np.int64), value, keep, sums)
        else:
            add_weighted_rows(rows, np.ascontiguousarray(weight), value, keep, sums)
    sums *= fade[:, None]
    return sums


def own_faded_sums(
    when_s: Int64, own: Int64, known_s: Int64, time_s: Int64, column: Int64, columns: int, decay_s: float
) -> tuple[Float64, Float64]:
    """Return of such sums only that of one column at each moment, `own` [S], and that of all columns: [S] each."""
    rows, value, keep, fade = _fading(when_s, known_s, time_s, decay_s)
    edges, sums = np.flatnonzero(keep != 1.0).tolist(), np.zeros((2, len(when_s)))
    before, all_before = np.zeros(columns), 0.0
    for first, until in zip([0, *edges], [*edges, len(column)], strict=True):
        part = slice(*np.searchsorted(rows, [first, until], side="right").tolist())  # moments whose last row is in it
        order = np.argsort(column[first:until], kind="stable")
        sorted_columns = column[first:until][order]
        starts = np.searchsorted(sorted_columns, np.arange(columns + 1))
        lately = np.zeros((columns, int(np.diff(starts).max(initial=0)) + 1))  # of a column's first rows, one more each
        lately[sorted_columns, np.arange(len(order)) - starts[sorted_columns] + 1] = value[first:until][order]
        lately = lately.cumsum(axis=1)
        place = np.searchsorted(sorted_columns * len(column) + order, own[part] * len(column) + rows[part] - first)
        here = lately[own[part], place - starts[own[part]]]
        anywhere = np.concatenate([[0.0], value[first:until].cumsum()])
        sums[:, part] = before[own[part]] + here, all_before + anywhere[rows[part] - first]
        if until < len(column):
            before, all_before = (before + lately[:, -1]) * keep[until], (all_before + anywhere[-1]) * keep[until]
    return sums[0] * fade, sums[1] * fade


def _fading(when_s: Int64, known_s: Int64, time_s: Int64, decay_s: float) -> tuple[Int64, Float64, Float64, Float64]:
    """Return how many rows are known before each moment [S], and how all that fades from stretch to stretch.

    That is what each row adds as of the begin of its stretch [R], what it leaves of all that was added before [R], and
    what is left at each moment of the sums as of the begin of its last row's stretch [S].
    """
    base_s = np.zeros_like(known_s) if np.isinf(decay_s) else known_s - known_s % max(1, int(FAR * decay_s))
    rows = np.searchsorted(known_s, when_s, side="left")
    value = np.exp((time_s - base_s) / decay_s)
    keep = np.exp(np.diff(base_s, prepend=base_s[:1]) / -decay_s)
    last_s = np.concatenate([[0], base_s])[rows]
    fade = np.where(rows > 0, np.exp(np.minimum(last_s - when_s, 0) / decay_s), 0.0)
    return rows, value, keep, fade


def _added(column: Int64, value: Float64, keep: Float64, columns: int) -> Float64:
    """Return what all rows add up to [1, K], by the sums of `kernels.sums_cpu.add_rows`."""
    before, edges = np.zeros(columns), np.flatnonzero(keep != 1.0).tolist()
    for first, until in zip([0, *edges], [*edges, len(column)], strict=True):
        lately = np.bincount(column[first:until], weights=value[first:until], minlength=columns)
        before = (before + lately) * keep[until] if until < len(column) else before + lately
    return before[None]


def product(a: Float64, b: Float64) -> Float64:
    """Return the product [S, K] of [S, L] and [L, K], each row added up in order."""
    if len(a) == 1 and len(b):
        return (a.T * b).cumsum(axis=0)[-1:]
    from hews_gpu.kernels.sums_cpu import multiply_matrices

    out = np.zeros((len(a), b.shape[1]))
    multiply_matrices(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
    return out
