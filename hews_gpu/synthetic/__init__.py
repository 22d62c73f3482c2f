"""Generated cities whose true probabilities are known: for the demo, and to judge models by what is achievable."""

from __future__ import annotations

from hews_gpu.synthetic.areal import AreaTruth
from hews_gpu.synthetic.city import write_city
from hews_gpu.synthetic.continuations import simulate_continuations
from hews_gpu.synthetic.generate import PRESETS
from hews_gpu.synthetic.simulated import City, simulate_city
from hews_gpu.synthetic.truth import Truth, load_truth

__all__ = [
    "PRESETS",
    "AreaTruth",
    "City",
    "Truth",
    "load_truth",
    "simulate_city",
    "simulate_continuations",
    "write_city",
]
