"""What an epoch takes: time, time spent waiting for data, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

import torch

from hews_gpu.progress import peak_memory_bytes

__all__ = ["Cost"]

T = TypeVar("T")


class Cost:
    """The clock of one epoch, or of what was left of it after a stop.

    Args:
        device: where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.samples = device, 0
        self.waiting_s = 0.0
        self._began = self._trained = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def waited_for(self, batches: Iterator[T]) -> T:
        """The next of `batches`; how long that took counts as waiting for data."""
        asked = time.perf_counter()
        batch = next(batches)
        self.waiting_s += time.perf_counter() - asked
        return batch

    def trained(self) -> None:
        """The last step has been taken."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._trained = time.perf_counter()

    def row(self) -> dict[str, float | None]:
        """The columns: seconds (of all), samples_per_s (of training), waiting_s, peak_memory_mib."""
        now = time.perf_counter()
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            peak = peak_memory_bytes() / 2**20
        return {
            "seconds": now - self._began,
            "samples_per_s": self.samples / (self._trained - self._began) if self.samples else None,
            "waiting_s": self.waiting_s,
            "peak_memory_mib": round(peak, 1),
        }
