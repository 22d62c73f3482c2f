"""Gate 1, the future: whatever happens to rows that are not known yet, inputs and forecasts keep every bit.

Shapes: S windows, K windows compared, N neighborhoods.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from hews_gpu.arrays import Int64
from hews_gpu.audit.edits import Edit, edit_city, edit_prepared, edits
from hews_gpu.audit.gate_result import GateResult
from hews_gpu.data.events import Prepared
from hews_gpu.data.windows import Samples, make_samples, make_windows
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import Judged
from hews_gpu.evaluation.places import baseline_areas
from hews_gpu.feed.batch import Feed, MapSource
from hews_gpu.feed.feeds import FEEDS, open_feed
from hews_gpu.feed.maps import store_maps
from hews_gpu.forecasters.base import Entry, SaysWhere, Setting, log_odds
from hews_gpu.forecasters.catalog import Outcomes
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.cnn import CnnForecaster, Part
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.progress import SILENT, Step
from hews_gpu.raster.rasterizer import channels_rasterizer
from hews_gpu.runs.run import run_experiment
from hews_gpu.training.recipe import load_recipe

__all__ = [
    "AUDITED",
    "NETWORKS",
    "Evaluate",
    "MakePipeline",
    "Pipeline",
    "forecasts_gate",
    "maps_gate",
    "model_gate",
    "places_gate",
]

GATE = "1 future"
AUDITED = {name: entry for name, entry in FORECASTERS.items() if not entry.is_network}
"""Fitted anew for each edit."""
NETWORKS = tuple(name for name in FORECASTERS if name not in AUDITED)
"""What these learn from and what they forecast is compared, without training."""
COMPARED = 40
"""Windows before the cut that are compared: more than three days of two-hour windows."""
LEARNED = 64
"""Training windows whose maps are drawn to see that what is learned from is the same."""

Array = NDArray[Any]
MakePipeline = Callable[[Prepared, str], "Pipeline"]
Evaluate = Callable[[Experiment, Mapping[str, Entry], Step], dict[str, Judged]]
EVERYWHERE: Evaluate = partial(forecast_blocks, where=True)


class Pipeline:
    """What `hews train` makes of a prepared city's splits with a network, up to the first step of training."""

    def __init__(self, prepared: Prepared, model: str = "cnn") -> None:
        self.experiment = run_experiment(prepared, is_edited=True)
        self.delay_s = self.experiment.plan.task.delay_s
        self.forecaster = self.make_forecaster(
            Setting(city=self.experiment.city, recipe=load_recipe().with_model(model)), model
        )
        past = self.experiment.catalog.until(self.experiment.folds[0].known_until_s)
        self.objective = self.forecaster.objective(past, self.learned("train"), self.learned("calibration"))

    def make_forecaster(self, setting: Setting, model: str) -> CnnForecaster:
        """Return the forecaster, not yet fitted."""
        return cast("CnnForecaster", FORECASTERS[model].make(setting))

    def learned(self, part: str) -> Outcomes:
        """Return the windows of a part that a fit may learn from."""
        return self.experiment.learned(self.experiment.folds[0], part)  # type: ignore[arg-type]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The windows of each part, with the base's log-odds and their labels."""
        test = self.experiment.test
        offset = log_odds(self.forecaster.base, self.experiment.catalog, test.windows)
        return {**self.objective.parts, "test": Part(windows=test.windows, offset=offset, y=test.y)}

    def source(self, part: str) -> MapSource:
        """Return what the maps of a part are drawn from."""
        return self.forecaster.feed(self.parts[part], self.delay_s).source

    @property
    def samples(self) -> dict[str, Samples]:
        """The incidents that each part's maps show; those of no layer."""
        city, delay_s = self.experiment.city, self.delay_s
        return {
            name: make_samples(city.events, part.windows, city.config, delay_s, part.y)
            for name, part in self.parts.items()
        }

    def before(self, part: str, cut_s: int) -> Int64:
        """Return the positions of the last K windows of a part that were issued by the cut."""
        return np.flatnonzero(self.parts[part].windows.issue_s <= cut_s)[-COMPARED:]


@dataclass
class _Comparison:
    """What was compared, and what was not the same."""

    arrays: int = 0
    bytes: int = 0
    edits: list[Edit] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)

    def add(self, before: Mapping[str, Array], after: Mapping[str, Array], edit: Edit, **where: Any) -> None:
        """Compare arrays by name, bit by bit."""
        assert before.keys() == after.keys()
        if edit not in self.edits:
            self.edits.append(edit)
        for name, old in before.items():
            new = after[name]
            self.arrays += 1
            self.bytes += old.nbytes
            if old.dtype != new.dtype or old.shape != new.shape or old.tobytes() != new.tobytes():
                values = int((old != new).sum()) if old.shape == new.shape else -1
                self.differences.append(
                    {"array": name, "values": values, "style": edit.style, "cut_s": edit.cut_s, **where}
                )

    def result(self, tested: str, **figures: Any) -> GateResult:
        """Return the result of the gate: any difference fails, for there is no chance in it."""
        cuts = sorted({str(np.datetime64(edit.cut_s, "s")) for edit in self.edits})
        compared = f"{self.arrays} arrays ({self.bytes / 1e6:.1f} MB) after {len(self.edits)} edits of the future"
        differ = self.differences
        outcome = f"{len(differ)} differ, first {differ[0]['array']}" if differ else "the same bits"
        return GateResult(
            gate=GATE,
            tested=tested,
            verdict="fail" if differ else "pass",
            summary=f"{compared}: {outcome}",
            figures={
                "edits": len(self.edits),
                "cuts": cuts,
                "arrays": self.arrays,
                "differences": differ[:10],
                **figures,
            },
        )


