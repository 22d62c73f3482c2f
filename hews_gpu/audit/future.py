"""Gate 1, the future: whatever happens to rows that are not known yet, inputs and forecasts keep every bit.

Shapes: S samples or windows, K samples compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
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
from hews_gpu.data.windows import Samples, make_windows
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import Judged
from hews_gpu.evaluation.places import baseline_areas
from hews_gpu.feed.batch import Feed, MapSource
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.feeds import FEEDS, open_feed
from hews_gpu.feed.maps import store_maps
from hews_gpu.forecasters.base import Entry, Forecaster, Setting, log_odds
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.climatology import HourOfWeekMonth
from hews_gpu.forecasters.cnn import CnnForecaster, Part, corrections
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.progress import SILENT, Step
from hews_gpu.raster.rasterizer import channels_rasterizer
from hews_gpu.runs.run import run_experiment
from hews_gpu.train.recipe import load_recipe

__all__ = ["Evaluate", "Make", "Pipeline", "forecasts_gate", "make_pipeline", "maps_gate", "model_gate", "places_gate"]

GATE = "1 future"
AUDITED = {name: entry for name, entry in FORECASTERS.items() if not entry.is_network}
"""Fitted anew for each edit; what networks learn from and say is compared by `model_gate`."""
COMPARED = 40
"""Samples before the cut that are drawn: more than three days of two-hour windows."""
LEARNED = 64
"""Training samples that are drawn to see that what is learned from is the same."""

Array = NDArray[Any]
Make = Callable[[Prepared], "Pipeline"]
Evaluate = Callable[[Experiment, Mapping[str, Entry], Step], dict[str, Judged]]


class Pipeline:
    """What `hews train --model cnn` makes of a prepared city's splits, up to the first step of training.

    Args:
        prepared: the city.
        kind: of the forecaster.
    """

    def __init__(self, prepared: Prepared, kind: type[CnnForecaster] = CnnForecaster) -> None:
        self.prepared = prepared
        self.experiment = run_experiment(prepared)
        setting = Setting(city=self.experiment.city, recipe=load_recipe().with_model("cnn"))
        self.forecaster = kind(setting, self.base())
        fold = self.experiment.folds[0]
        past = self.experiment.catalog.until(fold.known_until_s)
        train, calibration = self.experiment.learned(fold, "train"), self.experiment.learned(fold, "calibration")
        self.objective = self.forecaster.objective(past, train, calibration)

    def base(self) -> Forecaster:
        """Return what the network corrects."""
        return HourOfWeekMonth()

    @property
    def delay_s(self) -> int:
        """After which a row is known."""
        return self.experiment.plan.task.delay_s

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The windows of each part, with the base's log-odds and their labels."""
        test = self.experiment.test
        offset = log_odds(self.forecaster.base, self.experiment.catalog, test.windows)
        return {**self.objective.parts, "test": Part(windows=test.windows, offset=offset, y=test.y)}

    def source(self, name: str) -> MapSource:
        """Return what the maps of a part are drawn from."""
        return self.forecaster.feed(self.parts[name], self.delay_s).source

    @property
    def samples(self) -> dict[str, Samples]:
        """The rows that each part's maps show."""
        return {name: self.forecaster.samples(part, self.delay_s) for name, part in self.parts.items()}


def make_pipeline(prepared: Prepared) -> Pipeline:
    """Return the pipeline as `hews train` runs it."""
    return Pipeline(prepared)


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
    make: Make = make_pipeline,
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


def model_gate(prepared: Prepared, *, count: int, make: Make = make_pipeline, seed: int = 0) -> Finding:
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
    source: City,
    plan: Plan,
    *,
    count: int,
    entries: Mapping[str, Entry] = AUDITED,
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
    whole = Experiment.open(source, plan)
    delay_s = whole.plan.task.delay_s
    said = evaluate(whole, entries, SILENT)
    cuts_s = _test_cuts(whole, count, seed)
    if plan.as_reported:  # what is reported late is a label of the calibration block only as seen from the first issue
        cuts_s = np.append(cuts_s, whole.test.windows.issue_s[0])
    done = list(edits(cuts_s, seed))
    for edit in done:
        changed = edit_source(source, edit, delay_s=delay_s, as_reported=plan.as_reported)
        other = Experiment.open(changed, plan)
        windows = whole.test.windows
        seen = windows.issue_s <= edit.cut_s
        again = evaluate(other, entries, SILENT)
        for name in entries:
            before, after = (_flat(judged[name], seen) for judged in (said, again))
            tally.compare(before, after, forecaster=name, style=edit.style, cut_s=edit.cut_s)
    delay = "as reported" if plan.as_reported else f"known after {delay_s / 3600:g} h"
    tested = f"forecasts and warnings of {', '.join(entries)}; rows {delay}"
    return tally.finding(tested, done, forecasters=list(entries), delay_s=delay_s, as_reported=plan.as_reported)


