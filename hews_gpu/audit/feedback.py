"""`hews simulate feedback`: what becomes of forecasts that learn from the patrols they send, where the law is known.

In each cycle a forecaster is fitted to what was recorded so far, the policy sets its thresholds and warns by the shift;
a patrol goes where a warning is in force, and changes what happens and what is recorded there (`synthetic.patrolled`).
What is recorded is known at the next delivery of the table. All arms of one seed live in one city with the same luck.

The drift of a map is the total variation between two shares of the neighborhoods, 0 to 1: that of the events that the
forecasts expect, or of the windows warned of, and that of the true risk. An arm *runs away* where the drift of its
forecasts has risen from the first cycle to the last ones, and ends above that of its control, in which patrols
go anywhere, by DRIFT at least, both beyond chance; it *drifts* where it ends above the control's by any amount beyond
chance; else it *holds*. The map of warnings is no ground for that: a ranking gives all to the likeliest place, the more
surely the better it knows the truth. (Lum and Isaac, 2016, Significance 13; Ensign and others, 2018, PMLR 81.)

Shapes: R seeds, C cycles, N neighborhoods, E incidents, S windows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from hews_gpu.alerts.decide import CITY, Thresholds, Warning, decide
from hews_gpu.alerts.forecasts import forecast
from hews_gpu.alerts.policy import CityBudget, Policy
from hews_gpu.alerts.thresholds import thresholds_of
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.events import Events
from hews_gpu.data.windows import Task, issue_windows
from hews_gpu.errors import UserError
from hews_gpu.evaluation.folds import rolling_origin
from hews_gpu.evaluation.mean_interval import LEVEL_95
from hews_gpu.files import write_json
from hews_gpu.forecasters.base import LEVEL, Forecaster, SaysWhere, Setting
from hews_gpu.forecasters.catalog import Catalog, Outcomes, make_catalog, outcomes
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.registry import require_known
from hews_gpu.progress import step
from hews_gpu.synthetic.patrolled import (
    DISCOVERED,
    FOUND,
    PREVENTED,
    REPORTED,
    SHOOTING,
    UNKNOWN,
    WEAPONS,
    PatrolledCity,
    Response,
)
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S
from hews_gpu.work_folder import code_digest, open_work_folder, read_shared, write_object
from hews_gpu.workers import Opener

__all__ = [
    "ARMS",
    "BEFORE_S",
    "NEEDS_CONTEXT",
    "SHIFT_S",
    "Arm",
    "History",
    "Settings",
    "arms_of",
    "cell",
    "feedback",
    "feedback_table",
    "judged",
    "learned",
    "run_arm",
    "told",
]

SHIFT_S = 8 * HOUR_S
"""Patrols are sent by the shift: the length of windows, and from one to the next."""
BEFORE_S = 40 * WEEK_S
"""Recorded without patrols, before the first cycle."""
CALIBRATION_S = 8 * WEEK_S
DRIFT = 0.05
"""Of a total variation, 0 to 1: less is no matter."""
LAST = 0.2
"""Of the cycles, over which the end is taken."""
ROWS_OF_A_CYCLE = 5000
"""Of a table, that are as much work as a cycle: workers are started for many."""
NEEDS_CONTEXT = ("blind", "separated")
"""Arms that differ from `reported` only for a forecaster that looks at more than its target."""
COLUMNS = {
    "time_s": np.int64,
    **dict.fromkeys(("longitude", "latitude"), np.float64),
    **dict.fromkeys(("category", "neighborhood"), np.int16),
    **dict.fromkeys(("is_target", "is_duplicate", "is_twin"), np.bool_),
}
MEASURES = ("drift", "drift_of_warnings", "hit_rate", "largest_share", "gini", "warned")
DRAWN = ("drift", "largest_share")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What is warned of, from what, and where patrols go."""

    title: str
    target: str = SHOOTING
    sees: Literal["all", "blind", "separated"] = "all"
    """All categories; those that are reported; or what patrols found as categories, and targets, of its own."""
    patrols: Literal["warned", "random", "none"] = "warned"
    is_capped: bool = False
    """Whether the policy's most of any one neighborhood holds; else only the budgets of all together do."""
    control: str | None = None
    """The arm with patrols anywhere, for about as many hours."""


