"""The feeds on a GPU: samples per second, and what a training step waits for them; DALI where it is installed."""

from __future__ import annotations

from typing import Any

from benchmarks import feed

__all__ = ["run"]


def run(machine: object) -> dict[str, Any]:
    """All measurements of `hews bench feed --device cuda`, on torch's current device whatever `machine` is."""
    del machine
    return feed.run(feed.GPU, "cuda")
