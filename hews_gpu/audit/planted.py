"""Leaks planted on purpose, each with the gate that must see it: a gate that has never caught anything proves nothing.

Every one is a mistake that has been made somewhere with good intentions, built into the real pipeline in a few lines;
the gate is the one that `hews audit` runs.

Shapes: E rows, S samples or windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hews_gpu.arrays import Float64
from hews_gpu.audit.chance import beats_the_truth, block_of, null_skill, permuted_gate, strata_gate
from hews_gpu.audit.columns import columns_gate, read_all
from hews_gpu.audit.crossing import folds_gate, splits_gate
from hews_gpu.audit.finding import Finding
from hews_gpu.audit.future import Make, Pipeline, forecasts_gate, maps_gate, model_gate
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import Samples, Windows
from hews_gpu.evaluation.alarms import threshold_for
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import Judged
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.forecasters.base import CLIMATOLOGY, Entry, Forecaster
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City, event_groups, generated_city
from hews_gpu.forecasters.climatology import Climatology, HourOfWeekMonth, fit_climatology, hour_of_week, month_of_year
from hews_gpu.forecasters.cnn import CnnForecaster, Part
from hews_gpu.forecasters.registry import BASELINES
from hews_gpu.progress import Step
from hews_gpu.reference.protocol import random_split
from hews_gpu.train.objective import EpochRow, ToDevice
from hews_gpu.units import HOUR_S, WEEK_S

__all__ = ["PLANTED", "Planted", "Stage", "show_planted"]

Alter = Callable[[City, Samples], Samples]


@dataclass(frozen=True)
class Stage:
    """Where leaks are planted: a prepared folder, and cities as arrays."""

    folder: Path
    years: int = 2

    @cached_property
    def prepared(self) -> Prepared:
        """The folder, opened."""
        return open_prepared(self.folder)

    @cached_property
    def strong(self) -> City:
        """A city in which there is something to find."""
        return generated_city("strong", years=self.years)

    @cached_property
    def null(self) -> City:
        """A city in which there is nothing to find."""
        return generated_city("null", years=self.years)

    def rolling(self, source: City) -> Experiment:
        """It, cut into one test block."""
        return Experiment.open(source, Plan(blocks=1, seeds=(0,)))


@dataclass(frozen=True)
class Planted:
    """One leak."""

    name: str
    mistake: str
    """What was done, in words."""
    gate: str
    """Number of the gate that must see it."""
    run: Callable[[Stage], Finding]
    """The gate on the faulty pipeline."""


def show_planted(stage: Stage, bar: Step) -> list[Finding]:
    """Every planted leak put before its gate; a gate that says "pass" has failed."""
    found = []
    for leak in PLANTED:
        one = leak.run(stage)
        seen = one.result != "pass" and one.gate.startswith(leak.gate)
        said = f"{'seen' if seen else 'NOT SEEN'}: {one.said}"
        figures = {"planted": leak.name, "result_of_the_gate": one.result, **one.figures}
        result = "pass" if seen else "fail"
        found.append(Finding(gate=one.gate, tested=leak.mistake, result=result, said=said, figures=figures))  # type: ignore[arg-type]
        bar.advance(1, leak.name)
    return found


def _altered(alter: Alter) -> Make:
    """The forecast with the rows that its maps show altered."""

    class Faulty(CnnForecaster):
        def samples(self, part: Part, delay_s: int) -> Samples:
            return alter(self.setting.city, super().samples(part, delay_s))

    return lambda prepared: Pipeline(prepared, Faulty)


def _maps(stage: Stage, make: Make) -> Finding:
    return maps_gate(stage.prepared, count=3, make=make, feeds={"direct": DirectFeed})


def _last_step_until(samples: Samples, last: NDArray[np.int64]) -> Samples:
    """The newest history step reaches to other rows."""
    history = samples.history.copy()
    history[:, -1, 1] = last
    return replace(samples, history=history)


def _target_drawn(city: City, samples: Samples) -> Samples:
    return _last_step_until(samples, np.searchsorted(city.events.time_s, samples.target_end_s))


def _inclusive_edge(city: City, samples: Samples) -> Samples:
    return _last_step_until(samples, np.searchsorted(city.events.time_s, samples.issue_s, side="right"))


def _hour_off(city: City, samples: Samples) -> Samples:
    shifted = city.events.time_s - HOUR_S  # the rows are taken for an hour earlier than they were
    assert city.config is not None
    edges_s = samples.issue_s[:, None] + np.arange(-city.config.steps, 1) * city.config.windows.length_s
    edges = np.searchsorted(shifted, edges_s)
    return replace(samples, history=np.stack([edges[:, :-1], edges[:, 1:]], axis=2))


class _ClimatologyOfAll(Pipeline):
    """The climatology is fitted on every window there is, those to be judged on too."""

    def base(self) -> Forecaster:
        fold, every = self.experiment.folds[0], self.experiment.all
        index = np.concatenate([fold.train, fold.calibration, fold.test])
        return _Fitted(fit_climatology(every.windows.begin_s[index], every.y[index]))


class _Fitted(HourOfWeekMonth):
    """A climatology that no fit changes."""

    def __init__(self, climatology: Climatology) -> None:
        self.fitted = climatology

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        """Nothing."""


class _ScaledOnAll(Pipeline):
    """The scale of the inputs is measured on all splits."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__(prepared)
        honest = self.objective.start

        def start(module: Any, to_device: ToDevice) -> EpochRow:
            row = honest(module, to_device)
            feeds = [self.forecaster.feed(part, self.delay_s) for part in self.parts.values()]
            module.fit_scale(to_device(batch.maps) for feed in feeds for batch in feed.in_order(32))
            return row

        self.objective.start = start  # type: ignore[method-assign]


