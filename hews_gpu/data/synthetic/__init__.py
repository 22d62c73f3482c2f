"""A generated city whose true probabilities are known: for the demo, and to judge models by what is achievable."""

from __future__ import annotations

from hews_gpu.data.synthetic.city import write_city
from hews_gpu.data.synthetic.truth import Truth, load_truth

__all__ = ["Truth", "load_truth", "write_city"]
