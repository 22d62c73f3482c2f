"""`hews warn`: one issue time, from the newest delivery to exactly one outcome in the record, and to those it warns.

Outcomes and exit codes: issued (0, with or without a warning), abstained (10, the run shows no significant skill),
refused (11, what is known is stale, drifted, damaged or of the future, or the run has no card) and stopped (12, the
kill switch, or a drill that is due). Each is recorded with its reason; an issue time that has one is answered with it
again and nothing is done, so that whoever asks twice is not warned twice.

Issue times are multiples of the policy's stride of local wall-clock time, the current one unless another is given. A
delivery counts for the current issue time if it holds no row from then on; otherwise for those after it was read. An
issue time that has passed is made up from what was known then, marked late, and its warnings are withheld: nobody could
have acted on them.

Shapes: S issue times, E rows known.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import numpy as np

from hews_gpu import __version__
from hews_gpu.alerts.cap import City as Told
from hews_gpu.alerts.cap import city_of
from hews_gpu.alerts.checks import ISSUE_CHECKS, Situation, fault_of_clock, faults, layer_limits_s, stale_layers
from hews_gpu.alerts.decide import Warning, decide
from hews_gpu.alerts.deliver import deliver, require_deliverable, withdraw
from hews_gpu.alerts.explain import explain
from hews_gpu.alerts.forecasts import Said, forecast_in_chunks, issue_times, were, windows_at
from hews_gpu.alerts.intake import INCIDENTS, Intake, open_stores, require_layers
from hews_gpu.alerts.policy import Policy, load_policy, require_card, why_no_skill
from hews_gpu.alerts.record import FOLDER, Record, load_key, open_record
from hews_gpu.alerts.settle import settle
from hews_gpu.alerts.standing import Standing, standing_of
from hews_gpu.alerts.vintages.layer_rows import rows_as_of
from hews_gpu.alerts.vintages.store import Delivery, Store
from hews_gpu.arrays import Int64
from hews_gpu.config import CityConfig, load_city, parse_local_time
from hews_gpu.data.events import open_data_of
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.forecasters.base import LEVEL
from hews_gpu.forecasters.catalog import Catalog
from hews_gpu.forecasters.city import City, whole_city
from hews_gpu.runs.folder import CITY, model_fingerprint, require_run
from hews_gpu.runs.run import Run, on_city, open_run
from hews_gpu.units import HOUR_S, WEEK_S
from hews_gpu.work_folder import code_digest

__all__ = ["EXIT_CODES", "Live", "cancel"]

EXIT_CODES = {"issued": 0, "abstained": 10, "refused": 11, "stopped": 12}
PLACES = 6  # decimals of the probabilities of neighborhoods in the record
DRILL_S = WEEK_S
"""A drill is good for so long."""
Clock = Callable[[], datetime]
Entry = dict[str, Any]


def utc_now() -> datetime:
    """Return the instant."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What was known at some issue times, between two deliveries."""

    city: City
    delay_s: int
    vintage: dict[str, Any]
    """As the record has it."""

    @cached_property
    def seen(self) -> Catalog:
        """The rows, as a forecaster takes them."""
        return self.city.catalog(self.delay_s, as_reported=True)


