"""Skill and hit rate over lead and horizon: the same target windows, forecast from ever further back.

For each horizon, windows of that length follow one another; at each lead they are forecast from so long before they
begin. Such a point is a small rolling origin: two test blocks, each with fits of its own, so that calendar, level and
models all know what was known at that lead and no more. Only a gain over the calendar at its recent level is foresight,
corrected for all points and models together.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.data.resolution import count_minutes, resolution_of
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.evaluation.alarms import BUDGETS_PER_WEEK
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import NOT_MODELS, TOO_LITTLE, Judged, beats, correct, gains, too_little
from hews_gpu.evaluation.mean_interval import LEVEL_95, cosines, ratio_interval
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.evaluation.neighborhood_scores import hits_within, log_loss_of_places_bits
from hews_gpu.evaluation.places import LONG_RUN, PLACE_REFERENCES, baseline_areas
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.catalog import area_counts
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.units import DAY_S, WEEK_S, short_duration

__all__ = [
    "SPOTS",
    "correct_for_points",
    "few_fits",
    "foresees",
    "judge_point",
    "put_together",
    "require_times",
    "tasks_of",
]

REFERENCES = (CLIMATOLOGY, LEVEL)
POINT_BLOCKS = 2
"""The same windows as in a backtest, but fewer fits: there is a point for every lead."""
BUDGET = BUDGETS_PER_WEEK[0]
"""Warnings a week, of which there are seven windows at a horizon of a day."""
SPOTS = (0.01, 0.05)
"""Of the city's area."""


def few_fits(plan: Plan) -> Plan:
    """Return the plan of one point: two blocks at most, for which the seeds take turns."""
    return replace(plan, blocks=min(plan.blocks, POINT_BLOCKS), in_turn=True)


def tasks_of(
    task: Task, *, horizons_s: Sequence[int], leads_s: Sequence[int], shifts_s: Sequence[int] = ()
) -> list[Task]:
    """Return the task of every point, by horizon and then by lead.

    Args:
        task: of the city file.
        horizons_s: lengths of the windows, and from one to the next.
        leads_s: from the forecast to its window.
        shifts_s: when shifts begin, from midnight; windows of whole shifts begin with one, others on the city's grid.
    """
    shift_s = DAY_S // len(shifts_s) if shifts_s else 0
    tasks = []
    for horizon_s in horizons_s:
        anchor_s = shifts_s[0] if shifts_s and horizon_s % shift_s == 0 else task.anchor_s
        windows = {"horizon_s": horizon_s, "stride_s": horizon_s, "anchor_s": anchor_s}
        tasks += [replace(task, lead_s=lead_s, **windows) for lead_s in leads_s]
    return tasks


def require_times(
    city: City, *, horizons_s: Sequence[int], leads_s: Sequence[int], shifts_s: Sequence[int] = ()
) -> None:
    """Refuse windows and leads that are finer than the times of the city's rows.

    Raises:
        UserError: names the option and what the times know.
    """
    resolution = resolution_of(count_minutes(city.events.time_s, city.events.is_target))
    if resolution is None:
        return
    step, remedy = resolution.step_s, f"The times know steps of {short_duration(resolution.step_s)}"
    finer = {
        "--horizons": [length_s for length_s in horizons_s if length_s % step],
        "--leads": [lead_s for lead_s in leads_s if lead_s < step],  # a row may have happened up to a step later
        "--shifts": [begin_s for begin_s in shifts_s if begin_s % step],
    }
    for option, given in finer.items():
        if given:
            allowed = f"is finer than the times: {resolution}"
            raise UserError(option, short_duration(given[0]), allowed=allowed, remedy=remedy)


def judge_point(experiment: Experiment, judged: Mapping[str, Judged]) -> dict[str, Any]:
    """Return what the forecasts of one lead and horizon are worth, as JSON can hold it.

    Args:
        experiment: the city, cut.
        judged: forecasts of its test windows by name, the climatology among them, and by neighborhood where they are.
    """
    task, test = experiment.plan.task, experiment.test
    windows, y, weeks = test.windows, test.y, len(test) * task.stride_s / WEEK_S
    assert np.array_equal(windows.issue_s, windows.begin_s - task.lead_s), "a forecast is issued its lead before"
    every = dict(judged)
    with suppress(UserError):  # a truth may not reach over this lead
        oracle = experiment.oracle()
        every |= {} if oracle is None else {"oracle": Judged(p=[oracle], warned={})}
    lost = {name: one.losses(y) for name, one in every.items()}
    forecasts = {}
    for name, one in every.items():
        forecasts[name] = {
            "against": gains(lost, name, REFERENCES, task.stride_s),
            "auc": float(np.mean([roc_auc(y, p) for p in one.p])),
        }
        if BUDGET in one.warned:
            warned = np.mean(one.warned[BUDGET], axis=0)
            rate = _rate(y * warned, y.astype(np.float64), task.stride_s)
            forecasts[name]["warned"] = {**rate, "budget_per_week": BUDGET, "per_week": float(warned.sum() / weeks)}
    counts = {"windows": len(test), "positives": int(y.sum())}
    protocol = experiment.described()
    point = {
        **{"horizon_s": task.horizon_s, "lead_s": task.lead_s, "embargo_s": protocol["embargo_s"], **counts},
        **{edge: protocol["folds"][k]["test"][edge] for edge, k in (("begin", 0), ("end", -1))},
        "digest": hashlib.sha256(windows.begin_s.tobytes() + windows.end_s.tobytes() + y.tobytes()).hexdigest()[:16],
        "too_little": too_little({**counts, "protocol": protocol}),
        "forecasts": forecasts,
    }
    areas = {name: one.areas for name, one in judged.items() if one.areas is not None}
    return {**point, "places": _places(experiment, areas)} if areas else point


