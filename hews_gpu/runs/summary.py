"""The table that `hews evaluate` and `hews demo` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hews_gpu.reference.evaluate import leaky_table

__all__ = ["skill_table", "summary_table"]

HEADING = ["forecast", "AUC", "average precision", "Brier", "log loss, bits", "Brier skill", "log skill, bits [95 %]"]
NAMES = {"base_rate": "base rate", "climatology": "climatology", "model": "model", "oracle": "oracle (best possible)"}


def summary_table(metrics: Mapping[str, Any]) -> tuple[str, list[list[str]]]:
    """A title, and what `evaluate` found as rows of text, heading first: of a leaky run never a skill."""
    if metrics.get("leaky"):
        return f"{metrics['recipe']}: maps told apart under a leaky protocol, no forecast", leaky_table(metrics)
    return "Skill on the test split", skill_table(metrics)


def skill_table(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The test split's scores as rows of text, heading first: each baseline, the model, the oracle where there is one.

    Args:
        metrics: what `evaluate` returns.
    """
    baselines = metrics["baselines"]
    model = {**metrics["splits"]["test"], "log_skill_bits_interval": metrics["log_skill_bits_interval"]}
    found = {**baselines, "model": model}
    return [HEADING, *(_row(title, found[name]) for name, title in NAMES.items() if name in found)]


def _row(title: str, scores: Mapping[str, Any]) -> list[str]:
    plain = [f"{scores[key]:.4f}" for key in ("auc", "average_precision", "brier", "log_loss_bits")]
    low, high = scores["log_skill_bits_interval"]
    skill = f"{scores['log_skill_bits']:+.4f} [{low:+.4f}, {high:+.4f}]"
    if title == NAMES["climatology"]:  # the others are measured against it
        skill = "0"
    return [title, *plain, f"{scores['brier_skill']:+.4f}", skill]
