"""Training steps of every recipe's network on a GPU: operation by operation and as a CUDA graph, on drawn maps.

First both ways take some steps from the same weights: they must see the same batches to the bit, and their losses may
differ by rounding. Then they take steps in turn, on a cached batch and on those of the direct feed: the ratio is what
the feed costs. The busy share is that of the time in which the GPU ran at least one kernel or copy, as torch's profiler
saw it over some more steps. Without a GPU there is neither a graph nor a busy share.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import ratios, time_in_turn
from benchmarks.feed import AUGMENT, endless, make_source
from benchmarks.gpu.raster import counting, pairs_for
from hews_gpu.feed.batch import FEATURES, Batch, Feed, MapSource
from hews_gpu.feed.feeds import open_feed
from hews_gpu.forecasters.cnn_network import SmallCnn, SmallCnnSettings
from hews_gpu.reference.networks import ReferenceCnn, reference_settings
from hews_gpu.training.step_graph import StepGraph, set_learning_rate

EAGER, GRAPH = "operations", "graph"
RATE = 1e-4
CHECKED = 8
"""Steps whose batches and losses are compared: some before the capture, and some replayed."""
ALIKE = 1e-2
"""Nats by which the losses of these may differ: bfloat16 has three digits, and the optimizer rounds otherwise."""


class Case(NamedTuple):
    """A recipe's network and its steps."""

    recipe: str
    batch: int
    piece: int
    """Samples that go through the network at once."""
    augmented: bool = False
    compiled: bool = False
    """With torch.compile, in bfloat16."""


CASES = (
    Case("forecast", batch=128, piece=32),
    Case("reference1", batch=20, piece=64),
    Case("reference2", batch=20, piece=64),
    Case("reference2", batch=32, piece=64, augmented=True),
    Case("reference2", batch=256, piece=256, compiled=True),  # not a recipe's: one that fills a large GPU better
)
TINY = (Case("forecast", batch=4, piece=2), Case("reference2", batch=4, piece=4, augmented=True))


class Scale(NamedTuple):
    """How much is measured."""

    windows: int
    steps: int
    """Of one round."""
    rounds: int
    profiled: int
    """Steps under the profiler."""


GPU = Scale(windows=16_384, steps=40, rounds=7, profiled=40)
LITTLE = Scale(windows=64, steps=1, rounds=3, profiled=1)


def run(*, tiny: bool) -> dict[str, Any]:
    """Measure each case on torch's current device; a little of some on the CPU, if tiny."""
    rows = [measure(case, LITTLE, "cpu") for case in TINY] if tiny else [measure(case, GPU, "cuda") for case in CASES]
    failed = [f"{row['recipe']}, {row['batch']}: {row[GRAPH]['failed']}" for row in rows if "failed" in row[GRAPH]]
    return {"rows": rows} | ({"failed": "; ".join(failed)} if failed else {})


