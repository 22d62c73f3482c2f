"""`hews replay`: what a run would have said and warned of over a stretch of time, from what was known then.

Every issue time is forecast by the path that live warnings take, from the rows that were known before it, and the
policy decides as it would have: thresholds come from the calibration block, which ends before the first issue. The
calendar and the recent level are put through the same policy with thresholds of their own, so that what the model
caught stands beside what they would have. A long replay is forecast and written part by part.

Shapes: S issue times, N neighborhoods, E events.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hews_gpu.alerts.checks import layer_limits_s, stale_layers
from hews_gpu.alerts.decide import Thresholds, Warning, decide
from hews_gpu.alerts.explain import explain
from hews_gpu.alerts.forecasts import Said, forecast_in_chunks, issue_times, windows_at
from hews_gpu.alerts.judged import KINDS, MODEL, TIERS, Judged, Timeline, counts, judge
from hews_gpu.alerts.outcomes import warning_table
from hews_gpu.alerts.policy import Policy, load_policy, why_no_skill
from hews_gpu.alerts.references import References
from hews_gpu.alerts.scores import matrix
from hews_gpu.alerts.standing import standing_of
from hews_gpu.alerts.thresholds import calibration_times, thresholds_of
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.coverage import Coverage, coverage_of_events
from hews_gpu.data.events import NEIGHBORHOODS, Prepared
from hews_gpu.data.windows import Task, Windows
from hews_gpu.errors import UserError
from hews_gpu.files import new_folder, write_json
from hews_gpu.forecasters.base import LEVEL, Forecaster, SaysWhere
from hews_gpu.forecasters.catalog import Catalog, outcomes
from hews_gpu.forecasters.city import City, prepared_city
from hews_gpu.progress import log, peak_memory_bytes, step
from hews_gpu.runs.evaluate import times, window_columns
from hews_gpu.runs.folder import model_fingerprint, short_calibration
from hews_gpu.runs.run import Run, on_city, open_run
from hews_gpu.units import DAY_S, WEEK_S

__all__ = ["KIND", "replay"]

KIND = "replay"
EXPLAINED = 200  # warnings, the first ones: each takes about half a second
FORECASTS, WARNINGS, INCIDENTS, SUMMARY = "forecasts.parquet", "warnings.parquet", "incidents.parquet", "replay.json"
STALE = "the newest row is {age_h:.0f} hours old, more than [input] newest_row_s and the delay allow"


@dataclass(frozen=True, kw_only=True)
class _Replay:
    """All that a replay is made from."""

    run: Run
    prepared: Prepared
    policy: Policy
    city: City
    catalog: Catalog
    coverage: Coverage
    task: Task
    issue_s: Int64  # [S]
    forecaster: Forecaster
    """The run's own, drawing from this table."""
    references: References
    thresholds: Mapping[str, Thresholds]
    """Of the run's own as `MODEL`, and of the references."""
    calibration_s: tuple[int, int]
    """Begin and end of the block that they were set on."""
    thresholds_cpu_s: float
    """What it took to set them."""
    fingerprint: str
    """Of what the run has learned."""
    why_abstained: str
    """Why nothing is issued; empty where it is."""

    @property
    def withheld(self) -> bool:
        """Whether warnings are withheld."""
        return bool(self.why_abstained)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of place that the run can warn of."""
        return KINDS if isinstance(self.forecaster, SaysWhere) else KINDS[:1]


@dataclass(kw_only=True)
class _Written:
    """What is kept of what was written, part by part."""

    outcome: list[NDArray[np.str_]] = field(default_factory=list)
    p: dict[str, list[Float64]] = field(default_factory=dict)
    warnings: dict[str, list[Warning]] = field(default_factory=dict)


def replay(
    run: Path,
    data: Path,
    out: Path,
    *,
    begin_s: int,
    end_s: int,
    stride_s: int | None = None,
    delay_s: int | None = None,
    trained_on: Path | None = None,
    device: str = "cpu",
    force: bool = False,
) -> dict[str, Any]:
    """Replay a run over a stretch of a prepared table.

    Args:
        run: folder made by ``hews train``.
        data: folder made by ``hews prepare``, of the run's city; it may reach further than what was trained on.
        out: folder to write: ``forecasts.parquet``, ``warnings.parquet``, ``incidents.parquet``,
            ``neighborhoods.parquet`` and ``replay.json``.
        begin_s: the first issue time is the first multiple of the stride from there on; local seconds.
        end_s: the last one lies before that.
        stride_s: from one issue time to the next; the policy's unless given.
        delay_s: a row is known so long after it happened, where the table does not say when; the task's unless given.
        trained_on: the prepared folder of the training, if it has moved.
        device: of networks: cpu, cuda or cuda:1.
        force: replace an older replay.

    Returns:
        What ``replay.json`` holds.

    Raises:
        UserError: the run is not trained to its end, has seen the stretch or does not fit the table, the table does not
            cover the stretch, or the policy does not fit.
    """
    began = time.perf_counter(), time.process_time()
    notes = {"run": str(run.absolute()), "prepared": str(data.absolute())}
    with new_folder(out, kind=KIND, force=force, notes=notes) as folder:
        opened = open_run(run, data=trained_on, device=device)
        this = _open(opened, data, begin_s, end_s, stride_s, delay_s, may_keep=device == "cpu")
        notes["data_fingerprint"] = this.prepared.fingerprint
        loaded_s = time.process_time()
        if this.withheld:
            log(f"every warning is withheld: {this.why_abstained}")
        written = _write_forecasts(this, folder / FORECASTS)
        timeline, event_xy_m = _timeline(this, written)
        judged = {
            name: {kind: judge(timeline, warnings, kind) for kind in this.kinds}
            for name, warnings in written.warnings.items()
        }
        names = this.prepared.names
        table = warning_table(timeline, judged[MODEL], this.city, names, event_xy_m)
        told = _explained(this, written.warnings[MODEL][:EXPLAINED])
        column = [json.dumps(told[name]) if name in told else None for name in table["id"].to_pylist()]
        table = table.append_column("explanation", pa.array(column, pa.string()))
        pq.write_table(_with_policy(table, this.policy), folder / WARNINGS)
        _write_incidents(this, folder / INCIDENTS)
        shutil.copyfile(this.prepared.folder / NEIGHBORHOODS, folder / NEIGHBORHOODS)
        summary = _summary(this, timeline, judged) | {
            "seconds": round(time.perf_counter() - began[0], 3),
            "cpu_seconds": round(time.process_time() - began[1], 3),
            "cpu_seconds_of_thresholds": round(this.thresholds_cpu_s, 3),
            "cpu_seconds_after_both": round(time.process_time() - loaded_s, 3),
            "peak_memory_bytes": peak_memory_bytes(),
        }
        write_json(folder / SUMMARY, summary)
    return summary


def _open(
    run: Run, data: Path, begin_s: int, end_s: int, stride_s: int | None, delay_s: int | None, *, may_keep: bool
) -> _Replay:
    """Read the table, fit the references, and set all thresholds; those that live issuing has, too, may be kept."""
    policy = load_policy(run.folder)
    may_keep &= delay_s is None and stride_s in (None, policy.stride_s)
    if stride_s is not None:
        policy = replace(policy, stride_s=stride_s)
    prepared = run.table(data)
    coverage = coverage_of_events(prepared.events)
    if not coverage.rows:
        raise UserError("data folder", prepared.folder, allowed="holds no row", remedy="Prepare a longer table")
    first_s, last_s = coverage.first_and_last(prepared.events.time_s)
    locked = prepared.city.splits.locked
    until_s = last_s + 1 if locked is None else min(last_s + 1, prepared.city.splits.span_s("locked")[0])
    city = prepared_city(prepared, begin_s=first_s, end_s=until_s)
    task = Task.of_city(prepared.city).apart(city.embargo_s)
    if delay_s is not None:
        task = replace(task, delay_s=max(task.delay_s, delay_s))
    policy.require_fits(task, [layer.name for layer in prepared.city.layers])
    edges_s = -(-begin_s // policy.stride_s) * policy.stride_s, (end_s - 1) // policy.stride_s * policy.stride_s
    _require_times(run, edges_s, first_s + task.history_s, until_s)
    issue_s = issue_times(begin_s, end_s, policy.stride_s, ZoneInfo(prepared.city.city.timezone))
    if not len(issue_s):
        raise UserError("--from", allowed="leads to no issue time: the clocks were put forward over all of them")
    catalog = city.catalog(task.delay_s, as_reported=city.reported_s is not None)
    learned_from = run.experiment.city
    table_s = learned_from.begin_s, learned_from.end_s
    calibration_s = calibration_times(policy, prepared.city, int(issue_s[0]), table_s)
    if calibration_s[0] < first_s:
        begin = np.datetime64(int(calibration_s[0]), "s")
        allowed = f"begins after {begin}, where the block that thresholds are set on begins"
        raise UserError("data folder", prepared.folder, allowed=allowed, remedy="Give a table that holds it, too")
    block_s = int(calibration_s[0]), int(calibration_s[-1]) + policy.stride_s
    if short := short_calibration(*block_s):
        log(short)
    forecaster, references, fingerprint = on_city(run.forecaster, city), References(run), model_fingerprint(run.folder)
    began_s = time.process_time()
    with step("setting thresholds", 1, "blocks") as bar:
        if may_keep and prepared.fingerprint == run.prepared.fingerprint:
            own = standing_of(run, policy, fingerprint, int(issue_s[0])).thresholds
        else:
            own = thresholds_of(policy, forecaster, catalog, task, calibration_s, fingerprint[:8])
        thresholds = {MODEL: own, **references.thresholds(policy, int(issue_s[0]))}
        bar.advance()
    return _Replay(
        run=run,
        prepared=prepared,
        policy=policy,
        city=city,
        catalog=catalog,
        coverage=coverage,
        task=task,
        issue_s=issue_s,
        forecaster=forecaster,
        references=references,
        thresholds=thresholds,
        calibration_s=block_s,
        thresholds_cpu_s=time.process_time() - began_s,
        fingerprint=fingerprint,
        why_abstained=why_no_skill(run.folder) if policy.skill.required else "",
    )


def _require_times(run: Run, edges_s: tuple[int, int], first_s: int, until_s: int) -> None:
    """Refuse a first and a last issue time that the run has learned from, or that the table does not cover."""
    if edges_s[0] > edges_s[1]:
        raise UserError("--to", allowed="must lie after --from, by a stride at least")
    first, last, begin, end, learned = (
        np.datetime64(int(moment), "s")
        for moment in (*edges_s, first_s, until_s, run.prepared.city.splits.span_s("validation")[1])
    )
    if first < learned:
        remedy = f"Begin on {learned} or later"
        raise UserError("--from", str(first), allowed="lies in what the run has learned from", remedy=remedy)
    if first < begin or last > end + np.timedelta64(DAY_S, "s"):
        which, moment = ("--from", first) if first < begin else ("--to", last)
        locked = " before its locked block" if run.prepared.city.splits.locked else ""
        allowed = f"must lie within {begin} and {end}, which the table covers{locked}"
        raise UserError(which, str(moment), allowed=allowed)


# ------------------------------------------------------------ forecasts


def _write_forecasts(this: _Replay, path: Path) -> _Written:
    """Forecast and decide part by part, and write a row per issue time."""
    written = _Written(warnings={name: [] for name in this.thresholds}, p={name: [] for name in this.thresholds})
    refused = _why_refused(this)
    happened = outcomes(this.catalog, windows_at(this.issue_s, this.task)).y
    first = 0
    with _writer(path, this.prepared.names) as write, step("replaying", len(this.issue_s), "issue times") as bar:
        for said in forecast_in_chunks(this.forecaster, this.catalog, this.task, this.issue_s):
            part = slice(first, first + len(said))
            first = part.stop
            fit = refused[part] == ""
            references = this.references.forecast(this.catalog, said.windows)
            references[LEVEL] = np.where(fit, references[LEVEL], np.nan)
            _decide(this, said, fit, references, written)
            table = _rows(this, said, references, refused[part], happened[part])
            written.outcome.append(table["outcome"].to_numpy())
            write(_with_policy(table, this.policy))
            bar.advance(len(said))
    return written


def _why_refused(this: _Replay) -> NDArray[np.str_]:
    """Return why [S] the input of each issue time is not fit to be forecast from; empty where it is."""
    incidents = this.catalog.take(this.catalog.stream <= len(this.city.events.categories))  # no row of a layer
    newest_s = np.maximum.accumulate(np.append(-(1 << 62), incidents.time_s))
    newest_s = newest_s[np.searchsorted(incidents.known_s, this.issue_s, side="left")]
    age_s = this.issue_s - newest_s
    stale = age_s > this.policy.input.newest_row_s + this.task.delay_s
    why = np.full(len(age_s), "", dtype=object)
    why[stale] = [STALE.format(age_h=age / 3600) for age in age_s[stale].tolist()]
    trained = this.run.prepared
    limits_s = layer_limits_s(this.policy.input, trained.layers, trained.city.splits.span_s("train"))
    of_layers = stale_layers(this.city.layers, limits_s, this.issue_s)
    return np.array(["; ".join(filter(None, both)) for both in zip(why, of_layers, strict=True)], dtype=object)


def _decide(this: _Replay, said: Said, fit: Bool, references: Mapping[str, Float64], written: _Written) -> None:
    """Add the warnings of some issue times, of the model and of what it is held against."""
    policy, windows, usable = this.policy, said.windows, said if fit.all() else _selected(said, fit)
    matters_s = max(WEEK_S, policy.quiet_s, this.task.lead_s + this.task.horizon_s)
    for name, past in written.warnings.items():
        lately = [warning for warning in past if warning.issue_s >= windows.issue_s[0] - matters_s]
        if name == MODEL:
            past += decide(policy, this.thresholds[name], usable, lately, withheld=this.withheld)
            written.p[name].append(np.where(fit, said.p, np.nan))
        else:
            p = references[name]
            past += this.references.warnings(policy, this.thresholds[name], windows, p, lately)
            written.p[name].append(p)


def _selected(said: Said, which: Bool) -> Said:
    """Return what was said at some of the issue times."""
    areas = None if said.areas is None else said.areas[which]
    return Said(windows=said.windows.select(which), p=said.p[which], areas=areas)


def _rows(
    this: _Replay, said: Said, references: Mapping[str, Float64], why: NDArray[np.str_], happened: Bool
) -> pa.Table:
    """Return the rows of forecasts.parquet of some issue times, without the policy."""
    windows, fit = said.windows, why == ""
    columns: dict[str, Any] = {
        **window_columns(windows),
        "outcome": np.where(fit, "abstained" if this.withheld else "issued", "refused"),
        "reason": np.where(fit, this.why_abstained, why),
        "p": pa.array(said.p, mask=~fit),
        **{f"p_{name}": pa.array(p, mask=np.isnan(p)) for name, p in references.items()},
        "y": pa.array(happened.astype(np.int8), mask=~_is_settled(this, windows)),
    }
    if said.areas is not None:
        # Not of fixed size: older pyarrow writes and reads no null among lists of fixed size.
        ends = np.append(0, np.cumsum(fit * said.areas.shape[1]))
        values = said.areas[fit].astype(np.float32).ravel()
        columns["areas"] = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=pa.array(~fit))
    return pa.table(columns)


def _is_settled(this: _Replay, windows: Windows) -> Bool:
    """Return for which windows [S] the table says what happened."""
    return np.asarray((windows.end_s <= this.city.end_s) & this.coverage.holds(windows.begin_s, windows.end_s))


def _with_policy(table: pa.Table, policy: Policy) -> pa.Table:
    """Return a table with every scalar of the policy in each row."""
    for name, value in policy.columns.items():
        table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)))
    return table


@contextmanager
def _writer(path: Path, names: Sequence[str]) -> Iterator[Any]:
    """Yield a function that appends a table to a file, in whose notes stand the neighborhoods' names."""
    writer: pq.ParquetWriter | None = None

    def write(table: pa.Table) -> None:
        nonlocal writer
        if writer is None:
            schema = table.schema.with_metadata({"neighborhoods": json.dumps(list(names))})
            repeated = [name for name in table.column_names if name not in ("areas", "p", "p_climatology", "p_level")]
            writer = pq.ParquetWriter(path, schema, use_dictionary=repeated)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _explained(this: _Replay, warnings: Sequence[Warning]) -> dict[str, Any]:
    """Return why each warning was given, by its id."""
    told: dict[str, Any] = {}
    with step("explaining warnings", len(warnings), "warnings") as bar:
        for issue_s, group in groupby(warnings, lambda one: one.issue_s):
            given = list(group)
            windows, places = windows_at(np.array([issue_s]), this.task), [one.place for one in given]
            each = explain(this.forecaster, this.references.level, this.catalog, windows, places)
            told |= {one.id: why for one, why in zip(given, each, strict=True)}
            bar.advance(len(given))
    return told


