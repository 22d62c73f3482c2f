"""How far excitation carries from the steps of time that is still unknown into the window that is forecast.

Shapes: L steps of unknown time, K terms or layers, and behind them whatever they have: nothing, or neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.arrays import Float64

__all__ = ["Reach"]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far excitation carries from the steps of the unknown time; maybe by neighborhood.

    Excitation that begins at step x + blind of an incident at x is down to keep ** blind then, and of what is sent out
    from a moment within a step on, until the step ends `target` of it counts, and afterwards what `sent` says.
    """

    keep: Float64  # [K, ...] what is left after a step
    target: Float64  # [L, ...] chance that a target event of the step has itself or an offspring in the window
    sent: Float64
    """[L + 1, K, ...] share of an excitation, sent out from the begin of a step on, that leads into the window."""
    later: Float64  # [L, K, ...] the same of what an incident in the middle of a step sends out
    blind: float
    """Age at which an incident begins to set off events, in steps."""

    def begun(self, at: float) -> Float64:
        """Return the share [K, ...] of what an incident at a moment, in steps from now, sends into the window."""
        first = max(at + self.blind, 0.0)
        step = int(first)
        if step >= len(self.target):
            return np.asarray(self.sent[-1])
        until = self.keep ** (step + 1 - first)
        leads = (1 - until) * self.target[step] + until * self.sent[step + 1]
        return np.asarray(self.keep ** (first - at) * leads)
