"""Gate 1, the future: whatever happens to rows that are not known yet, inputs and forecasts keep every bit.

Shapes: S samples or windows, K samples compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hews_gpu.audit.edits import Edit, edit_prepared, edit_source, edits
from hews_gpu.audit.finding import Finding
from hews_gpu.data.events import Prepared
from hews_gpu.data.windows import make_windows
from hews_gpu.evaluation.judge import Judged
from hews_gpu.evaluation.rolling import Plan, Rolling, forecast_blocks
from hews_gpu.evaluation.sources import Source
from hews_gpu.feed.batch import Feed, MapSource
from hews_gpu.feed.feeds import FEEDS, open_feed
from hews_gpu.feed.maps import store_maps
from hews_gpu.forecasters.base import Entry
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.progress import Step
from hews_gpu.raster.rasterizer import channels_rasterizer
from hews_gpu.runs.cnn_objective import ForecastObjective
from hews_gpu.runs.inference import corrections
from hews_gpu.train.recipe import load_recipe

__all__ = ["Evaluate", "Make", "Quiet", "forecasts_gate", "make_objective", "maps_gate", "model_gate", "places_gate"]

GATE = "1 future"
COMPARED = 40
"""Samples before the cut that are drawn: more than three days of two-hour windows."""
LEARNED = 64
"""Training samples that are drawn to see that what is learned from is the same."""

Array = NDArray[Any]
Make = Callable[[Prepared], ForecastObjective]
Evaluate = Callable[[Rolling, Mapping[str, Entry], Step], dict[str, Judged]]


class Quiet:
    """A step that nobody watches."""

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Say nothing."""


def make_objective(prepared: Prepared) -> ForecastObjective:
    """What `hews train` learns by default."""
    return ForecastObjective(prepared, load_recipe())


@dataclass
class _Tally:
    """What was compared, and what was not the same."""

    comparisons: int = 0
    arrays: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self.differences: list[dict[str, Any]] = []

    def compare(self, before: Mapping[str, Array], after: Mapping[str, Array], **where: Any) -> None:
        """Bit by bit."""
        self.comparisons += 1
        assert before.keys() == after.keys()
        for name, old in before.items():
            new = after[name]
            self.arrays += 1
            self.bytes += old.nbytes
            if old.dtype != new.dtype or old.shape != new.shape or old.tobytes() != new.tobytes():
                values = int((old != new).sum()) if old.shape == new.shape else -1
                self.differences.append({"array": name, "values": values, **where})

    def finding(self, tested: str, edits_: Sequence[Edit], **figures: Any) -> Finding:
        """Any difference fails; there is no chance in it."""
        cuts = sorted({str(np.datetime64(edit.cut_s, "s")) for edit in edits_})
        same = f"{self.arrays} arrays ({self.bytes / 1e6:.1f} MB) after {len(edits_)} edits of the future"
        found = self.differences
        said = f"{same}: the same bits" if not found else f"{same}: {len(found)} differ, first {found[0]['array']}"
        return Finding(
            gate=GATE,
            tested=tested,
            result="fail" if found else "pass",
            said=said,
            figures={"edits": len(edits_), "cuts": cuts, "arrays": self.arrays, "differences": found[:10], **figures},
        )


def maps_gate(
    prepared: Prepared,
    *,
    count: int,
    make: Make = make_objective,
    feeds: Mapping[str, type[Feed]] = FEEDS,
    seed: int = 0,
) -> Finding:
    """Maps, calendar and climatology of the samples before a cut, from every feed in the registry.

    Args:
        prepared: the city; a row is taken to be known when it happens.
        count: edits, at cuts spread over all splits.
        make: the pipeline.
        feeds: by name.
        seed: of cuts and edits.
    """
    tally = _Tally()
    done: list[Edit] = []
    whole = make(prepared)
    for name, cut_s in _cuts(whole, count, seed):
        edit = next(edits(np.array([cut_s]), seed + len(done)))
        edit = Edit(edit.cut_s, ("mixed", "delete", "add", "change")[len(done) % 4], edit.seed)
        other = make(edit_prepared(prepared, edit))
        for feed in feeds:
            before, after = (_drawn(one, name, cut_s, feed) for one in (whole, other))
            tally.compare(before, after, feed=feed, split=name, style=edit.style, cut_s=cut_s)
        done.append(edit)
    tested = f"maps, calendar and climatology from {', '.join(feeds)}"
    return tally.finding(tested, done, feeds=list(feeds))