class _MostFrequentFirst(Pipeline):
    """Channels hold the categories in order of how often they occur, counted over the whole table."""

    def __init__(self, prepared: Prepared) -> None:
        events = prepared.events
        counts = np.bincount(events.category, minlength=len(events.categories))
        order = [events.categories[k] for k in np.argsort(-counts, kind="stable")]
        groups = {f"rank {i + 1}": (name,) for i, name in enumerate(order[:12])}
        city = replace(prepared.city, channels=replace(prepared.city.channels, groups=groups))
        other = Prepared(prepared.folder, city, events)
        other.__dict__["neighborhoods"] = prepared.neighborhoods
        super().__init__(other)


def _twin_left_in(stage: Stage) -> Finding:
    """Maps of the very window that is labelled, the target rows taken out, their twins not."""
    prepared = stage.prepared
    events = prepared.events
    splits = {}
    for name, samples in Pipeline(prepared).samples.items():
        first, last = (np.searchsorted(events.time_s, edge) for edge in (samples.target_begin_s, samples.target_end_s))
        splits[name] = replace(samples, history=np.stack([first, last], axis=1)[:, None, :])
    return splits_gate(events, event_groups(prepared), splits, hidden=events.is_target)


def _split_at_random(stage: Stage) -> Finding:
    """Windows dealt to the splits by lot, as the reference system did."""
    honest = Pipeline(stage.prepared).samples
    every = list(honest.values())
    names = list(vars(every[0]))
    pooled = Samples(**{name: np.concatenate([getattr(one, name) for one in every]) for name in names})
    ids = random_split(pooled.y, (0.7, 0.15, 0.15), 0)
    splits = {name: pooled.select(part) for name, part in zip(honest, ids, strict=True)}
    return splits_gate(stage.prepared.events, event_groups(stage.prepared), splits)


def _fit_goes_on(stage: Stage) -> Finding:
    """No purge: a fit is handed what became known during its test block."""
    rolling = stage.rolling(stage.strong)
    folds = [replace(fold, known_until_s=fold.known_until_s + 30 * 86_400) for fold in rolling.folds]
    return folds_gate(replace(rolling, folds=folds))


