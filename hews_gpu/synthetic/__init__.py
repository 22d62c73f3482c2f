"""Synthetic cities whose true probabilities are known: for the demo, and to judge models by what is achievable."""

from __future__ import annotations

from hews_gpu.synthetic.city import PRESETS, SimulatedCity, simulate_city, write_city
from hews_gpu.synthetic.truth_file import CityTruth, load_truth

__all__ = ["PRESETS", "CityTruth", "SimulatedCity", "load_truth", "simulate_city", "write_city"]