def model_gate(prepared: Prepared, *, count: int, make: Make = make_objective, seed: int = 0) -> Finding:
    """What the CNN learns from, and what it says, with cuts in the test split.

    Training is a function of the training and validation batches and of what `start` measures: the former are compared
    themselves; the model is built, scaled and given weights that are not zero, and its forecasts are compared.
    """
    tally = _Tally()
    done: list[Edit] = []
    whole = make(prepared)
    cuts = [cut_s for name, cut_s in _cuts(whole, 3 * count, seed + 1) if name == "test"]
    for edit in edits(np.array(cuts), seed + 1):
        other = make(edit_prepared(prepared, edit))
        tally.compare(_learned(whole), _learned(other), what="training", style=edit.style)
        before, after = (_forecast(one, edit.cut_s) for one in (whole, other))
        tally.compare(before, after, what="forecast", style=edit.style, cut_s=edit.cut_s)
        done.append(edit)
    return tally.finding("what the CNN is trained on, and its forecasts", done)


def forecasts_gate(
    source: Source,
    plan: Plan,
    *,
    count: int,
    entries: Mapping[str, Entry] = FORECASTERS,
    evaluate: Evaluate = forecast_blocks,
    seed: int = 0,
) -> Finding:
    """Forecasts and warnings of all forecasters before a cut, each fitted anew on the edited table.

    Args:
        source: the city.
        plan: task, delay and blocks.
        count: edits, at cuts spread over the test windows.
        entries: forecasters by name.
        evaluate: fits, sets thresholds and forecasts.
        seed: of cuts and edits.
    """
    tally = _Tally()
    whole = Rolling.opened(source, plan)
    delay_s = whole.plan.task.delay_s
    said = evaluate(whole, entries, Quiet())
    cuts_s = _test_cuts(whole, count, seed)
    if plan.as_reported:  # what is reported late is a label of the calibration block only as seen from the first issue
        cuts_s = np.append(cuts_s, whole.test.windows.issue_s[0])
    done = list(edits(cuts_s, seed))
    for edit in done:
        changed = edit_source(source, edit, delay_s=delay_s, as_reported=plan.as_reported)
        other = Rolling.opened(changed, plan)
        windows = whole.test.windows
        seen = windows.issue_s <= edit.cut_s
        again = evaluate(other, entries, Quiet())
        for name in entries:
            before, after = (_flat(judged[name], seen) for judged in (said, again))
            tally.compare(before, after, forecaster=name, style=edit.style, cut_s=edit.cut_s)
    delay = "as reported" if plan.as_reported else f"known after {delay_s / 3600:g} h"
    tested = f"forecasts and warnings of {', '.join(entries)}; rows {delay}"
    return tally.finding(tested, done, forecasters=list(entries), delay_s=delay_s, as_reported=plan.as_reported)


def places_gate(source: Source, plan: Plan, *, count: int, seed: int = 0) -> Finding:
    """Shares of the neighborhoods by every place baseline before a cut, each fitted anew."""
    tally = _Tally()
    whole = Rolling.opened(source, plan)
    said = _places(whole)
    done = list(edits(_test_cuts(whole, count, seed), seed))
    for edit in done:
        changed = edit_source(source, edit, delay_s=whole.plan.task.delay_s, as_reported=plan.as_reported)
        seen = whole.test.windows.issue_s <= edit.cut_s
        again = _places(Rolling.opened(changed, plan))
        before, after = ({name: p[seen] for name, p in one.items()} for one in (said, again))
        tally.compare(before, after, style=edit.style, cut_s=edit.cut_s)
    return tally.finding(f"places by {', '.join(PLACE_BASELINES)}", done, forecasters=list(PLACE_BASELINES))