def _late_labels(stage: Stage) -> Finding:
    """A fit on what the table says in the end, though every report has a delay of its own."""
    at_once = Experiment.open(stage.strong, Plan(blocks=4, seeds=(0,)))
    plan = replace(at_once.plan, as_reported=True)
    return folds_gate(replace(at_once, plan=plan, catalog=stage.strong.catalog(as_reported=True)))


def _twins_before(stage: Stage) -> Finding:
    """No embargo: what is dated a quarter of an hour before a target, and reports the same, is looked at."""
    events = stage.strong.events
    group = np.arange(len(events))
    targets = np.flatnonzero(events.is_target)
    before = np.searchsorted(events.time_s, events.time_s[targets] - HOUR_S // 4)
    group[before] = group[targets]
    return folds_gate(stage.rolling(replace(stage.strong, group=group)))


def _spelling_read(folder: Path) -> dict[str, NDArray[Any]]:
    """Beside what may be read, the length of a text of the source."""
    charts = pq.read_table(folder / "charts_only.parquet")
    texts = charts[charts.column_names[-1]].fill_null("").to_pylist()
    return {**read_all(folder), "length of a text": np.array([len(text) for text in texts])}


def _line_read(folder: Path) -> dict[str, NDArray[Any]]:
    """Beside what may be read, where a row stood in its file."""
    return {
        **read_all(folder),
        "line": pq.read_table(folder / "incidents.parquet", columns=["line"])["line"].to_numpy(),
    }


def _tuned_on_test(rolling: Experiment, entries: Mapping[str, Entry], bar: Step) -> dict[str, Judged]:
    """Thresholds are set on the windows that they are then used in."""
    honest = forecast_blocks(rolling, entries, bar)
    weeks = len(rolling.test) * rolling.plan.task.stride_s / WEEK_S
    return {
        name: replace(one, warned={b: [p >= threshold_for(p, weeks, b) for p in one.p] for b in one.warned})
        for name, one in honest.items()
    }


def _own_label(rolling: Experiment, entries: Mapping[str, Entry], bar: Step) -> dict[str, Judged]:
    """The "level" is the share of windows with a target in the week around each window, itself included."""
    y = rolling.all.y.astype(float)
    near = np.convolve(y, np.ones(85) / 85, mode="same")
    p = np.clip(near[np.concatenate([fold.test for fold in rolling.folds])], 0.01, 0.99)
    return {name: Judged(p=[p], warned={}) for name in entries}


def _fitted_on_test(stage: Stage) -> Finding:
    """A table of hour of the week by month, fitted on the windows that it is judged on."""
    rolling = stage.rolling(stage.null)
    judged = forecast_blocks(rolling, {CLIMATOLOGY: BASELINES[CLIMATOLOGY]})
    test, oracle = rolling.test, rolling.oracle()
    assert oracle is not None
    begin_s = test.windows.begin_s
    cell = hour_of_week(begin_s) * 12 + month_of_year(begin_s)
    hits, count = np.bincount(cell, weights=test.y), np.bincount(cell)
    p = {CLIMATOLOGY: judged[CLIMATOLOGY].p[0], "table": ((hits + 0.17 * 4) / (count + 4))[cell]}
    return null_skill("null", test.y, p, oracle, block_of(7200))


class _Late:
    """A forecaster that is handed the rows of the window itself: the forecast is issued when it ends."""

    fitted = None

    def __init__(self, honest: Forecaster) -> None:
        self.honest = honest

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        late = [Outcomes(windows=_at_their_end(one.windows), y=one.y) for one in (train, calibration)]
        self.honest.fit(past, *late)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.honest.predict(seen, _at_their_end(windows))


def _at_their_end(windows: Windows) -> Windows:
    return Windows(issue_s=windows.end_s, begin_s=windows.begin_s, end_s=windows.end_s)


def _late_forecasts(rolling: Experiment, *, targets: bool = True) -> dict[str, Float64]:
    """The climatology, and boosting on counts of the window itself; without its targets if so wished."""
    if not targets:  # only their twins and whatever else happened
        catalog = rolling.catalog
        columns = {key: value for key, value in vars(catalog).items() if isinstance(value, np.ndarray)}
        kept: dict[str, Any] = {key: value[~catalog.is_target] for key, value in columns.items()}
        rolling = replace(rolling, catalog=replace(catalog, **kept))
    boosting = BASELINES["boosting"]
    late = replace(boosting, make=lambda setting: _Late(boosting.make(setting)))
    judged = forecast_blocks(rolling, {CLIMATOLOGY: BASELINES[CLIMATOLOGY], "boosting": late})
    return {name: one.p[0] for name, one in judged.items()}


def _better_than_truth(stage: Stage) -> Finding:
    rolling = stage.rolling(stage.strong)
    oracle = rolling.oracle()
    assert oracle is not None
    return beats_the_truth("strong", rolling.test.y, _late_forecasts(rolling), oracle, block_of(7200))


def _too_good(stage: Stage) -> Finding:
    """As if `null` were a real table: nobody knows its truth."""
    rolling = stage.rolling(stage.null)
    test = rolling.test
    return strata_gate("null", test.y, test.windows.begin_s, _late_forecasts(rolling, targets=False))


def _forecasts(stage: Stage) -> Finding:
    plan = Plan(blocks=1, seeds=(0,))
    entries = {"hawkes": BASELINES["hawkes"]}
    return forecasts_gate(stage.strong, plan, count=2, entries=entries, evaluate=_tuned_on_test)


def _own_label_permuted(stage: Stage) -> Finding:
    entries = {"level": BASELINES["level"]}
    return permuted_gate(stage.rolling(stage.strong), entries=entries, evaluate=_own_label)


PLANTED: tuple[Planted, ...] = (
    Planted(
        "target in the input",
        "the maps reach to the end of the target window",
        "1",
        lambda s: _maps(s, _altered(_target_drawn)),
    ),
    Planted(
        "inclusive edge",
        "a row at the very second of the issue time is drawn",
        "1",
        lambda s: _maps(s, _altered(_inclusive_edge)),
    ),
    Planted(
        "timezone",
        "the rows' clock is an hour off against that of the windows",
        "1",
        lambda s: _maps(s, _altered(_hour_off)),
    ),
    Planted(
        "climatology of all", "the climatology is fitted on all windows", "1", lambda s: _maps(s, _ClimatologyOfAll)
    ),
    Planted(
        "order of all",
        "channels go by how often categories occur in the whole table",
        "1",
        lambda s: _maps(s, _MostFrequentFirst),
    ),
    Planted(
        "scaler of all",
        "the scale of the inputs is measured on all splits",
        "1",
        lambda s: model_gate(s.prepared, count=1, make=_ScaledOnAll),
    ),
    Planted("threshold on test", "warning thresholds are set on the test windows", "1", _forecasts),
    Planted(
        "own label",
        "a feature is the mean label of the week around a window, its own included",
        "2",
        _own_label_permuted,
    ),
    Planted("fitted on test", "a table is fitted on the windows that it is judged on", "3", _fitted_on_test),
    Planted("issued late", "counts include the rows of the window itself", "4", _better_than_truth),
    Planted(
        "spelling",
        "the length of a source text is a feature",
        "5",
        lambda s: columns_gate(s.folder, read=_spelling_read),
    ),
    Planted(
        "line", "the place of a row in its file is a feature", "5", lambda s: columns_gate(s.folder, read=_line_read)
    ),
    Planted(
        "twin left in", "maps of the labelled window without its targets, but with their twins", "6", _twin_left_in
    ),
    Planted("random split", "windows are dealt to the splits by lot", "6", _split_at_random),
    Planted("no purge", "a fit sees a month of its test block", "6", _fit_goes_on),
    Planted("twin before", "the report that tells of a shooting before it is dated is looked at", "6", _twins_before),
    Planted("late labels", "a fit takes labels that are reported only after it is made", "6", _late_labels),
    Planted("too good", "counts of the window itself, without its targets but with their twins", "7", _too_good),
)
"""In the order of the gates."""
