"""`hews leadtime`: skill and hit rate against lead and horizon on the same windows, in a folder filled point by point.

The folder holds one file per point, `points/`, so that a run that was cut off goes on with those that are missing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hews_gpu.data.windows import Task
from hews_gpu.environment.device import choose_device
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import Problem, forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import NOT_MODELS
from hews_gpu.evaluation.leadtime import few_fits, judge_point, put_together, require_times, tasks_of
from hews_gpu.files import MANIFEST, disk_full_is_a_user_error, manifest, require_free, write_json
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.registry import FORECASTERS, require_known
from hews_gpu.own_files import read_json
from hews_gpu.progress import log, step
from hews_gpu.runs.resumable import OfProblem, begin, is_begun, notes_of
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S, short_duration
from hews_gpu.workers import processes

__all__ = ["DEFAULT_HORIZONS_S", "DEFAULT_LEADS_S", "DEFAULT_MODELS", "LEADTIME", "Settings", "leadtime"]

KIND = "leadtime"
LEADTIME, POINTS = "leadtime.json", "points"
DEFAULT_MODELS = (LEVEL, "counts")
"""What is affordable at every point; the level is what the others are held against."""
DEFAULT_LEADS_S = (30 * MINUTE_S, *(hours * HOUR_S for hours in (2, 6, 12, 24, 48)), 7 * DAY_S)
DEFAULT_HORIZONS_S = tuple(hours * HOUR_S for hours in (2, 8, 24))
MOST = 20  # leads or horizons
POINT = {"horizon_s": int, "lead_s": int, "digest": str, "too_little": [str], "forecasts": dict, "seconds": float}


@dataclass(frozen=True, kw_only=True)
class Settings(OfProblem):
    """What decides the result."""

    models: tuple[str, ...] = DEFAULT_MODELS
    leads_s: tuple[int, ...] = DEFAULT_LEADS_S
    """From a forecast to the begin of its window."""
    horizons_s: tuple[int, ...] = DEFAULT_HORIZONS_S
    """Lengths of the windows."""
    shifts_s: tuple[int, ...] = ()
    """When shifts begin, from midnight, evenly spaced: windows as long as one or several begin with one."""

    def __post_init__(self) -> None:
        for name in self.models:
            require_known(name, "--models")
        if all(name in NOT_MODELS for name in self.models):
            allowed = "names nothing to be held against the calendar at its recent level"
            raise UserError("--models", ",".join(self.models), allowed=allowed, remedy="Add counts, hewsnet or stack")
        for option, given in (("--leads", self.leads_s), ("--horizons", self.horizons_s)):
            if not 1 <= len(given) <= MOST:
                raise UserError(option, f"{len(given)} durations", allowed=f"must be 1..{MOST}")
            if list(given) != sorted(set(given)):
                written = ",".join(map(short_duration, given))
                raise UserError(option, written, allowed="must each be longer than the one before")
        if not self.shifts_s:
            return
        shift_s = DAY_S // len(self.shifts_s)
        if list(self.shifts_s) != [self.shifts_s[0] + k * shift_s for k in range(len(self.shifts_s))]:
            allowed = "must divide the day into equal parts, from the earliest on"
            raise UserError("--shifts", clock_times(self.shifts_s), allowed=allowed, remedy="Such as 07:00,15:00,23:00")
        if all(length_s % shift_s for length_s in self.horizons_s):
            remedy = f"Add {short_duration(shift_s)} to --horizons, or leave --shifts out"
            raise UserError("--shifts", clock_times(self.shifts_s), allowed="fits no horizon", remedy=remedy)

    @property
    def every(self) -> tuple[str, ...]:
        """The models, and what they are measured against."""
        return tuple(dict.fromkeys((CLIMATOLOGY, LEVEL, *self.models)))

    def plans(self, city: City) -> list[Plan]:
        """Return the plan of every point, by horizon and then by lead."""
        task = Task() if self.problem.prepared is None else Task.of_city(city.config)
        tasks = tasks_of(task, horizons_s=self.horizons_s, leads_s=self.leads_s, shifts_s=self.shifts_s)
        return [few_fits(Plan(task=task)) for task in tasks]


def clock_times(times_s: tuple[int, ...]) -> str:
    """Return times of the day as ``07:00,15:00``."""
    return ",".join(f"{one // HOUR_S:02d}:{one % HOUR_S // MINUTE_S:02d}" for one in times_s)


def leadtime(
    settings: Settings,
    out: Path,
    *,
    jobs: int = 1,
    device: str = "cpu",
    force: bool = False,
    resume: bool = False,
) -> dict[str, Any]:
    """Fit, forecast and judge every model at every lead and horizon.

    Args:
        settings: what is asked.
        out: folder for ``leadtime.json``.
        jobs: points at a time, each in a process of its own.
        device: of networks.
        force: replace an older result.
        resume: use the points that are there.

    Returns:
        What ``leadtime.json`` holds.

    Raises:
        UserError: the table is too short or its times too coarse, a model cannot be fitted, or `out` not written.
    """
    if jobs < 1:
        raise UserError("--jobs", jobs, allowed="must be 1 or more")
    device = choose_device(device).device
    if not is_begun(settings, out, kind=KIND, force=force, goes_on=resume):
        require_free(out, kind=KIND, force=force)
    city, times = settings.problem.open(), (settings.horizons_s, settings.leads_s, settings.shifts_s)
    require_times(city, **dict(zip(("horizons_s", "leads_s", "shifts_s"), times, strict=True)))
    plans = settings.plans(city)
    _require_data(city, [plan for plan in plans if plan.task.lead_s == settings.leads_s[-1]])
    _CITY.clear()
    _CITY[settings.problem] = city
    begin(settings, out, kind=KIND, parts=POINTS, force=force, goes_on=resume)
    files = [out / POINTS / f"{plan.task.horizon_s}-{plan.task.lead_s}.json" for plan in plans]
    missing = [(settings, plan, file, device) for plan, file in zip(plans, files, strict=True) if not file.is_file()]
    if len(missing) < len(plans):
        log(f"leadtime: {len(plans) - len(missing)} of {len(plans)} points are there already")
    try:
        with (
            disk_full_is_a_user_error(out),
            step("leadtime", len(missing), "points") as bar,
            processes(min(jobs, len(missing))) as run,
        ):
            for point in run(_make_point, missing):
                bar.advance(1, point)
    except KeyboardInterrupt:
        kept = f"{out} keeps the points that were made"
        raise KeyboardInterrupt(f"stopped; {kept}. Give the same command with --resume to go on.") from None
    points = [read_json(file, POINT, remedy="Remove it and give the same command with --resume") for file in files]
    seconds = round(sum(point.pop("seconds") for point in points), 1)
    result = {"kind": KIND, **described(settings, city, plans[0]), **put_together(points)}
    write_json(out / LEADTIME, result)
    write_json(out / MANIFEST, manifest(KIND, {**notes_of(settings), "state": "done", "processor_seconds": seconds}))
    return result


def _require_data(city: City, plans: list[Plan]) -> None:
    """Refuse a horizon that a table cannot be cut into at its longest lead, before anything is fitted.

    Raises:
        UserError: names horizon and lead.
    """
    for plan in plans:
        try:
            Experiment.open(city, plan)
        except UserError as error:
            lengths = [short_duration(length_s) for length_s in (plan.task.horizon_s, plan.task.lead_s)]
            field = f"{error.field}, windows of {' forecast '.join(lengths)} ahead"
            remedy = "Give other --horizons or shorter --leads, or a longer table"
            raise UserError(field, allowed=error.allowed, remedy=remedy) from None


_CITY: dict[Problem, City] = {}
"""What this process has read last."""


def _make_point(given: tuple[Settings, Plan, Path, str]) -> str:
    """Make one point, write its file, and return what it is."""
    settings, plan, file, device = given
    if settings.problem not in _CITY:
        _CITY[settings.problem] = settings.problem.open()
    began = time.process_time()
    experiment = Experiment.open(_CITY[settings.problem], plan)
    entries = {name: FORECASTERS[name] for name in settings.every}
    point = judge_point(experiment, forecast_blocks(experiment, entries, where=True, device=device))
    write_json(file, {**point, "seconds": round(time.process_time() - began, 1)})
    return f"{short_duration(plan.task.horizon_s)}, {short_duration(plan.task.lead_s)} ahead"


def described(settings: Settings, city: City, plan: Plan) -> dict[str, Any]:
    """Return what is asked, and how, as the result tells it."""
    return {
        **city.notes,
        "models": list(settings.every),
        **({"shifts": clock_times(settings.shifts_s)} if settings.shifts_s else {}),
        "history_s": plan.task.history_s,
        "blocks": plan.blocks,
    }
