"""Leaks planted on purpose, each with the gate that must see it: a gate that has never caught anything proves nothing.

Every one is a mistake that has been made somewhere with good intentions, built into the real pipeline in a few lines;
the gate is the one that `hews audit` runs.

Shapes: E rows, S samples or windows, N neighborhoods.
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

from hews_gpu.arrays import Float64, Int64
from hews_gpu.audit.chance import beats_the_truth, block_of, null_skill, permuted_gate, strata_gate
from hews_gpu.audit.columns import Reader, columns_gate, read_all
from hews_gpu.audit.crossing import folds_gate, splits_gate
from hews_gpu.audit.future import AUDITED, NETWORKS, MakePipeline, Pipeline, forecasts_gate, maps_gate, model_gate
from hews_gpu.audit.gate_result import GateResult, Verdict
from hews_gpu.data.events import CHARTS, Prepared, open_prepared
from hews_gpu.data.windows import Samples, Windows
from hews_gpu.evaluation.alarms import threshold_for
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import Judged
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.forecasters.base import CLIMATOLOGY, Entry, Forecaster, SaysWhere, Setting
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City, event_groups, generated_city
from hews_gpu.forecasters.climatology import Climatology, HourOfWeekMonth, fit_climatology, hour_of_week, month_of_year
from hews_gpu.forecasters.cnn import CnnForecaster, Part
from hews_gpu.forecasters.registry import BASELINES, FORECASTERS
from hews_gpu.progress import Step
from hews_gpu.reference.protocol import random_split
from hews_gpu.training.objective import EpochRow, ToDevice
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S

__all__ = ["PLANTED", "Cities", "PlantedLeak", "check_planted"]

ONE_BLOCK = Plan(blocks=1, seeds=(0,))


@dataclass(frozen=True)
class Cities:
    """What leaks are planted in: a prepared folder, and cities as arrays."""

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

    def experiment(self, city: City) -> Experiment:
        """Cut a city into one test block."""
        return Experiment.open(city, ONE_BLOCK)


Run = Callable[[Cities], GateResult]


@dataclass(frozen=True)
class PlantedLeak:
    """One leak."""

    name: str
    mistake: str
    """What was done, in words."""
    gate: str
    """Number of the gate that must see it."""
    run: Run
    """The gate on the faulty pipeline."""


def check_planted(cities: Cities, bar: Step) -> list[GateResult]:
    """Put every planted leak before its gate; a gate that says "pass" has failed."""
    results = []
    for leak in PLANTED:
        faulty = leak.run(cities)
        is_seen = faulty.verdict != "pass" and faulty.gate.startswith(leak.gate)
        verdict: Verdict = "pass" if is_seen else "fail"
        summary = f"{'seen' if is_seen else 'NOT SEEN'}: {faulty.summary}"
        figures = {"planted": leak.name, "verdict_of_the_gate": faulty.verdict, **faulty.figures}
        results.append(
            GateResult(gate=faulty.gate, tested=leak.mistake, verdict=verdict, summary=summary, figures=figures)
        )
        bar.advance(1, leak.name)
    return results


# ---------------------------------------------------------------- networks and their maps


def _maps(make: MakePipeline) -> Run:
    """Return the gate on maps of a faulty pipeline."""
    return lambda cities: maps_gate(cities.prepared, count=3, make=make, feeds={"direct": DirectFeed})


def _network(make: MakePipeline, name: str) -> Run:
    """Return the gate on what one network of a faulty pipeline learns from and forecasts."""
    return lambda cities: model_gate(cities.prepared, count=1, make=make, models=[name])


def _altered(alter: Callable[[City, Samples], Samples]) -> MakePipeline:
    """Return a pipeline whose maps show other rows."""

    class Faulty(Pipeline):
        def make_forecaster(self, setting: Setting, model: str) -> CnnForecaster:
            forecaster = super().make_forecaster(setting, model)
            honest = forecaster.samples

            def samples(part: Part, delay_s: int) -> Samples:
                return alter(setting.city, honest(part, delay_s))

            forecaster.samples = samples  # type: ignore[method-assign]
            return forecaster

    return Faulty


def _last_step_until(samples: Samples, last: Int64) -> Samples:
    """Let the newest history step reach to other rows."""
    history = samples.history.copy()
    history[:, -1, 1] = last
    return replace(samples, history=history)


def _target_drawn(city: City, samples: Samples) -> Samples:
    return _last_step_until(samples, np.searchsorted(city.events.time_s, samples.target_end_s))


def _issue_drawn(city: City, samples: Samples) -> Samples:
    return _last_step_until(samples, np.searchsorted(city.events.time_s, samples.issue_s, side="right"))


def _hour_off(city: City, samples: Samples) -> Samples:
    shifted = city.events.time_s - HOUR_S  # the rows are taken for an hour earlier than they were
    edges_s = samples.issue_s[:, None] + np.arange(-city.config.steps, 1) * city.config.windows.length_s
    edges = np.searchsorted(shifted, edges_s)
    return replace(samples, history=np.stack([edges[:, :-1], edges[:, 1:]], axis=2))


class _TrainedOnAll(Pipeline):
    """Every window there is may be learned from, those to be judged on too."""

    def learned(self, part: str) -> Outcomes:
        return self.experiment.all if part == "train" else super().learned(part)


class _ClimatologyOfAll(Pipeline):
    """The climatology is fitted on every window there is, those to be judged on too."""

    def make_forecaster(self, setting: Setting, model: str) -> CnnForecaster:
        fold, every = self.experiment.folds[0], self.experiment.all
        index = np.concatenate([fold.train, fold.calibration, fold.test])
        return CnnForecaster(setting, _Fitted(fit_climatology(every.windows.begin_s[index], every.y[index])))


class _Fitted(HourOfWeekMonth):
    """A climatology that no fit changes."""

    def __init__(self, climatology: Climatology) -> None:
        self.fitted = climatology

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        """Do nothing."""


class _ScaledOnAll(Pipeline):
    """The scale of the inputs is measured on all splits."""

    def __init__(self, prepared: Prepared, model: str) -> None:
        super().__init__(prepared, model)
        honest = self.objective.start

        def start(module: Any, to_device: ToDevice) -> EpochRow:
            row = honest(module, to_device)
            feeds = [self.forecaster.feed(part, self.delay_s) for part in self.parts.values()]
            module.fit_scale(to_device(batch.maps) for feed in feeds for batch in feed.in_order(32))
            return row

        self.objective.start = start  # type: ignore[method-assign]


class _MostFrequentFirst(Pipeline):
    """Channels hold the categories in order of how often they occur, counted over the whole table."""

    def __init__(self, prepared: Prepared, model: str) -> None:
        events = prepared.events
        counts = np.bincount(events.category, minlength=len(events.categories))
        order = [events.categories[k] for k in np.argsort(-counts, kind="stable")]
        groups = {f"rank {i + 1}": (name,) for i, name in enumerate(order[:12])}
        city = replace(prepared.city, channels=replace(prepared.city.channels, groups=groups))
        super().__init__(prepared.with_rows(events, city=city), model)


def _twin_left_in(cities: Cities) -> GateResult:
    """Draw the very window that is labeled, the target rows taken out, their twins not."""
    prepared = cities.prepared
    events = prepared.events
    splits = {}
    for name, samples in Pipeline(prepared).samples.items():
        first, last = (np.searchsorted(events.time_s, edge) for edge in (samples.target_begin_s, samples.target_end_s))
        splits[name] = replace(samples, history=np.stack([first, last], axis=1)[:, None, :])
    return splits_gate(events, event_groups(prepared), splits, hidden=events.is_target)


def _split_at_random(cities: Cities) -> GateResult:
    """Deal windows to the splits by lot, as the reference system did."""
    honest = Pipeline(cities.prepared).samples
    every = list(honest.values())
    pooled = Samples(**{name: np.concatenate([getattr(one, name) for one in every]) for name in vars(every[0])})
    ids = random_split(pooled.y, (0.7, 0.15, 0.15), 0)
    splits = {name: pooled.select(part) for name, part in zip(honest, ids, strict=True)}
    return splits_gate(cities.prepared.events, event_groups(cities.prepared), splits)


# ---------------------------------------------------------------- folds


def _fit_goes_on(cities: Cities) -> GateResult:
    """Leave out the purge: a fit is handed what became known during its test block."""
    experiment = cities.experiment(cities.strong)
    folds = [replace(fold, known_until_s=fold.known_until_s + 30 * DAY_S) for fold in experiment.folds]
    return folds_gate(replace(experiment, folds=folds))


def _late_labels(cities: Cities) -> GateResult:
    """Fit on what the table says in the end, though every report has a delay of its own."""
    at_once = Experiment.open(cities.strong, replace(ONE_BLOCK, blocks=4))
    plan = replace(at_once.plan, as_reported=True)
    return folds_gate(replace(at_once, plan=plan, catalog=cities.strong.catalog(as_reported=True)))


def _twins_before(cities: Cities) -> GateResult:
    """Leave out the embargo: a row dated a quarter of an hour before a target, of the same event, is looked at."""
    events = cities.strong.events
    group = np.arange(len(events))
    targets = np.flatnonzero(events.is_target)
    before = np.searchsorted(events.time_s, events.time_s[targets] - HOUR_S // 4)
    group[before] = group[targets]
    return folds_gate(cities.experiment(replace(cities.strong, group=group)))


# ---------------------------------------------------------------- columns


def _columns(read: Reader) -> Run:
    """Return the gate on columns of a pipeline that reads more."""
    return lambda cities: columns_gate(cities.folder, read=read)


def _spelling_read(folder: Path) -> dict[str, NDArray[Any]]:
    """Read, beside what may be read, the length of a text of the source."""
    charts = pq.read_table(folder / CHARTS)
    texts = charts[charts.column_names[-1]].fill_null("").to_pylist()
    return {**read_all(folder), "length of a text": np.array([len(text) for text in texts])}


def _line_read(folder: Path) -> dict[str, NDArray[Any]]:
    """Read, beside what may be read, where a row stood in its file."""
    line = pq.read_table(folder / "incidents.parquet", columns=["line"])["line"]
    return {**read_all(folder), "line": line.to_numpy()}


# ---------------------------------------------------------------- forecasters


class _FitOnAll:
    """A forecaster fitted on everything there is, the windows to be judged on too."""

    fitted = None

    def __init__(self, honest: Forecaster, setting: Setting) -> None:
        self.honest, self.city = honest, setting.city

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        every = Experiment.open(self.city, ONE_BLOCK)
        self.honest.fit(every.catalog, every.all, calibration)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.honest.predict(seen, windows)


class _Late:
    """A forecaster that is handed the rows of the window itself: the forecast is issued when it ends."""

    fitted = None

    def __init__(self, honest: Forecaster) -> None:
        self.honest = honest

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        late = [Outcomes(windows=_at_their_end(part.windows), y=part.y) for part in (train, calibration)]
        self.honest.fit(past, *late)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.honest.predict(seen, _at_their_end(windows))


class _LateAreas:
    """A forecaster whose forecasts by neighborhood are those of a day later, which see the window itself."""

    fitted = None

    def __init__(self, honest: Forecaster, setting: Setting) -> None:
        self.honest = honest
        self.fit, self.predict = honest.fit, honest.predict

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        assert isinstance(self.honest, SaysWhere)
        later = {name: edge_s + DAY_S for name, edge_s in vars(windows).items()}
        return self.honest.predict_areas(seen, Windows(**later))


def _at_their_end(windows: Windows) -> Windows:
    return Windows(issue_s=windows.end_s, begin_s=windows.begin_s, end_s=windows.end_s)


def _tuned_on_test(experiment: Experiment, entries: Mapping[str, Entry], bar: Step) -> dict[str, Judged]:
    """Set thresholds on the windows that they are then used in."""
    honest = forecast_blocks(experiment, entries, bar)
    weeks = len(experiment.test) * experiment.plan.task.stride_s / WEEK_S
    return {
        name: replace(one, warned={b: [p >= threshold_for(p, weeks, b) for p in one.p] for b in one.warned})
        for name, one in honest.items()
    }


def _own_label(experiment: Experiment, entries: Mapping[str, Entry], bar: Step) -> dict[str, Judged]:
    """Forecast the share of windows with a target in the week around each window, itself included."""
    y = experiment.all.y.astype(float)
    near = np.convolve(y, np.ones(85) / 85, mode="same")
    p = np.clip(near[np.concatenate([fold.test for fold in experiment.folds])], 0.01, 0.99)
    return {name: Judged(p=[p], warned={}) for name in entries}


def _fitted_on_test(cities: Cities) -> GateResult:
    """Fit a table of hour of the week by month on the windows that it is judged on."""
    experiment = cities.experiment(cities.null)
    judged = forecast_blocks(experiment, {CLIMATOLOGY: BASELINES[CLIMATOLOGY]})
    test, oracle = experiment.test, experiment.oracle()
    assert oracle is not None
    begin_s = test.windows.begin_s
    cell = hour_of_week(begin_s) * 12 + month_of_year(begin_s)
    hits, count = np.bincount(cell, weights=test.y), np.bincount(cell)
    p = {CLIMATOLOGY: judged[CLIMATOLOGY].p[0], "table": ((hits + 0.17 * 4) / (count + 4))[cell]}
    return null_skill("null", test.y, p, oracle, block_of(7200))


def _late_forecasts(experiment: Experiment, *, targets: bool = True) -> dict[str, Float64]:
    """Forecast with the climatology, and with boosting on counts of the window itself, with or without its targets."""
    if not targets:  # only their twins and whatever else happened
        catalog = experiment.catalog
        columns = {key: value for key, value in vars(catalog).items() if isinstance(value, np.ndarray)}
        kept: dict[str, Any] = {key: value[~catalog.is_target] for key, value in columns.items()}
        experiment = replace(experiment, catalog=replace(catalog, **kept))
    boosting = BASELINES["boosting"]
    late = replace(boosting, make=lambda setting: _Late(boosting.make(setting)))
    judged = forecast_blocks(experiment, {CLIMATOLOGY: BASELINES[CLIMATOLOGY], "boosting": late})
    return {name: one.p[0] for name, one in judged.items()}


def _better_than_truth(cities: Cities) -> GateResult:
    experiment = cities.experiment(cities.strong)
    oracle = experiment.oracle()
    assert oracle is not None
    return beats_the_truth("strong", experiment.test.y, _late_forecasts(experiment), oracle, block_of(7200))


def _too_good(cities: Cities) -> GateResult:
    """Take `null` for a real table, whose truth nobody knows."""
    experiment = cities.experiment(cities.null)
    test = experiment.test
    return strata_gate("null", test.y, test.windows.begin_s, _late_forecasts(experiment, targets=False))


def _thresholds_on_test(cities: Cities) -> GateResult:
    entries = {"hawkes": BASELINES["hawkes"]}
    return forecasts_gate(cities.strong, ONE_BLOCK, count=2, entries=entries, evaluate=_tuned_on_test)


def _own_label_permuted(cities: Cities) -> GateResult:
    entries = {"level": BASELINES["level"]}
    return permuted_gate(cities.experiment(cities.strong), entries=entries, evaluate=_own_label)


def _forecaster(faulty: Callable[[Forecaster, Setting], Any], name: str) -> Run:
    """Return the gate on forecasts of one forecaster made faulty."""
    honest = FORECASTERS[name]
    entry = replace(honest, make=lambda setting: faulty(honest.make(setting), setting))
    return lambda cities: forecasts_gate(cities.strong, ONE_BLOCK, count=1, entries={name: entry})


PLANTED = (
    PlantedLeak("target drawn", "the maps reach to the end of the target window", "1", _maps(_altered(_target_drawn))),
    PlantedLeak("inclusive edge", "a row of the very second of the issue is drawn", "1", _maps(_altered(_issue_drawn))),
    PlantedLeak("timezone", "the rows' clock is an hour off that of the windows", "1", _maps(_altered(_hour_off))),
    PlantedLeak("climatology of all", "the climatology is fitted on all windows", "1", _maps(_ClimatologyOfAll)),
    PlantedLeak("order of all", "channels go by how often categories occur in all", "1", _maps(_MostFrequentFirst)),
    *(
        leak
        for name in NETWORKS
        for leak in (
            PlantedLeak(f"{name}: scaler", "inputs are scaled by all splits", "1", _network(_ScaledOnAll, name)),
            PlantedLeak(f"{name}: labels", "it learns all windows", "1", _network(_TrainedOnAll, name)),
            PlantedLeak(f"{name}: target", "it sees the target", "1", _network(_altered(_target_drawn), name)),
        )
    ),
    *(
        PlantedLeak(f"{name}: labels", "it is fitted on all windows", "1", _forecaster(_FitOnAll, name))
        for name in AUDITED
    ),
    PlantedLeak("hewsnet: places", "neighborhoods see the window itself", "1", _forecaster(_LateAreas, "hewsnet")),
    PlantedLeak("threshold on test", "warning thresholds are set on the test windows", "1", _thresholds_on_test),
    PlantedLeak("own label", "a feature is the mean label of the week around a window", "2", _own_label_permuted),
    PlantedLeak("fitted on test", "a table is fitted on the windows that it is judged on", "3", _fitted_on_test),
    PlantedLeak("issued late", "counts include the rows of the window itself", "4", _better_than_truth),
    PlantedLeak("spelling", "the length of a source text is a feature", "5", _columns(_spelling_read)),
    PlantedLeak("line", "the place of a row in its file is a feature", "5", _columns(_line_read)),
    PlantedLeak("twin left in", "the window itself is drawn without its targets, with their twins", "6", _twin_left_in),
    PlantedLeak("random split", "windows are dealt to the splits by lot", "6", _split_at_random),
    PlantedLeak("no purge", "a fit sees a month of its test block", "6", _fit_goes_on),
    PlantedLeak("twin before", "a report of a shooting dated before it is looked at", "6", _twins_before),
    PlantedLeak("late labels", "a fit takes labels that are reported only after it is made", "6", _late_labels),
    PlantedLeak("too good", "counts of the window itself, without its targets, with their twins", "7", _too_good),
)
"""In the order of the gates."""