# ------------------------------------------------------------ what came of it


def _timeline(this: _Replay, written: _Written) -> tuple[Timeline, Float64]:
    """Return what was due and what happened, and where [E, 2] the events did."""
    windows, catalog = windows_at(this.issue_s, this.task), this.catalog
    rows = np.flatnonzero(catalog.is_event)
    rows = rows[np.argsort(catalog.time_s[rows], kind="stable")]
    y = np.where(_is_settled(this, windows), outcomes(catalog, windows).y, -1).astype(np.int8)
    timeline = Timeline(
        windows=windows,
        stride_s=this.policy.stride_s,
        minimum_lead_s=this.policy.minimum_lead_s,
        outcome=np.concatenate(written.outcome).astype(np.str_),
        y=y,
        p={name: np.concatenate(parts) for name, parts in written.p.items()},
        areas=None,
        shares=this.references.shares,
        thresholds=_risks(this),
        event_s=catalog.time_s[rows],
        event_place=catalog.area[rows].astype(np.int64),
    )
    return timeline, catalog.xy_m[rows]


def _risks(this: _Replay) -> dict[str, Float64]:
    """Return the thresholds [S, 2] by kind of place."""
    own = vars(this.thresholds[MODEL])
    rows = {kind: [own[f"{kind}_{tier}"] for tier in TIERS] for kind in this.kinds}
    return {kind: np.tile(np.array(row), (len(this.issue_s), 1)) for kind, row in rows.items()}