class Live:
    """A run in use; may be asked for many issue times, one after the other.

    Args:
        folder: of the run.
        data: the prepared folder that it was trained on, if that has moved.
        clock: tells the instant.
        out: where warnings are printed, instead of standard output.
    """

    def __init__(
        self, folder: Path, *, data: Path | None = None, clock: Clock | None = None, out: TextIO | None = None
    ) -> None:
        require_run(folder)
        self.folder, self.clock, self._data, self._out = folder, clock or utc_now, data, out
        self.model = model_fingerprint(folder)
        self.city: CityConfig = load_city(folder / CITY)
        self.zone = ZoneInfo(self.city.city.timezone)
        self.task = Task.of_city(self.city)
        self._standing: dict[str, Standing] = {}

    @cached_property
    def run(self) -> Run:
        """The run, opened when a forecast is asked for."""
        return open_run(self.folder, data=self._data)

    @cached_property
    def trained_on(self) -> City:
        """The city as the run was trained on it."""
        return whole_city(self.run.prepared)

    @cached_property
    def stores(self) -> dict[str, Store]:
        """The deliveries so far, of the incidents and of each layer."""
        return open_stores(self.folder, self.city)

    def warn(
        self,
        incidents: Sequence[Path],
        layers: Mapping[str, Sequence[Path]] | None = None,
        *,
        at: str | None = None,
        catch_up: bool = False,
    ) -> Entry:
        """Issue for one issue time, and send the warnings.

        Args:
            incidents: files of the newest delivery, or the folder of deliveries.
            layers: likewise of each layer of the run, by its name.
            at: local issue time, down to the policy's stride; now unless given.
            catch_up: first make up the issue times since the record's first that have no outcome.

        Returns:
            The record's entry of the outcome, with ``again`` (whether it was there already) and ``caught_up`` (how
            many issue times were made up).

        Raises:
            UserError: the run cannot be used, a layer is missing or unknown, `at` lies ahead or was never due, or the
                record is of another run or cannot be written.
        """
        require_layers(self.city, layers or {})
        with self.recording() as (record, policy):
            now = self.clock()
            current_s = self.local_s(now) // policy.stride_s * policy.stride_s
            issue_s = current_s if at is None else parse_local_time("--at", at) // policy.stride_s * policy.stride_s
            if issue_s > current_s:
                raise UserError("--at", at, allowed=f"lies ahead: it is {_text(self.local_s(now))}")
            if issue_s < current_s:
                self._require_due(record, issue_s, at)
            self.begin(record, policy)
            turn = _Turn(self, record, policy, now)
            turn.deliver()
            entry = outcome_at(record, issue_s)
            again, is_current, wrong = entry is not None, issue_s == current_s, ""
            if not again or catch_up:
                given = {INCIDENTS: incidents, **(layers or {})}
                wrong = turn.take_in(issue_s, given if is_current and not again else {})
            made_up = turn.catch_up(current_s) if catch_up else 0
            if entry is None and made_up:
                entry = outcome_at(record, issue_s)
            if entry is None:
                entry = turn.issue(issue_s, wrong) if is_current else turn.make_up([issue_s])[0]
            turn.deliver()
        return {**entry, "again": again, "caught_up": made_up}

    def _require_due(self, record: Record, issue_s: int, at: str | None) -> None:
        """Refuse an earlier issue time from which a record cannot begin: all times since then would be due.

        Raises:
            UserError: it lies before the first outcome, or clocks never showed it.
        """
        first_s = min((seconds(entry["issue_time"]) for entry in record.entries("outcome")), default=None)
        if first_s is None or issue_s < first_s:
            begun = "which has none yet" if first_s is None else f"{_text(first_s)}"
            remedy = "Give no --at to begin with, or a later one"
            raise UserError("--at", at, allowed=f"lies before the record's first issue time, {begun}", remedy=remedy)
        if not were(np.array([issue_s]), self.zone)[0]:
            raise UserError("--at", at, allowed="never was: the clocks were put forward over it")

    @contextmanager
    def recording(self) -> Iterator[tuple[Record, Policy]]:
        """Hold the record open while the block lasts, with the policy as it is now."""
        policy = load_policy(self.folder)
        policy.require_fits(self.task, [layer.name for layer in self.city.layers])
        require_deliverable(policy.delivery)
        key = load_key(Path(policy.sign.key).expanduser()) if policy.sign.key else None
        with open_record(self.folder, key, clock=self.clock) as record:
            yield record, policy

    def deliver(self, record: Record, policy: Policy, now: datetime, *, only_withdrawals: bool = False) -> None:
        """Send what has not been sent."""
        deliver(
            record,
            policy.delivery,
            self.folder,
            self.told,
            now_s=self.local_s(now),
            out=self._out,
            only_withdrawals=only_withdrawals,
        )

    @cached_property
    def told(self) -> Told:
        """What messages say of the city."""
        return city_of(self.run.prepared if "run" in vars(self) else open_data_of(self.folder, self._data))

    def standing(self, policy: Policy, first_issue_s: int) -> Standing:
        """Return thresholds and references under a policy."""
        if policy.fingerprint not in self._standing:
            self._standing[policy.fingerprint] = standing_of(self.run, policy, self.model, first_issue_s)
        return self._standing[policy.fingerprint]

    def begin(self, record: Record, policy: Policy) -> None:
        """Begin a record, or see that it is of this run; write down a policy that has changed.

        Raises:
            UserError: the record is of another model.
        """
        code = f"{__version__}+{code_digest()[:12]}"
        opened = record.entries("opened", last=1)
        if not opened:
            body = {"run": self.folder.name, "model": self.model, "policy": policy.as_dict(), "code": code}
            record.append("opened", {**body, "fingerprint": policy.fingerprint})
            return
        if opened[0]["model"] != self.model:
            allowed = "is of another model: the run was trained anew, or is of another city"
            remedy = "Give the run that it is of, or move RUN/record and RUN/vintages away so that new ones begin"
            raise UserError(str(record.folder), allowed=allowed, remedy=remedy)
        before = max([*opened, *record.entries("policy", last=1)], key=lambda entry: int(entry["n"]))["fingerprint"]
        if before != policy.fingerprint:
            body = {"policy": policy.as_dict(), "fingerprint": policy.fingerprint, "replaced": before}
            record.append("policy", body)

    def local_s(self, instant: datetime) -> int:
        """Return what the city's clocks show, as seconds."""
        return int(instant.astimezone(self.zone).replace(tzinfo=UTC).timestamp())

    def latest_s(self, now: datetime) -> int:
        """Return the latest time that the city's clocks can have shown: of late put back, an hour more."""
        return self.local_s(now) + max(0, self._offset_s(now - timedelta(seconds=HOUR_S)) - self._offset_s(now))

    def _offset_s(self, instant: datetime) -> int:
        offset = instant.astimezone(self.zone).utcoffset()
        return int(offset.total_seconds()) if offset else 0


