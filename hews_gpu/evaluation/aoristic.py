"""Aoristic weights: incidents of which only a span is known in which they happened, each moment of it as likely.

A burglary between the evening and the morning is one burglary, spread over the night. (Ratcliffe & McCullagh, 1998,
International Journal of Geographical Information Science 12; Ratcliffe, 2002, Journal of Quantitative Criminology 18.)
For what is described: pairs, zones, charts. Forecasts and their labels take a row as it begins.

Shapes: E rows, P pairs, T bands of time, W weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hews_gpu.arrays import Float64, Int64

__all__ = ["band_chances", "mean_clipped", "spread"]


def spread(time_s: Int64, span_s: Int64, width_s: int) -> tuple[Int64, Int64, Float64]:
    """Return row, window and weight [W]: windows of a width, counted from 1970, that rows may have happened in.

    Args:
        time_s: begins [E].
        span_s: lengths of the spans [E]; a row without one is in one window as a whole.
        width_s: of the windows.
    """
    first, last = time_s // width_s, (time_s + np.maximum(span_s - 1, 0)) // width_s
    times = last - first + 1
    row = np.repeat(np.arange(len(time_s)), times)
    window = np.arange(len(row)) - np.repeat(np.cumsum(times) - times - first, times)
    begin, end = (edge_s[row] for edge_s in (time_s, time_s + span_s))
    inside = np.minimum(end, (window + 1) * width_s) - np.maximum(begin, window * width_s)
    return row, window, np.where(span_s[row] > 0, inside / np.maximum(span_s[row], 1), 1.0)


def band_chances(apart_s: Int64, span_s: Int64, other_s: Int64, edges_s: Sequence[int]) -> Float64:
    """Return how likely [P, T] two incidents are so far apart in time; a band holds its lower end.

    Args:
        apart_s: begin of the one minus begin of the other [P].
        span_s: of the one [P].
        other_s: span of the other [P]; of each pair one is not zero.
        edges_s: of the bands [T + 1].
    """
    low, longer, shorter = apart_s - other_s, np.maximum(span_s, other_s), np.minimum(span_s, other_s)
    below = {edge: _chance_below(edge - low, longer, shorter) for end_s in edges_s for edge in (end_s, -end_s)}
    return np.stack([below[b] - below[a] + below[-a] - below[-b] for a, b in pairwise(edges_s)], axis=-1)


def _chance_below(x_s: Int64, longer_s: Int64, shorter_s: Int64) -> Float64:
    """Return how likely [P] the sum of two moments, each as likely anywhere within its length, is less than x."""
    x = np.clip(x_s, 0, longer_s + shorter_s).astype(np.float64)

    def area(u: Float64) -> Float64:
        return np.square(np.maximum(u, 0)) / 2

    both = (area(x) - area(x - longer_s) - area(x - shorter_s)) / np.maximum(longer_s * shorter_s, 1)
    return np.asarray(np.where(shorter_s > 0, both, x / np.maximum(longer_s, 1)), dtype=np.float64)


def mean_clipped(upper_s: Int64, span_s: Int64, most_s: int) -> Float64:
    """Return the mean [E] of what lies between 0 and `most_s`, of values from `upper - span` to `upper`."""

    def area(u: Float64) -> Float64:
        inside = np.clip(u, 0, most_s)
        return np.asarray(inside**2 / 2 + most_s * np.maximum(u - most_s, 0))

    mean = (area(upper_s.astype(np.float64)) - area((upper_s - span_s).astype(np.float64))) / np.maximum(span_s, 1)
    return np.asarray(np.where(span_s > 0, mean, np.clip(upper_s, 0, most_s)), dtype=np.float64)