ARMS: dict[str, Arm] = {
    "reported": Arm(title="shootings", control="random"),
    "blind": Arm(title="shootings, blind to drugs and weapons", sees="blind", control="random"),
    "separated": Arm(title="shootings, what patrols found apart", sees="separated", control="random"),
    "random": Arm(title="shootings, patrols anywhere", patrols="random"),
    "none": Arm(title="shootings, no patrols", patrols="none"),
    "discovered": Arm(title="weapons", target=WEAPONS, control="discovered_random"),
    "discovered_separated": Arm(
        title="weapons, but for what patrols found", target=WEAPONS, sees="separated", control="discovered_random"
    ),
    "discovered_capped": Arm(
        title="weapons, few warnings of any one place",
        target=WEAPONS,
        is_capped=True,
        control="discovered_capped_random",
    ),
    "discovered_random": Arm(title="weapons, patrols anywhere", target=WEAPONS, patrols="random"),
    "discovered_capped_random": Arm(
        title="weapons, as few patrols anywhere", target=WEAPONS, patrols="random", is_capped=True
    ),
}


def arms_of(model: str) -> tuple[str, ...]:
    """Return the arms that differ for a forecaster: the recent level looks at nothing but its target."""
    return tuple(name for name in ARMS if model != LEVEL or name not in NEEDS_CONTEXT)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides a result."""

    cycles: int = 50
    cycle_weeks: int = 2
    delivery_days: int = 14
    """From one table to the next: what happened between is known at its end."""
    seeds: int = 20
    neighborhoods: int = 12
    model: str = LEVEL
    arms: tuple[str, ...] = arms_of(LEVEL)
    response: Response = field(default_factory=Response)
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        for name, least, most in (("cycles", 2, 500), ("cycle_weeks", 1, 52), ("seeds", 2, 1000)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UserError(f"--{name.replace('_', '-')}", value, allowed=f"must be {least}..{most}")
        if not 1 <= self.delivery_days <= 7 * self.cycle_weeks or 7 * self.cycle_weeks % self.delivery_days:
            allowed = "must be whole days that divide a cycle"
            raise UserError("--delivery-days", self.delivery_days, allowed=allowed)
        if not 4 <= self.neighborhoods <= 55:
            raise UserError("--neighborhoods", self.neighborhoods, allowed="must be 4..55")
        budget = self.policy.neighborhoods
        if not budget.each_per_week or not budget.watch_per_week + budget.warning_per_week:
            allowed = "never warns of a neighborhood: nobody is sent anywhere"
            raise UserError("--policy [neighborhoods]", allowed=allowed, remedy="Give it a budget of 1 or more")
        lead_s, stretch = self.policy.minimum_lead_s, self.policy.calibrate_on
        if lead_s >= SHIFT_S:
            allowed = f"must be less than {SHIFT_S} seconds, a shift: else nothing counts as foreseen"
            raise UserError("--policy [minimum_lead_s]", lead_s, allowed=allowed)
        if stretch != "validation":
            allowed = "is a stretch of a real table, of which a generated history has nothing"
            raise UserError("--policy [calibrate_on]", list(stretch), allowed=allowed, remedy="Leave it out")
        if require_known(self.model).is_network:
            raise UserError("--model", self.model, allowed="draws maps, of which a generated history has none")

    @property
    def task(self) -> Task:
        """Windows of a shift."""
        return Task(history_s=DAY_S, horizon_s=SHIFT_S, stride_s=SHIFT_S)

    def policy_of(self, arm: Arm) -> Policy:
        """Return the policy, deciding once a shift and on neighborhoods alone: those of the city send nobody."""
        budget = self.policy.neighborhoods
        if not arm.is_capped:
            budget = replace(budget, each_per_week=budget.watch_per_week + budget.warning_per_week)
        none = CityBudget(watch_per_week=0, warning_per_week=0)
        return replace(self.policy, stride_s=SHIFT_S, city=none, neighborhoods=budget)


# ------------------------------------------------------------ one history


@dataclass(kw_only=True)
class History:
    """An arm's history while it happens."""

    city: PatrolledCity
    arm: Arm
    outcome: Int64  # [E]; UNKNOWN of what is still to come
    until_s: int
    """What lies before has happened."""
    delivery_s: int

    @cached_property
    def ground(self) -> City:
        """The city without any row, for forecasters that ask how large neighborhoods are and where they touch."""
        none: dict[str, Any] = {name: np.zeros(0, dtype=kind) for name, kind in COLUMNS.items()}
        events = Events(**none, categories=())
        begin_s = self.city.begin_s
        return City(name="patrolled", events=events, polygons=self.city.polygons, begin_s=begin_s, end_s=begin_s)

    def catalog(self) -> Catalog:
        """Return what was recorded; rows are known once they are delivered."""
        city, recorded = self.city, self.outcome[: int(np.searchsorted(self.city.time_s, self.until_s))] >= REPORTED
        names = np.array(city.categories)
        if self.arm.sees == "blind":
            recorded &= ~np.isin(names[city.category[: len(recorded)]], DISCOVERED)
        rows = np.flatnonzero(recorded)
        category = city.category[rows]
        is_apart = (self.outcome[rows] == FOUND) & (self.arm.sees == "separated")
        time_s = city.time_s[rows]
        return make_catalog(
            time_s=time_s,
            category=category + is_apart * len(names),
            area=city.area[rows],
            xy_m=city.xy_m[rows],
            is_target=(names[category] == self.arm.target) & ~is_apart,
            categories=(*city.categories, *(f"{name}, found" for name in city.categories)),
            areas=len(city.polygons),
            known_s=time_s + self.delivery_s - 1 - (time_s - city.begin_s) % self.delivery_s,
        )

    def live(self, until_s: int, patrolled: Bool, response: Response) -> tuple[Int64, Int64]:
        """Let the time until a moment happen; return seconds since its begin and neighborhood of each target event.

        Recorded or not.

        Args:
            until_s: a whole number of windows from where it stands.
            patrolled: [S, N] where patrols are.
            response: what they do.
        """
        city = self.city
        rows = slice(*np.searchsorted(city.time_s, (self.until_s, until_s)).tolist())
        since_s, area = city.time_s[rows] - self.until_s, city.area[rows]
        outcome = self.outcome[rows] = city.outcome(rows, patrolled[since_s // SHIFT_S, area], response)
        self.until_s = until_s
        target = (city.category[rows] == city.categories.index(self.arm.target)) & (outcome != PREVENTED)
        return since_s[target], area[target]


def run_arm(city: PatrolledCity, arm: Arm, settings: Settings, seed: int) -> dict[str, Any]:
    """Return one history by cycle: warned windows and mean forecast [C, N], target events and those foreseen [C]."""
    began, start_s = time.process_time(), city.begin_s + BEFORE_S
    outcome = np.full(len(city.time_s), UNKNOWN)
    delivery_s = settings.delivery_days * DAY_S
    history = History(city=city, arm=arm, outcome=outcome, until_s=city.begin_s, delivery_s=delivery_s)
    nobody = np.zeros((BEFORE_S // SHIFT_S, len(city.polygons)), dtype=bool)
    history.live(start_s, nobody, settings.response)
    rng, warnings = np.random.default_rng([seed, 1]), list[Warning]()
    result: dict[str, Any] = {name: [] for name in ("warned", "forecast", "events", "hits")}
    for _ in range(settings.cycles):
        forecaster, thresholds = learned(history, settings, seed)
        parts = range(7 * settings.cycle_weeks // settings.delivery_days)
        each = [_delivery(history, forecaster, thresholds, warnings, settings, rng) for _ in parts]
        for name, values in zip(result, zip(*each, strict=True), strict=True):
            result[name].append(np.sum(values, axis=0).tolist())
    return {**result, "processor_seconds": round(time.process_time() - began, 2)}


def learned(history: History, settings: Settings, seed: int) -> tuple[Forecaster, Thresholds]:
    """Fit the forecaster and set the thresholds by what is recorded."""
    city, task, now_s = history.city, settings.task, history.until_s
    windows = issue_windows(city.begin_s, now_s + SHIFT_S, task)
    (fold,) = rolling_origin(
        windows, task, first_test_s=now_s, blocks=1, calibration_s=CALIBRATION_S, end_s=now_s + SHIFT_S
    )
    seen = history.catalog()
    happened = outcomes(seen, windows)
    train, calibration = (Outcomes(windows=windows.select(k), y=happened.y[k]) for k in (fold.train, fold.calibration))
    forecaster = require_known(settings.model).make(Setting(city=history.ground, seed=seed))
    if not isinstance(forecaster, SaysWhere):
        remedy = "Take hewsnet, level or counts"
        raise UserError("--model", settings.model, allowed="does not say where", remedy=remedy)
    forecaster.fit(seen.until(fold.known_until_s), train, calibration)
    issue_s = calibration.windows.issue_s
    return forecaster, thresholds_of(settings.policy_of(history.arm), forecaster, seen, task, issue_s, "feedback")


def _delivery(
    history: History,
    forecaster: Forecaster,
    thresholds: Thresholds,
    warnings: list[Warning],
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[Int64, Float64, int, int]:
    """Forecast up to the next table, warn, patrol; return warned windows and forecast [N], target events and hits."""
    issue_s = history.until_s + np.arange(0, history.delivery_s, SHIFT_S)
    said = forecast(forecaster, history.catalog(), settings.task, issue_s)
    assert said.areas is not None
    policy = settings.policy_of(history.arm)
    matters_s = issue_s[0] - max(WEEK_S, policy.quiet_s)
    warnings[:] = [one for one in warnings if one.issue_s >= matters_s]
    warned = np.zeros(said.areas.shape, dtype=bool)
    for one in decide(policy, thresholds, said, warnings):
        warnings.append(one)
        assert one.place != CITY
        warned[(one.issue_s - issue_s[0]) // SHIFT_S, one.place] = True
    patrolled = warned
    if history.arm.patrols == "random":
        patrolled = rng.permuted(warned, axis=1)
    elif history.arm.patrols == "none":
        patrolled = np.zeros_like(warned)
    since_s, area = history.live(int(issue_s[0]) + history.delivery_s, patrolled, settings.response)
    hits = warned[since_s // SHIFT_S, area] & (since_s % SHIFT_S >= policy.minimum_lead_s)
    return warned.sum(axis=0), said.areas.sum(axis=0), len(hits), int(hits.sum())


# ------------------------------------------------------------ all of them


def _partition(folder: Path, number: int) -> None:
    """Run one arm of one seed, unless its file lies there."""
    settings: Settings = read_shared(folder / "settings")
    seed, arm = divmod(number, len(settings.arms))
    path = folder / f"{number}.json"
    if not path.is_file():
        days = (BEFORE_S + settings.cycles * settings.cycle_weeks * WEEK_S) // DAY_S
        city = PatrolledCity.draw(settings.neighborhoods, days, seed)
        one = ARMS[settings.arms[arm]]
        write_json(path, {**run_arm(city, one, settings, seed), "risk": city.risk(one.target).tolist()})


def feedback(settings: Settings, out: Path, workers: Opener, *, resume: bool) -> dict[str, Any]:
    """Run all arms with all seeds on workers, and judge them.

    Args:
        settings: what decides the result.
        out: the result's path, beside which the work lies while it is done.
        workers: who does it.
        resume: go on with what a run that was cut off has left.

    Raises:
        UserError: the model does not say where, or another process is at work on it.
    """
    about = {**asdict(settings), "seeds": None, "code": code_digest()}  # more seeds go on with what is done
    numbers = range(settings.seeds * len(settings.arms))
    with open_work_folder(out, about, resume=resume, keep=True) as folder:
        write_object(folder / "settings", settings)
        with (
            workers(len(numbers) * settings.cycles * ROWS_OF_A_CYCLE, folder) as team,
            step("feedback", len(numbers), "histories") as bar,
        ):
            for _ in team.run(_partition, folder, numbers):
                bar.advance()
        runs = [json.loads((folder / f"{number}.json").read_text(encoding="utf-8")) for number in numbers]
    return {
        "settings": {**asdict(settings), "policy": settings.policy.as_dict()},
        "before_weeks": BEFORE_S // WEEK_S,
        "shift_hours": SHIFT_S // HOUR_S,
        "processor_seconds": round(sum(one["processor_seconds"] for one in runs), 1),
        "arms": judged({name: runs[k :: len(settings.arms)] for k, name in enumerate(settings.arms)}),
    }


def judged(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return each arm's measures at the begin and the end and by cycle, and what it is called.

    Args:
        runs: by arm, what `run_arm` returned for each seed, and the true ``risk`` [N].
    """
    measured = {name: _measures(each) for name, each in runs.items()}
    result = {}
    for name, values in measured.items():
        arm, cycles = ARMS[name], values["drift"].shape[1]
        last = slice(-max(1, round(LAST * cycles)), None)
        ends = {key: _mean(values[key][:, last]) for key in MEASURES}
        half = values["drift"][:, cycles // 2 :]
        middle = np.arange(half.shape[1]) - (half.shape[1] - 1) / 2
        row: dict[str, Any] = {
            "title": arm.title,
            **{key: {"first": told(values[key][:, 0]), "last": told(ends[key])} for key in MEASURES},
            "rise": told(ends["drift"] - values["drift"][:, 0]),
            "second_half_per_ten_cycles": told(10 * half @ middle / max(1.0, (middle**2).sum())),
            "by_cycle": {key: [told(one) for one in values[key].T] for key in DRAWN},
        }
        if arm.control is not None and arm.control in measured:
            row["beyond_control"] = told(ends["drift"] - _mean(measured[arm.control]["drift"][:, last]))
            row["verdict"] = _verdict(row["beyond_control"], row["rise"])
        result[name] = row
    return result


def _measures(each: Sequence[Mapping[str, Any]]) -> dict[str, Float64]:
    """Return the measures [R, C] of an arm; nan in cycles without a warning, or without an event."""
    warned, forecasts = (np.array([one[key] for one in each], dtype=np.float64) for key in ("warned", "forecast"))
    hits, events = (np.array([one[key] for one in each], dtype=np.float64) for key in ("hits", "events"))
    risk = np.array([one["risk"] for one in each])[:, None]
    with np.errstate(invalid="ignore"):
        share, expected = (one / one.sum(axis=2, keepdims=True) for one in (warned, forecasts))
        ranks = np.arange(1, share.shape[2] + 1)
        return {
            "drift": np.abs(expected - risk).sum(axis=2) / 2,
            "drift_of_warnings": np.abs(share - risk).sum(axis=2) / 2,
            "hit_rate": hits / events,
            "largest_share": share.max(axis=2),
            "gini": (2 * np.sort(share, axis=2) @ ranks - len(ranks) - 1) / len(ranks),
            "warned": warned.sum(axis=2),
        }


def _mean(values: Float64) -> Float64:
    """Return the mean [R] of the cycles [R, C] that have a value; nan where none has."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1), dtype=np.float64)


def told(values: Float64) -> dict[str, Any]:
    """Return the mean of the seeds [R] and its 95 % t-interval; None where fewer than two have a value."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return {"value": None, "interval": None}
    mean = float(values.mean())
    half = float(values.std(ddof=1) / np.sqrt(len(values)) * stdtrit(len(values) - 1, (1 + LEVEL_95) / 2))
    return {"value": round(mean, 4), "interval": [round(mean - half, 4), round(mean + half, 4)]}


def _verdict(apart: Mapping[str, Any], rise: Mapping[str, Any]) -> str:
    """Return what an arm is called by how far it ends above its control, and how far it has risen."""
    if apart["interval"][0] <= 0:
        return "holds"
    return "runs away" if apart["value"] >= DRIFT and rise["interval"][0] > 0 else "drifts"


def feedback_table(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the arms as rows of text: drift at the begin and the end, beyond the control, and what they are called.

    With the shifts and neighborhoods warned of in a cycle at the end.
    """
    rows = [
        ["arm", "drift, first", "last", "beyond control", "foreseen, last", "most borne by one, last", "shifts", ""]
    ]
    for one in result["arms"].values():
        apart = one.get("beyond_control")
        cells = [one["drift"]["first"], one["drift"]["last"], apart, one["hit_rate"]["last"]]
        cells.append(one["largest_share"]["last"])
        shifts = one["warned"]["last"]["value"]
        rows.append([one["title"], *map(cell, cells), f"{shifts:.1f}", one.get("verdict", "")])
    return rows


def cell(one: Mapping[str, Any] | None) -> str:
    """Return what `told` tells, as text."""
    if one is None or one["value"] is None:
        return ""
    low, high = one["interval"]
    return f"{one['value']:.3f} ({low:.3f} to {high:.3f})"