def outcome_at(record: Record, issue_s: int) -> Entry | None:
    """Return the outcome of an issue time, if there is one."""
    entries = record.entries("outcome", holding=f'"issue_time":"{_text(issue_s)}"', last=1)
    return entries[0] if entries else None


class _Turn:
    """One call of `hews warn`, with the record open."""

    def __init__(self, live: Live, record: Record, policy: Policy, now: datetime) -> None:
        self.live, self.record, self.policy, self.now = live, record, policy, now

    # ------------------------------------------------------------ the current issue time

    def take_in(self, issue_s: int, given: Mapping[str, Sequence[Path]]) -> str:
        """Take in what was delivered of each table, if anything is to be, and write down what came of settled windows.

        Returns:
            Why there can be no forecast of the current issue time. Nothing is done while all is stopped.
        """
        if self._why_stopped():
            return ""
        wrong = fault_of_clock(self.now, self._last_made())
        prepared = self.live.run.prepared  # a run that cannot be opened is a mistake, and no fault of the input
        try:
            if given and not wrong:
                wrong = Intake(
                    prepared=prepared,
                    stores=self.live.stores,
                    limits=self.policy.input,
                    issue_s=issue_s,
                    now_s=self.live.local_s(self.now),
                    latest_s=self.live.latest_s(self.now),
                ).take(given)
            settle(self.record, self.live.stores[INCIDENTS], self.live.local_s(self.now), self.live.zone)
        except UserError as error:
            wrong = wrong or str(error)
        return wrong

    def issue(self, issue_s: int, wrong: str) -> Entry:
        """Forecast, decide and record, unless something is `wrong` or all is stopped."""
        if reason := self._why_stopped():
            return self._append(issue_s, "stopped", reason)
        if wrong:
            return self._append(issue_s, "refused", wrong)
        return self._forecast([issue_s], late=False)[0]

    def _why_stopped(self) -> str:
        """Return why nothing may be issued at all; empty where it may."""
        switch = self.live.folder / self.policy.kill_switch
        if switch.exists() or switch.is_symlink():
            return f"kill switch: {switch.name} exists in the run's folder"
        if not self.policy.drill.required:
            return ""
        drills = self.record.entries("drill", last=1)
        if not drills:
            return "drill: there was none yet: run 'hews drill'"
        age_s = (self.now - _instant(drills[0])).total_seconds()
        if not drills[0]["passed"]:
            return "drill: the last one missed a fault"
        return "" if age_s <= DRILL_S else f"drill: the last one is {age_s / 86_400:.1f} days old, more than 7"

    def _last_made(self) -> datetime | None:
        """Return the instant of the last entry for which a forecast was made."""
        made = [
            self.record.entries("outcome", holding=f'"outcome":"{kind}"', last=1) for kind in ("issued", "abstained")
        ]
        return max((_instant(entry) for entries in made for entry in entries), default=None)

    # ------------------------------------------------------------ forecasts

    def catch_up(self, current_s: int) -> int:
        """Make up the issue times before the current one that have no outcome; return how many."""
        there = {seconds(entry["issue_time"]) for entry in self.record.entries("outcome")}
        if not there:
            return 0
        due = issue_times(min(there), current_s, self.policy.stride_s, self.live.zone)
        return len(self.make_up(due[~np.isin(due, list(there))].tolist()))

    def make_up(self, issue_s: Sequence[int]) -> list[Entry]:
        """Issue for times that have passed, from what was known then."""
        if reason := self._why_stopped():
            return [self._append(time_s, "stopped", reason, late=True) for time_s in issue_s]
        known_s = sorted(one.known_s for store in self.live.stores.values() for one in store.deliveries)
        group = np.searchsorted(known_s, issue_s, side="left")  # deliveries known before each
        made: list[Entry] = []
        for number in np.unique(group).tolist():
            made += self._forecast(np.array(issue_s)[group == number].tolist(), late=True)
        return made

    def _forecast(self, issue_s: Sequence[int], *, late: bool) -> list[Entry]:
        """Forecast, decide and record for issue times at which the same deliveries were known."""
        try:
            require_card(self.live.folder, self.live.model, self.policy.kill_switch)
            known = self._known(issue_s[-1])
        except UserError as error:
            return [self._append(time_s, "refused", str(error), late=late) for time_s in issue_s]
        standing = self.live.standing(self.policy, issue_s[0])
        reasons = [self._why_refused(known, time_s) for time_s in issue_s]
        sound = np.array([time_s for time_s, reason in zip(issue_s, reasons, strict=True) if not reason], np.int64)
        forecasts = dict(zip(sound.tolist(), self._said(known, standing, sound), strict=True))
        made = []
        for time_s, reason in zip(issue_s, reasons, strict=True):
            if reason:
                made.append(self._append(time_s, "refused", reason, late=late, vintage=known.vintage))
            else:
                said, baselines = forecasts[time_s]
                made.append(self._decide(said, baselines, known, standing, late=late))
        return made

    def _known(self, issue_s: int) -> Known:
        """Return what was known at an issue time, as a city to forecast.

        Raises:
            UserError: nothing was, or the store is damaged.
        """
        trained, stores = self.live.run.prepared, self.live.stores
        last = {name: _last_before(store, issue_s, name) for name, store in stores.items()}
        events, known_s = stores[INCIDENTS].events(issue_s)
        layers = [rows_as_of(stores[layer.name], issue_s, layer) for layer in trained.layers]
        prepared = trained.with_rows(events, layers)
        city = replace(
            self.live.trained_on,
            events=events,
            reported_s=known_s,
            end_s=issue_s,
            prepared=prepared,
            layers=tuple(layers),
        )
        vintage = _as_recorded(last[INCIDENTS], events.time_s)
        if layers:
            seen_s = {layer.name: layer.time_s[layer.known_s < issue_s] for layer in layers}
            vintage["layers"] = {name: _as_recorded(last[name], time_s) for name, time_s in seen_s.items()}
        return Known(city=city, delay_s=self.live.task.apart(city.embargo_s).delay_s, vintage=vintage)

    @cached_property
    def _layer_limits_s(self) -> dict[str, int]:
        """How old the newest row of each layer may be."""
        trained = self.live.run.prepared
        return layer_limits_s(self.policy.input, trained.layers, trained.city.splits.span_s("train"))

    def _why_refused(self, known: Known, issue_s: int) -> str:
        """Return what speaks against the rows known at an issue time."""
        situation = Situation(
            limits=self.policy.input,
            issue_s=issue_s,
            delay_s=known.delay_s,
            events=known.city.events,
            known=frozenset(self.live.run.prepared.events.categories),
        )
        of_layers = stale_layers(known.city.layers, self._layer_limits_s, np.array([issue_s]))
        return "; ".join([*faults(ISSUE_CHECKS, situation), *filter(None, of_layers)])

    def _said(self, known: Known, standing: Standing, issue_s: Int64) -> list[tuple[Said, dict[str, float]]]:
        """Return the forecast of each issue time, and those of the references."""
        forecaster, seen, each = on_city(self.live.run.forecaster, known.city), known.seen, []
        for said in forecast_in_chunks(forecaster, seen, self.live.task, issue_s):
            others = {name: one.predict(seen, said.windows) for name, one in standing.references.items()}
            for s in range(len(said)):
                one = np.array([s])
                areas = None if said.areas is None else said.areas[one]
                baselines = {name: float(p[s]) for name, p in others.items()}
                each.append((Said(windows=said.windows.select(one), p=said.p[one], areas=areas), baselines))
        return each

    def _decide(
        self, said: Said, baselines: dict[str, float], known: Known, standing: Standing, *, late: bool
    ) -> Entry:
        """Decide on warnings and record the outcome of one issue time."""
        reason = why_no_skill(self.live.folder) if self.policy.skill.required else ""
        issue_s = int(said.windows.issue_s[0])
        past = self._past(issue_s)
        warnings = decide(self.policy, standing.thresholds, said, past, withheld=late or bool(reason))
        numbers = {
            "probability": float(said.p[0]),
            "baselines": baselines,
            "neighborhoods": None if said.areas is None else np.round(said.areas[0], PLACES).tolist(),
            "thresholds": standing.thresholds.as_dict(),
            "warnings": [asdict(one) for one in warnings],
        }
        if given := [one for one in warnings if not one.withheld]:
            model, level = on_city(self.live.run.forecaster, known.city), standing.references[LEVEL]
            told = explain(model, level, known.seen, said.windows, [one.place for one in given])
            numbers["explanations"] = {one.id: each for one, each in zip(given, told, strict=True)}
        outcome = "abstained" if reason else "issued"
        return self._append(issue_s, outcome, reason, late=late, vintage=known.vintage, **numbers)

    def _past(self, issue_s: int) -> list[Warning]:
        """Return the warnings of earlier issue times in order, as far back as decisions look."""
        reach_s = max(WEEK_S, self.policy.quiet_s, self.live.task.lead_s + self.live.task.horizon_s)
        entries = self.record.entries("outcome", holding='"warnings":[{')
        given = [Warning(**one) for entry in entries for one in entry["warnings"]]
        before = [one for one in given if issue_s - reach_s < one.issue_s < issue_s]
        return sorted(before, key=lambda one: one.issue_s)  # what was made up later stands later in the record

    def _append(self, issue_s: int, outcome: str, reason: str, *, late: bool = False, **more: Any) -> Entry:
        """Record the outcome of an issue time."""
        windows = windows_at(np.array([issue_s]), self.live.task)
        body: Entry = {
            "issue_time": _text(issue_s),
            "window_start": _text(int(windows.begin_s[0])),
            "window_end": _text(int(windows.end_s[0])),
            "outcome": outcome,
            "reason": reason,
            "late": late,
            "model": self.live.model,
            "policy": self.policy.as_dict(),
            "policy_fingerprint": self.policy.fingerprint,
            "code": f"{__version__}+{code_digest()[:12]}",
            **dict.fromkeys(("vintage", "probability", "baselines", "neighborhoods", "thresholds")),
            "warnings": [],
        }
        return self.record.append("outcome", {**body, **more})

    def deliver(self) -> None:
        """Send what has not been sent, also of an earlier call that was cut off; nothing while all is stopped."""
        if self.record.entries("outcome", holding='"withheld":false', last=1) and not self._why_stopped():
            self.live.deliver(self.record, self.policy, self.now)