def _write_incidents(this: _Replay, path: Path) -> None:
    """Write the rows that a map of the replay shows: those of the first history and of all that follows."""
    events, task = this.city.events, this.task
    begin_s, end_s = this.issue_s[[0, -1]] + [-task.history_s, task.lead_s + task.horizon_s]
    rows = np.flatnonzero((events.time_s >= begin_s) & (events.time_s < end_s))
    known_s = events.over_s + task.delay_s
    if this.city.reported_s is not None:
        known_s = np.maximum(known_s, this.city.reported_s)
    columns = {
        "time": times(events.time_s[rows]),
        "known": times(known_s[rows]),
        "longitude": events.longitude[rows],
        "latitude": events.latitude[rows],
        "category": pa.DictionaryArray.from_arrays(pa.array(events.category[rows]), pa.array(events.categories)),
        "is_target": events.is_target[rows],
        "neighborhood": events.neighborhood[rows],
    }
    pq.write_table(pa.table(columns), path)


def _if_issued(timeline: Timeline, judged: Mapping[str, Judged]) -> dict[str, Any]:
    """Return what warnings that were withheld would have been worth, by kind of place."""
    issued = {kind: [replace(one, withheld=False) for one in of.warnings] for kind, of in judged.items()}
    return {kind: _worth(timeline, judge(timeline, given, kind)) for kind, given in issued.items()}