def task(recipe: str, windows: int, device: str) -> tuple[torch.nn.Module, MapSource]:
    """Return a recipe's network and windows of a random city; on a CPU small ones."""
    backend: Any = "cuda" if device == "cuda" else "numba"
    if recipe != "forecast":
        settings = reference_settings(recipe)  # type: ignore[arg-type]
        settings = settings if device == "cuda" else replace(settings, height=62, width=62)
        source = make_source(windows, height=settings.height, width=settings.width, backend=backend)
        return ReferenceCnn(settings), source
    random, rasterizer = np.random.default_rng(0), counting(backend)
    source = MapSource(
        rasterizer=rasterizer,
        pairs=pairs_for(rasterizer, windows),
        y=(random.random(windows) < 0.3).astype(np.float32),
        calendar=random.random((windows, FEATURES)).astype(np.float32),
        climatology=np.full(windows, -1.0, np.float32),
    )
    (height, width, channels), steps = rasterizer.shape, rasterizer.steps
    sizes = SmallCnnSettings(steps=steps, groups=channels // steps, height=height, width=width, calendar=FEATURES)
    return SmallCnn(sizes), source


class Side:
    """A network that takes steps, in one of the two ways."""

    def __init__(self, case: Case, module: torch.nn.Module, feed: Feed, way: str) -> None:
        self.case, self.feed = case, feed
        module = copy.deepcopy(module).to(feed.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: Any = torch.compile(module, dynamic=False) if case.compiled else module
        self.optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
        self.loss = torch.zeros((), device=feed.device)  # sum over the steps, nats
        self.stream = endless(feed, case.batch, AUGMENT if case.augmented else None)
        is_graph = way == GRAPH and feed.device.type == "cuda"
        self.take: Callable[[Iterable[Batch]], None] = StepGraph(self.learn, self.optimizer) if is_graph else self.learn

    def learn(self, batches: Iterable[Batch]) -> None:
        """Learn from the batch of a step."""
        for batch in batches:
            self.optimizer.zero_grad()
            for piece in batch.slices(self.case.piece):
                more = (piece.calendar, piece.climatology) if self.case.recipe == "forecast" else ()
                with torch.autocast(piece.maps.device.type, torch.bfloat16, enabled=self.case.compiled):
                    logit = self.model(piece.maps, *more)
                of_piece = functional.binary_cross_entropy_with_logits(logit.float(), piece.y, reduction="sum")
                loss = of_piece / self.case.batch
                loss.backward()  # type: ignore[no-untyped-call]
                self.loss += loss.detach()
            self.optimizer.step()

    def steps(self, count: int, cached: Batch | None = None) -> None:
        """Take steps on the next batches of the feed, or on a cached one, and wait for them."""
        for k in range(count):
            set_learning_rate(self.optimizer, RATE * (1 + k % 2))
            self.take([next(self.stream) if cached is None else cached])
        if self.feed.device.type == "cuda":
            torch.cuda.synchronize(self.feed.device)

    def watched(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Take the first steps; return the maps and labels that were seen, and the sum of the losses after each."""
        seen, losses = [], []
        for k in range(CHECKED):
            batch = next(self.stream)
            set_learning_rate(self.optimizer, RATE * (1 + k))
            self.take([batch])
            kept = self.take.batches[0] if isinstance(self.take, StepGraph) else batch
            seen += [kept.maps.clone(), kept.y.clone()]
            losses.append(self.loss.clone())
        return seen, losses

    def busy_share(self, count: int) -> float | None:
        """Return the share of the time of some steps in which the GPU was busy; None without one."""
        if self.feed.device.type != "cuda":
            return None
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            self.steps(count)
        spans = [event.time_range for event in seen.events() or () if str(event.device_type).endswith("CUDA")]
        return busy_share([(span.start, span.end) for span in spans])


def measure(case: Case, scale: Scale, device: str) -> dict[str, Any]:
    """Compare both ways, then time them; a graph that fails, or learns something else, is told and left out."""
    module, source = task(case.recipe, scale.windows, device)
    sides = {way: Side(case, module, open_feed("direct", source, device=device), way) for way in (EAGER, GRAPH)}
    row: dict[str, Any] = {**case._asdict(), "steps": scale.steps, GRAPH: {}}
    expected = sides[EAGER].watched()
    try:
        row["losses_apart"] = require_same(expected, sides[GRAPH].watched())
    except (AssertionError, RuntimeError) as error:
        row[GRAPH] = {"failed": " ".join(str(error).split())[:300]}
        del sides[GRAPH]
    cached = next(sides[EAGER].stream)
    cached = replace(cached, maps=cached.maps.clone())  # the feed draws into its memory again
    works: dict[str, Callable[[], object]] = {}
    for way, side in sides.items():
        works |= {f"{way}, cached": partial(side.steps, scale.steps, cached), way: partial(side.steps, scale.steps)}
    timings = time_in_turn(works, rounds=scale.rounds)
    for way, side in sides.items():
        over, step_s = ratios(timings, way)[f"{way}, cached"], timings[way].median_s / scale.steps
        row[way] = {
            "step_s": step_s,
            "samples_per_s": case.batch / step_s,
            "step_over_cached": over["median"],
            "lowest_highest": [over["low"], over["high"]],
            "gpu_busy_share": side.busy_share(scale.profiled),
        }
        side.stream.close()  # type: ignore[attr-defined]
    return row


def require_same(
    one: tuple[list[torch.Tensor], list[torch.Tensor]], other: tuple[list[torch.Tensor], list[torch.Tensor]]
) -> float:
    """Return the largest difference of two sides' losses.

    Raises:
        AssertionError: it is too large, or they saw other batches.
    """
    assert all(map(torch.equal, one[0], other[0])), "both ways were given other batches"
    mine, others = torch.stack(one[1]), torch.stack(other[1])
    apart = float((mine.diff(prepend=mine[:1] * 0) - others.diff(prepend=others[:1] * 0)).abs().max())
    assert apart < ALIKE and math.isfinite(float(mine[-1])), f"losses differ by {apart}"
    return apart


def busy_share(spans: list[tuple[float, float]]) -> float | None:
    """Return the share of the time from the first begin to the last end that lies in a span; None for no spans."""
    if not spans:
        return None
    covered, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered / (reached - min(spans)[0])