def maps_gate(
    prepared: Prepared,
    *,
    count: int,
    make: MakePipeline = Pipeline,
    feeds: Mapping[str, type[Feed]] = FEEDS,
    seed: int = 0,
) -> GateResult:
    """Compare maps, calendar and climatology of the windows before `count` cuts in all splits, from every feed.

    A row is taken to be known when it happens.
    """
    comparison = _Comparison()
    whole = make(prepared, "cnn")
    for i, (part, cut_s) in enumerate(_cuts(whole, count, seed)):
        edit = Edit(cut_s, ("mixed", "delete", "add", "change")[i % 4], seed + i)
        other = make(edit_prepared(prepared, edit), "cnn")
        for feed in feeds:
            before, after = (_drawn(pipeline, part, cut_s, feed) for pipeline in (whole, other))
            comparison.add(before, after, edit, feed=feed, split=part)
    return comparison.result(f"maps, calendar and climatology from {', '.join(feeds)}", feeds=list(feeds))


def model_gate(
    prepared: Prepared,
    *,
    count: int,
    make: MakePipeline = Pipeline,
    models: Sequence[str] = NETWORKS,
    seed: int = 0,
) -> GateResult:
    """Compare what networks learn from, and what they forecast, with cuts in the test split.

    Training is a function of the training and calibration batches and of what `start` measures: the former are compared
    themselves; the network is built, scaled and given weights that are not zero, and its forecasts are compared. A row
    is taken to be known when it happens; each network sees `count` edits.
    """
    comparison = _Comparison()
    for model in models:
        whole = make(prepared, model)
        cuts = [cut_s for part, cut_s in _cuts(whole, 3 * count, seed + 1) if part == "test"]
        for edit in edits(np.array(cuts), seed + 1):
            other = make(edit_prepared(prepared, edit), model)
            comparison.add(_learned(whole), _learned(other), edit, model=model, what="training")
            before, after = (_forecast(pipeline, edit.cut_s) for pipeline in (whole, other))
            comparison.add(before, after, edit, model=model, what="forecast")
    return comparison.result(f"what {', '.join(models)} learn from, and their forecasts", forecasters=list(models))