def places_gate(source: City, plan: Plan, *, count: int, seed: int = 0) -> Finding:
    """Shares of the neighborhoods by every place baseline before a cut, each fitted anew."""
    tally = _Tally()
    whole = Experiment.open(source, plan)
    said = baseline_areas(whole)
    done = list(edits(_test_cuts(whole, count, seed), seed))
    for edit in done:
        changed = edit_source(source, edit, delay_s=whole.plan.task.delay_s, as_reported=plan.as_reported)
        seen = whole.test.windows.issue_s <= edit.cut_s
        again = baseline_areas(Experiment.open(changed, plan))
        before, after = ({name: p[seen] for name, p in one.items()} for one in (said, again))
        tally.compare(before, after, style=edit.style, cut_s=edit.cut_s)
    return tally.finding(f"places by {', '.join(PLACE_BASELINES)}", done, forecasters=list(PLACE_BASELINES))


def _cuts(pipeline: Pipeline, count: int, seed: int) -> list[tuple[str, int]]:
    """Issue times within the parts, the parts in turn; some of them a second after one."""
    rng = np.random.default_rng([seed, count])
    cuts = []
    names = ("test", "calibration", "train")
    for i in range(count):
        name = names[i % len(names)]
        issue_s = pipeline.parts[name].windows.issue_s
        cut_s = int(issue_s[rng.integers(len(issue_s) // 8, len(issue_s) - 1)])
        cuts.append((name, cut_s + (i // len(names)) % 2))
    return cuts


def _test_cuts(rolling: Experiment, count: int, seed: int) -> NDArray[np.int64]:
    """Issue times in the first half of the test windows, each of another part of it."""
    issue_s = rolling.test.windows.issue_s
    edges = np.linspace(len(issue_s) // 20, len(issue_s) // 2, count + 1).astype(np.int64)
    rng = np.random.default_rng([seed, count])
    return np.array([issue_s[rng.integers(low, max(high, low + 1))] for low, high in pairwise(edges.tolist())])


def _before(pipeline: Pipeline, name: str, cut_s: int) -> NDArray[np.int64]:
    """The last K windows of a part that were issued by the cut."""
    return np.flatnonzero(pipeline.parts[name].windows.issue_s <= cut_s)[-COMPARED:]


def _drawn(pipeline: Pipeline, name: str, cut_s: int, feed: str) -> dict[str, Array]:
    """What a feed gives for the windows before a cut; the training part's own climatology is no forecast."""
    which = _before(pipeline, name, cut_s)
    source = pipeline.source(name).select(which)
    with tempfile.TemporaryDirectory() as folder:
        issue_s = pipeline.parts[name].windows.issue_s[which] - pipeline.delay_s
        if feed == "zarr":
            feed = f"zarr:{_stored(pipeline, issue_s, Path(folder))}"
        batches = _batches(open_feed(feed, source))
    if name == "train":
        del batches["climatology"]
    return batches


def _stored(pipeline: Pipeline, known_s: NDArray[np.int64], folder: Path) -> Path:
    """The maps of the windows' history steps as `hews rasterize` stores them."""
    city = pipeline.prepared.city
    rasterizer = channels_rasterizer(pipeline.prepared, steps=1)
    windows = make_windows(
        pipeline.prepared.events.time_s,
        begin_s=int(known_s[0]) - city.task.history_s,
        end_s=int(known_s[-1]) + city.windows.length_s,
        length_s=city.windows.length_s,
        stride_s=city.windows.stride_s,
        anchor_s=int(known_s[0]),
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


def _learned(pipeline: Pipeline) -> dict[str, Array]:
    """What training reads: all labels, times and log-odds of both parts, and maps of some windows."""
    read: dict[str, Array] = {}
    for name in ("train", "calibration"):
        source = pipeline.source(name)
        for key in ("pairs", "y", "calendar", "climatology"):
            read[f"{name} {key}"] = getattr(source, key)
        some = np.linspace(0, len(source) - 1, LEARNED).astype(np.int64)
        read[f"{name} maps"] = source.rasterizer.maps(source.pairs[some])
    return read


def _forecast(pipeline: Pipeline, cut_s: int) -> dict[str, Array]:
    """Log-odds of the windows before a cut by the network, scaled as training would, with weights that are not zero."""
    module = pipeline.objective.module()
    pipeline.objective.start(module, lambda tensor: tensor)
    generator = torch.Generator().manual_seed(pipeline.objective.seed)
    with torch.no_grad():
        module.linear.copy_(torch.randn(module.linear.shape, generator=generator) * 0.1)
    which = _before(pipeline, "test", cut_s)
    feed = open_feed("direct", pipeline.source("test").select(which))
    assert isinstance(feed, DirectFeed)
    added = corrections(module, feed, lambda tensor: tensor)
    return {"correction": added, "log-odds": pipeline.parts["test"].offset[which] + added}


def _flat(judged: Judged, seen: NDArray[np.bool_]) -> dict[str, Array]:
    """Forecasts and warnings of the windows that count, for every seed."""
    found: dict[str, Array] = {f"p, seed {k}": p[seen] for k, p in enumerate(judged.p)}
    for budget, rows in judged.warned.items():
        found |= {f"{budget} warnings a week, seed {k}": row[seen] for k, row in enumerate(rows)}
    return found