def _cuts(objective: ForecastObjective, count: int, seed: int) -> list[tuple[str, int]]:
    """Issue times within the splits, the splits in turn; some of them a second after one."""
    rng = np.random.default_rng([seed, count])
    found = []
    names = ("test", "validation", "train")
    for i in range(count):
        name = names[i % len(names)]
        issue_s = objective.task.splits[name].samples.issue_s
        cut_s = int(issue_s[rng.integers(len(issue_s) // 8, len(issue_s) - 1)])
        found.append((name, cut_s + (i // len(names)) % 2))
    return found


def _test_cuts(rolling: Rolling, count: int, seed: int) -> NDArray[np.int64]:
    """Issue times in the first half of the test windows, each of another part of it."""
    issue_s = rolling.test.windows.issue_s
    edges = np.linspace(len(issue_s) // 20, len(issue_s) // 2, count + 1).astype(np.int64)
    rng = np.random.default_rng([seed, count])
    return np.array([issue_s[rng.integers(low, max(high, low + 1))] for low, high in pairwise(edges.tolist())])


def _before(objective: ForecastObjective, name: str, cut_s: int) -> NDArray[np.int64]:
    """The last K samples of a split that were issued by the cut."""
    issue_s = objective.task.splits[name].samples.issue_s
    return np.flatnonzero(issue_s <= cut_s)[-COMPARED:]


def _drawn(objective: ForecastObjective, name: str, cut_s: int, feed: str) -> dict[str, Array]:
    """What a feed gives for the samples before a cut; the training split's own climatology is no forecast."""
    split = objective.task.splits[name]
    which = _before(objective, name, cut_s)
    source = split.feed.source.select(which)
    with tempfile.TemporaryDirectory() as folder:
        if feed == "zarr":
            feed = f"zarr:{_stored(objective, source, split.samples.issue_s[which], Path(folder))}"
        found = _batches(open_feed(feed, source))
    if name == "train":
        del found["climatology"]
    return found


def _stored(objective: ForecastObjective, source: MapSource, issue_s: NDArray[np.int64], folder: Path) -> Path:
    """The maps of the samples' windows as `hews rasterize` stores them."""
    prepared = objective.prepared
    city = prepared.city
    rasterizer = channels_rasterizer(prepared, steps=1)
    windows = make_windows(
        prepared.events.time_s,
        begin_s=int(issue_s[0]) - city.task.history_s,
        end_s=int(issue_s[-1]) + city.windows.length_s,
        length_s=city.windows.length_s,
        stride_s=city.windows.stride_s,
        anchor_s=city.windows.anchor_s,
        timezone=city.city.timezone,
    )
    with redirect_stderr(StringIO()):  # its progress is no news here
        store_maps(folder / "maps.zarr", rasterizer, windows, np.zeros(len(windows), dtype=bool))
    return folder


def _batches(feed: Feed) -> dict[str, Array]:
    """Everything that a feed gives, in order."""
    with feed:
        parts = [(b.maps.numpy().copy(), b.calendar.numpy(), b.climatology.numpy()) for b in feed.in_order(COMPARED)]
    names = ("maps", "calendar", "climatology")
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def _learned(objective: ForecastObjective) -> dict[str, Array]:
    """What training reads: all labels, times and log-odds of both splits, and maps of some samples."""
    found: dict[str, Array] = {}
    for name in ("train", "validation"):
        split = objective.task.splits[name]
        source = split.feed.source
        columns: dict[str, Array] = {
            "pairs": source.pairs,
            "y": source.y,
            "calendar": source.calendar,
            "climatology": source.climatology,
        }
        for key, value in columns.items():
            found[f"{name} {key}"] = value
        some = np.linspace(0, len(split) - 1, LEARNED).astype(np.int64)
        found[f"{name} maps"] = source.rasterizer.maps(source.pairs[some])
    return found


def _forecast(objective: ForecastObjective, cut_s: int) -> dict[str, Array]:
    """Log-odds of the samples before a cut by the model, scaled as training would, with weights that are not zero."""
    module = objective.module()
    objective.start(module, lambda tensor: tensor)
    generator = torch.Generator().manual_seed(objective.seed)
    with torch.no_grad():
        module.linear.copy_(torch.randn(module.linear.shape, generator=generator) * 0.1)
    split = objective.task.splits["test"]
    which = _before(objective, "test", cut_s)
    feed = open_feed("direct", split.feed.source.select(which))
    added = corrections(module, feed, lambda tensor: tensor)  # type: ignore[arg-type]
    return {"correction": added, "log-odds": split.climatology[which] + added}


def _flat(judged: Judged, seen: NDArray[np.bool_]) -> dict[str, Array]:
    """Forecasts and warnings of the windows that count, for every seed."""
    found: dict[str, Array] = {f"p, seed {k}": p[seen] for k, p in enumerate(judged.p)}
    for budget, rows in judged.warned.items():
        found |= {f"{budget} warnings a week, seed {k}": row[seen] for k, row in enumerate(rows)}
    return found


def _places(rolling: Rolling) -> dict[str, Array]:
    """Chances per neighborhood of the test windows, as `evaluate_places` makes them."""
    parts: dict[str, list[Array]] = {name: [] for name in PLACE_BASELINES}
    for fold in rolling.folds:
        train, asked = rolling.learned(fold, "train"), rolling.all.windows.select(fold.test)
        past = rolling.catalog.until(fold.known_until_s)
        somewhere = -np.log1p(-fit_climatology(train.windows.begin_s, train.y).probability(asked.begin_s))
        for name, make in PLACE_BASELINES.items():
            forecaster = make(rolling.source.ground)
            forecaster.fit(past, train)
            parts[name].append(-np.expm1(-somewhere[:, None] * forecaster.shares(rolling.catalog, asked)))
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}