def _cuts(pipeline: Pipeline, count: int, seed: int) -> list[tuple[str, int]]:
    """Draw issue times within the parts, the parts in turn; some of them a second later."""
    rng = np.random.default_rng([seed, count])
    cuts = []
    names = ("test", "calibration", "train")
    for i in range(count):
        name = names[i % len(names)]
        issue_s = pipeline.parts[name].windows.issue_s
        cut_s = int(issue_s[rng.integers(len(issue_s) // 8, len(issue_s) - 1)])
        cuts.append((name, cut_s + (i // len(names)) % 2))
    return cuts


def _drawn(pipeline: Pipeline, part: str, cut_s: int, feed: str) -> dict[str, Array]:
    """Return what a feed gives for the windows before a cut; the training part's own climatology is no forecast."""
    which = pipeline.before(part, cut_s)
    source = pipeline.source(part).select(which)
    with tempfile.TemporaryDirectory() as folder:
        known_s = pipeline.parts[part].windows.issue_s[which] - pipeline.delay_s
        if feed == "zarr":
            feed = f"zarr:{_stored(pipeline, known_s, Path(folder))}"
        with open_feed(feed, source) as opened:
            batches = [
                (batch.maps.numpy().copy(), batch.calendar.numpy(), batch.climatology.numpy())
                for batch in opened.in_order(COMPARED)
            ]
    names = ("maps", "calendar", "climatology") if part != "train" else ("maps", "calendar")
    return {name: np.concatenate([batch[i] for batch in batches]) for i, name in enumerate(names)}


def _stored(pipeline: Pipeline, known_s: Int64, folder: Path) -> Path:
    """Store the maps of the windows' history steps as `hews rasterize` does."""
    prepared = pipeline.experiment.city.prepared
    assert prepared is not None  # `Pipeline` opens a network, which draws
    city = prepared.city
    rasterizer = channels_rasterizer(prepared, steps=1)
    windows = make_windows(
        rasterizer.shown_s,
        begin_s=int(known_s[0]) - city.task.history_s,
        end_s=int(known_s[-1]) + city.windows.length_s,
        length_s=city.windows.length_s,
        stride_s=city.windows.stride_s,
        anchor_s=int(known_s[0]),
    )
    with redirect_stderr(StringIO()):  # its progress is no news here
        store_maps(folder / "maps.zarr", rasterizer, windows, np.zeros(len(windows), dtype=bool))
    return folder


def _learned(pipeline: Pipeline) -> dict[str, Array]:
    """Return what training reads: all labels, times and log-odds of both parts, and maps of some windows."""
    read: dict[str, Array] = {}
    for part in ("train", "calibration"):
        source = pipeline.source(part)
        for key in ("pairs", "y", "calendar", "climatology"):
            read[f"{part} {key}"] = getattr(source, key)
        some = np.linspace(0, len(source) - 1, LEARNED).astype(np.int64)
        read[f"{part} maps"] = source.rasterizer.maps(source.pairs[some])
    return read


def _forecast(pipeline: Pipeline, cut_s: int) -> dict[str, Array]:
    """Forecast the windows before a cut with the network, scaled as training would, with weights that are not zero."""
    module = pipeline.objective.module()
    pipeline.objective.start(module, lambda tensor: tensor)
    generator = torch.Generator().manual_seed(pipeline.objective.seed)
    with torch.no_grad():
        module.linear.copy_(torch.randn(module.linear.shape, generator=generator) * 0.1)
    forecaster, seen = pipeline.forecaster, pipeline.experiment.catalog
    forecaster.keep(module.state_dict())
    windows = pipeline.parts["test"].windows.select(pipeline.before("test", cut_s))
    forecast = {
        "correction": forecaster.correction(windows, pipeline.delay_s),
        "p": forecaster.predict(seen, windows),
    }
    if isinstance(forecaster, SaysWhere):
        forecast["p by neighborhood"] = forecaster.predict_areas(seen, windows)
    return forecast


def forecasts_gate(
    city: City,
    plan: Plan,
    *,
    count: int,
    entries: Mapping[str, Entry] = AUDITED,
    evaluate: Evaluate = EVERYWHERE,
    seed: int = 0,
) -> GateResult:
    """Compare forecasts and warnings of all forecasters before `count` cuts, each fitted anew on the edited table."""

    def arrays(experiment: Experiment) -> dict[str, dict[str, Array]]:
        return {name: _arrays(one) for name, one in evaluate(experiment, entries, SILENT).items()}

    whole = Experiment.open(city, plan)
    comparison, delay_s = _fitted_anew(whole, plan, arrays, count, seed), whole.plan.task.delay_s
    delay = "as reported" if plan.as_reported else f"known after {delay_s / 3600:g} h"
    tested = f"forecasts and warnings of {', '.join(entries)}; rows {delay}"
    return comparison.result(tested, forecasters=list(entries), delay_s=delay_s, as_reported=plan.as_reported)


def places_gate(city: City, plan: Plan, *, count: int, seed: int = 0) -> GateResult:
    """Compare the chances of the neighborhoods by every place baseline before a cut, each fitted anew."""
    whole = Experiment.open(city, plan)
    comparison = _fitted_anew(whole, plan, lambda experiment: {"places": baseline_areas(experiment)}, count, seed)
    return comparison.result(f"places by {', '.join(PLACE_BASELINES)}", forecasters=list(PLACE_BASELINES))


def _fitted_anew(
    whole: Experiment, plan: Plan, arrays: Callable[[Experiment], dict[str, Any]], count: int, seed: int
) -> _Comparison:
    """Compare arrays [S, ...] by forecaster before each cut, as made from the table and from each edited table."""
    comparison, before, cuts_s = _Comparison(), arrays(whole), _test_cuts(whole, count, seed)
    delay_s, issue_s = whole.plan.task.delay_s, whole.test.windows.issue_s
    if plan.as_reported:  # what is reported late is a label of the calibration block only as seen from the first issue
        cuts_s = np.append(cuts_s, issue_s[0])
    for edit in edits(cuts_s, seed):
        changed = edit_city(whole.city, edit, delay_s=delay_s, as_reported=plan.as_reported)
        after, seen = arrays(Experiment.open(changed, plan)), issue_s <= edit.cut_s
        for name in before:
            old, new = ({key: value[seen] for key, value in each[name].items()} for each in (before, after))
            comparison.add(old, new, edit, forecaster=name)
    return comparison


def _test_cuts(experiment: Experiment, count: int, seed: int) -> Int64:
    """Draw issue times in the first half of the test windows, each of another part of it."""
    issue_s = experiment.test.windows.issue_s
    edges = np.linspace(len(issue_s) // 20, len(issue_s) // 2, count + 1).astype(np.int64)
    rng = np.random.default_rng([seed, count])
    return np.array([issue_s[rng.integers(low, max(high, low + 1))] for low, high in pairwise(edges.tolist())])


def _arrays(judged: Judged) -> dict[str, Array]:
    """Return forecasts and warnings for every seed."""
    arrays: dict[str, Array] = {f"p, seed {k}": p for k, p in enumerate(judged.p)}
    for budget, rows in judged.warned.items():
        arrays |= {f"{budget} warnings a week, seed {k}": row for k, row in enumerate(rows)}
    if judged.areas is not None:
        arrays["p by neighborhood"] = judged.areas
    return arrays