def _rate(caught: Float64, events: Float64, stride_s: int) -> dict[str, Any]:
    """Return a hit rate with its interval, which ends at 0 and 1; [S] both."""
    rate = ratio_interval(caught, events, stride_s)
    return {**rate, "interval": [min(max(end, 0.0), 1.0) for end in rate["interval"]]}


def _places(experiment: Experiment, areas: Mapping[str, Float64]) -> dict[str, Any]:
    """Return skill and hit rates by neighborhood of forecasts [S, N], and of each one's long-run rate."""
    windows, area_km2 = experiment.test.windows, experiment.city.ground.area_km2
    stride_s, counts = experiment.plan.task.stride_s, area_counts(experiment.catalog, windows)
    every = {**baseline_areas(experiment, (LONG_RUN,)), **areas}
    lost = {name: log_loss_of_places_bits(counts, p) for name, p in every.items()}
    total = counts.sum(axis=1).astype(np.float64)
    caught = {name: hits_within(counts, p / area_km2, area_km2, SPOTS).T for name, p in every.items()}
    forecasts = {
        name: {
            "against": gains(lost, name, PLACE_REFERENCES, stride_s),
            "hot_spots": [
                {
                    "area_share": share,
                    "hit_rate": _rate(own, total, stride_s),
                    "over_long_run": ratio_interval(own - usual, total, stride_s),
                }
                for share, own, usual in zip(SPOTS, caught[name], caught[LONG_RUN], strict=True)
            ],
        }
        for name in every
    }
    return {"neighborhoods": len(area_km2), "events": int(total.sum()), "forecasts": forecasts}


def put_together(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the result of all points: with corrected p values, how far ahead each model foresees, and the verdict.

    Raises:
        ValueError: the points of one horizon are of different windows, so that they cannot be compared.
    """
    for point in points:
        first = next(one for one in points if one["horizon_s"] == point["horizon_s"])
        if first["digest"] != point["digest"]:
            leads = " and ".join(short_duration(one["lead_s"]) for one in (first, point))
            raise ValueError(f"windows of {short_duration(point['horizon_s'])} differ between the leads {leads}")
    correct_for_points(points)
    models = [name for name in points[0]["forecasts"] if name not in NOT_MODELS]
    longest = [
        {"model": name, "horizon_s": horizon_s, "lead_s": _longest_s(points, name, horizon_s)}
        for horizon_s in dict.fromkeys(point["horizon_s"] for point in points)
        for name in models
    ]
    stride_s = {point["horizon_s"]: point["windows"] for point in points}
    intervals = {
        "level": LEVEL_95,
        "method": "t of cosines",
        "cosines": {str(horizon_s): cosines(count, horizon_s) for horizon_s, count in stride_s.items()},
    }
    verdict = _in_words(points, longest, len(models))
    return {"verdict": verdict, "longest": longest, "intervals": intervals, "points": list(points)}


def correct_for_points(points: Sequence[Mapping[str, Any]]) -> None:
    """Add the p values corrected for the number of points and models, against each reference, in the city and within.

    Results from before December 2026 have none by neighborhood.
    """
    within = [point["places"] for point in points if "places" in point]
    for every, references in ((points, REFERENCES), (within, PLACE_REFERENCES)):
        correct([pair for one in every for pair in one["forecasts"].items()], references, PLACE_BASELINES)


def foresees(point: Mapping[str, Any], name: str) -> bool:
    """Return whether a model gains significantly over the calendar and over its recent level at one point."""
    return not point["too_little"] and beats(point["forecasts"][name], REFERENCES)


def _longest_s(points: Sequence[Mapping[str, Any]], name: str, horizon_s: int) -> int | None:
    leads = [one["lead_s"] for one in points if one["horizon_s"] == horizon_s and foresees(one, name)]
    return max(leads, default=None)


def _in_words(points: Sequence[Mapping[str, Any]], longest: Sequence[Mapping[str, Any]], models: int) -> str:
    """Return the longest lead at which anything beats the calendar at its recent level, as a sentence or two."""
    judged = [point for point in points if not point["too_little"]]
    if not judged:
        return f"{TOO_LITTLE}: {'; '.join(dict.fromkeys(why for point in points for why in point['too_little']))}."
    left = len(points) - len(judged)
    more = f" At {left} of {len(points)} points there is too little to judge by." if left else ""
    tried = f"corrected for {len(points) * models} comparisons" if len(points) * models > 1 else "one comparison"
    ahead = [one for one in longest if one["lead_s"] is not None]
    if not ahead:
        leads = dict.fromkeys(short_duration(pick(one["lead_s"] for one in judged)) for pick in (min, max))
        lengths = dict.fromkeys(short_duration(one["horizon_s"]) for one in judged)
        return (
            f"No foresight shown at any lead from {' to '.join(leads)}, in windows of {', '.join(lengths)}: nothing "
            f"tried beats the calendar at its recent level, as far as can be told ({tried}).{more}"
        )
    best = max(ahead, key=lambda one: one["lead_s"])
    (point,) = [one for one in judged if all(one[key] == best[key] for key in ("horizon_s", "lead_s"))]
    bits = point["forecasts"][best["model"]]["against"][LEVEL]["log_skill_bits"]
    (low, high), lead, length = bits["interval"], short_duration(best["lead_s"]), short_duration(best["horizon_s"])
    return (
        f"The longest lead at which anything beats the calendar at its recent level is {lead}: {best['model']}, in "
        f"windows of {length}, gains {bits['value']:+.4f} bits per window, 95 % interval {low:+.4f} to {high:+.4f} "
        f"({tried}).{more}"
    )
