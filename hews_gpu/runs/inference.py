"""Forecasts of a model for all samples of a split, in order.

Shapes: S samples, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hews_gpu.evaluation.metrics import log_loss_each_bits
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.runs.inputs import Split

__all__ = ["DRAWN_AT_ONCE", "MICRO_BATCH", "corrections", "log_loss_bits", "probabilities"]

# Samples that go through the model at once, on any device: their activations (some 20 MB) then stay in memory that is
# used again, where larger ones are fetched from the system each time (three times slower, measured).
MICRO_BATCH = 32
DRAWN_AT_ONCE = 128  # samples per batch of the feed


def corrections(
    model: nn.Module,
    feed: DirectFeed,
    to_device: Callable[[Tensor], Tensor],
    done: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float64]:
    """What the model adds to the climatology's log-odds, float64 [S].

    Args:
        model: maps, calendar and climatology to log-odds.
        feed: of the split.
        to_device: moves a tensor to where the model is.
        done: told how many samples were scored, after each piece.
    """
    # Small results kept as tensors would lie between the large temporary ones in the heap, whose space then cannot be
    # used again: collecting them in a list took 4.8 GB on the Baltimore table, this takes 0.9.
    found = np.empty(len(feed))
    scored = 0
    model.eval()
    with torch.no_grad():
        for batch in feed.in_order(DRAWN_AT_ONCE):
            for piece in batch.slices(MICRO_BATCH):
                inputs = (piece.maps, piece.calendar, torch.zeros_like(piece.climatology))
                added = model(*(to_device(tensor) for tensor in inputs))
                found[scored : scored + len(piece)] = added.float().cpu().numpy()
                scored += len(piece)
                done(len(piece))
    return found


def probabilities(split: Split, correction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Forecasts, float64 [S]: added up in float64, so that a correction of 0 is the climatology to the bit."""
    from scipy.special import expit

    return np.asarray(expit(split.climatology + correction), dtype=np.float64)


def log_loss_bits(split: Split, correction: NDArray[np.float64]) -> float:
    """Mean log loss of a split's forecasts, bits per window; no number (nan) of a model that has lost its way."""
    if np.isnan(correction).any():
        return math.nan
    return float(log_loss_each_bits(split.samples.y, probabilities(split, correction)).mean())