def cancel(
    run: Path,
    warning: str,
    why: str,
    *,
    data: Path | None = None,
    clock: Clock | None = None,
    out: TextIO | None = None,
) -> Entry:
    """Withdraw a warning: in the record, with the reason, and by telling all who had it.

    Raises:
        UserError: the record holds no such warning, it was withheld or withdrawn before, or there is no reason.
    """
    live = Live(run, data=data, clock=clock, out=out)
    if not (run / FOLDER).is_dir():
        raise UserError("--cancel", warning, allowed="is no warning: the run has issued none", remedy="Leave it")
    with live.recording() as (record, policy):
        entry = withdraw(record, warning, why, _user())
        now = live.clock()
        is_stopped = bool(_Turn(live, record, policy, now)._why_stopped())
        live.deliver(record, policy, now, only_withdrawals=is_stopped)
    return entry


def _last_before(store: Store, issue_s: int, layer: str) -> Delivery:
    """Return the last delivery of a table that was known at an issue time.

    Raises:
        UserError: there was none.
    """
    delivered = [one for one in store.deliveries if one.known_s < issue_s]
    if not delivered:
        table = f"deliveries of the layer {layer}" if layer else "deliveries"
        raise UserError(table, allowed=f"had brought nothing by {_text(issue_s)}")
    return delivered[-1]


def _as_recorded(last: Delivery, time_s: Int64) -> dict[str, Any]:
    """Return what the record says of a table that a forecast saw: its last delivery, and the times [R] of its rows."""
    newest = _text(int(time_s[-1])) if len(time_s) else None
    return {"delivery": last.file, "hash": last.hash, "rows": len(time_s), "newest": newest}


def _user() -> str:
    """Return who is logged in: the number of one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def seconds(text: str) -> int:
    """Return a local time of the record as seconds."""
    return int(np.datetime64(text, "s").astype(np.int64))


def _text(time_s: int) -> str:
    """Return a local time as the record has it."""
    return str(np.datetime64(time_s, "s"))


def _instant(entry: Entry) -> datetime:
    """Return when an entry was written."""
    return datetime.fromisoformat(entry["instant"])