def _worth(timeline: Timeline, judged: Judged) -> dict[str, Any]:
    """Return counts by tier, and the scores of the tiers as a risk matrix."""
    every = np.ones(len(timeline.windows), dtype=bool)
    return {**counts(timeline, judged, every), "matrix": matrix(timeline, judged, ~timeline.is_open)}


def _summary(this: _Replay, timeline: Timeline, judged: Mapping[str, Mapping[str, Judged]]) -> dict[str, Any]:
    """Return what replay.json holds but for what it cost."""
    which, times_of = np.unique(timeline.outcome, return_counts=True)
    return {
        "kind": KIND,
        "city": this.city.name,
        "targets": list(this.prepared.city.incidents.target_names),
        "model": this.run.recipe.model,
        "fingerprint": this.fingerprint,
        "from": str(np.datetime64(int(this.issue_s[0]), "s")),
        "to": str(np.datetime64(int(this.issue_s[-1]), "s")),
        "stride_s": this.policy.stride_s,
        "delay_s": this.task.delay_s,
        "issue_times": len(timeline.windows),
        "outcomes": dict(zip(which.tolist(), times_of.tolist(), strict=True)),
        "abstained": this.why_abstained,
        "open": int(timeline.is_open.sum()),
        "warnings": {kind: {name: _worth(timeline, of[kind]) for name, of in judged.items()} for kind in this.kinds},
        "warnings_if_issued": None if not this.withheld else _if_issued(timeline, judged[MODEL]),
        "calibration": [str(np.datetime64(edge, "s")) for edge in this.calibration_s],
        "thresholds": this.thresholds[MODEL].as_dict(),
        "thresholds_of_references": {name: one.as_dict() for name, one in this.thresholds.items() if name != MODEL},
        "policy": {**this.policy.as_dict(), "fingerprint": this.policy.fingerprint},
    }
