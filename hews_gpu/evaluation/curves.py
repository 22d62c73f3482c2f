"""How skill falls with lead time and reporting delay, and what it is with each row known when it was reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hews_gpu.data.windows import Task
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.forecasters.base import CLIMATOLOGY, Entry
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import BASELINES
from hews_gpu.progress import step
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S

__all__ = ["as_reported", "curves"]

LEADS_S = (0, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S)
DELAYS_S = (0, HOUR_S, DAY_S, WEEK_S)
POINT_BLOCKS = 2
"""Of a curve's points: the same windows, but fewer fits, of which there are nine times as many as for the scores."""


def curves(city: City, plan: Plan, entries: Mapping[str, Entry] = BASELINES) -> dict[str, list[dict[str, Any]]]:
    """Return log skill against the climatology, and AUC, over the lead time and over the reporting delay.

    The target windows are the same for all: those of all test blocks. What keeps that affordable is that each point has
    two fits of its own, each for half of them, and that the seeds take turns.
    """
    plan = _of_points(plan)
    axes = {"lead_s": LEADS_S, "delay_s": DELAYS_S}
    known: dict[Task, dict[str, dict[str, Any]]] = {}
    points: dict[str, list[dict[str, Any]]] = {axis: [] for axis in axes}
    with step(f"curves of {city.name}", sum(map(len, axes.values())), "points") as bar:
        for axis, values in axes.items():
            for value in values:
                changed = plan.with_task(**{axis: value})
                if changed.task not in known:
                    known[changed.task] = _point(city, changed, entries)
                points[axis].append({axis: value, "forecasts": known[changed.task]})
                bar.advance(1)
    return points


def as_reported(city: City, plan: Plan, entries: Mapping[str, Entry] = BASELINES) -> dict[str, Any] | None:
    """Return a point like those of the curves with each row known when it was reported; None where nobody knows when.

    The oracle of it knows every row at once, so nobody can reach it.
    """
    if city.reported_s is None:
        return None
    waited_s = city.reported_s - city.events.time_s
    quantiles = {f"{share:g}": float(np.quantile(waited_s, share)) for share in (0.5, 0.9, 0.99)}
    point = _point(city, replace(_of_points(plan), as_reported=True), entries)
    return {"delay_s_quantiles": quantiles, "forecasts": point}


def _of_points(plan: Plan) -> Plan:
    """Return the plan of a point of the curves."""
    return replace(plan, blocks=min(plan.blocks, POINT_BLOCKS), in_turn=True)


def _point(city: City, plan: Plan, entries: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Return log skill with its interval, and AUC, of every forecaster under one plan."""
    experiment = Experiment.open(city, plan)
    y = experiment.test.y
    p = {name: one.p[0] for name, one in forecast_blocks(experiment, entries).items()}
    oracle = experiment.oracle()
    if oracle is not None:
        p["oracle"] = oracle
    blocks = Blocks.drawn(len(y), round(WEEK_S / plan.task.stride_s))
    reference = log_loss_each_bits(y, p[CLIMATOLOGY])
    point = {}
    for name, each in p.items():
        gained = reference - log_loss_each_bits(y, each)
        bits = {"log_skill_bits": float(gained.mean()), "log_skill_bits_interval": interval(blocks.means(gained))}
        point[name] = {**bits, "auc": roc_auc(y, each)}
    return point
