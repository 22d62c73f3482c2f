"""A short training run of the second reference model as on a GPU: bfloat16, torch.compile, maps from the direct feed.

Samples per second are of whole steps on a warm model, by the clock of this process. The busy share is that of the time
in which the GPU ran at least one kernel or copy, as torch's profiler saw it over some more steps; on a machine without
a GPU there is none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.feed import endless, make_source
from hews_gpu.feed.batch import Batch, Feed
from hews_gpu.feed.feeds import open_feed
from hews_gpu.reference.networks import ReferenceCnn, reference_settings

WINDOWS = 16_384
BATCHES = (32, 256)
"""The reference's own of its second stage, and one that fills a large GPU better."""
WARM, STEPS, PROFILED = 10, 200, 40


def run(*, tiny: bool) -> dict[str, Any]:
    """Take steps of both batch sizes on torch's current device; a few of a small network on the CPU, if tiny."""
    settings = reference_settings("reference2")
    if tiny:
        settings = replace(settings, height=62, width=62)
        feed = open_feed("direct", make_source(64, height=62, width=62))
        return {"rows": [measure(ReferenceCnn(settings), feed, batch=4, steps=3, profiled=1)]}
    source = make_source(WINDOWS, height=settings.height, width=settings.width, backend="cuda")
    feed = open_feed("direct", source, device="cuda")
    module = ReferenceCnn(settings).to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    model: Any = torch.compile(module, dynamic=False)  # anew for each batch size
    rows = [measure(model, feed, batch=batch, steps=STEPS, profiled=PROFILED) for batch in BATCHES]
    return {"model": "reference2", "precision": "bf16-mixed", "compiled": True, "windows": WINDOWS, "rows": rows}


def measure(model: torch.nn.Module, feed: Feed, *, batch: int, steps: int, profiled: int) -> dict[str, Any]:
    """Train for some steps: samples per second, the share of the time spent waiting for maps, the GPU's busy share."""
    device = feed.device
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    batches = endless(feed, batch)
    first = _steps(model, optimizer, batches, WARM, device)
    waited, began = feed.waited_s, time.perf_counter()
    last = _steps(model, optimizer, batches, steps, device)
    seconds = time.perf_counter() - began
    waited = feed.waited_s - waited
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError(f"the loss went from {first} to {last}")
    busy = None
    if device.type == "cuda":
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            _steps(model, optimizer, batches, profiled, device)
        spans = [event.time_range for event in seen.events() or () if str(event.device_type).endswith("CUDA")]
        busy = busy_share([(span.start, span.end) for span in spans])
    batches.close()  # type: ignore[attr-defined]
    result = {"batch": batch, "steps": steps, "samples_per_s": batch * steps / seconds, "step_s": seconds / steps}
    return {**result, "waiting_share": waited / seconds, "gpu_busy_share": busy, "loss": [first, last]}


def busy_share(spans: list[tuple[float, float]]) -> float | None:
    """Return the share of the time from the first begin to the last end that lies in a span; None for no spans."""
    if not spans:
        return None
    covered, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered / (reached - min(spans)[0])


def _steps(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], count: int, device: torch.device
) -> float:
    """Take steps and wait for them; return the mean loss, nats."""
    total = torch.zeros((), device=device)
    for _ in range(count):
        batch = next(batches)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            logit = model(batch.maps)
        loss = functional.binary_cross_entropy_with_logits(logit.float(), batch.y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach()
    return float(total) / count
