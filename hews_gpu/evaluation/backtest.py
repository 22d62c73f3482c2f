"""The verdict on all baselines (and a model) on one source: scores, curves over lead and delay, and where.

What comes out is plain data for JSON files, tables and figures.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.errors import UserError
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.folds import Task
from hews_gpu.evaluation.judge import BLOCK_WEEKS, compare
from hews_gpu.evaluation.metrics import DRAWS, log_loss_each_bits, roc_auc
from hews_gpu.evaluation.near_pairs import knox
from hews_gpu.evaluation.neighborhood_scores import place_scores
from hews_gpu.evaluation.rolling import Plan, Rolling, forecast_blocks
from hews_gpu.evaluation.sources import Source, Truth, synthetic_source
from hews_gpu.evaluation.split_scores import verdict
from hews_gpu.forecasters.base import CLIMATOLOGY, Entry, SaysWhere
from hews_gpu.forecasters.catalog import Outcomes, area_counts
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.forecasters.registry import BASELINES, FORECASTERS, MODELS, require_known
from hews_gpu.progress import step
from hews_gpu.units import HOUR_S, WEEK_S

__all__ = ["DELAYS_S", "LEADS_S", "as_reported", "curves", "evaluate_places", "evaluate_preset", "evaluate_source"]

LEADS_S = (0, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, 24 * HOUR_S)
DELAYS_S = (0, HOUR_S, 24 * HOUR_S, 7 * 24 * HOUR_S)
POINT_BLOCKS = 2
"""Of a curve's points: the same windows, but fewer fits, of which there are nine times as many as for the scores."""
DEFAULT_MODEL = "boosting"
MOST_YEARS = 40


def evaluate_preset(
    preset: str, *, years: int, seed: int = 0, model: str = DEFAULT_MODEL, blocks: int | None = None
) -> dict[str, Any]:
    """What ``hews evaluate --preset`` gives: a model on a generated city, against every baseline and the oracle.

    Args:
        preset: name of the city's law.
        years: how many are drawn; the last two fifths are test blocks.
        seed: of the city.
        model: name of a forecaster.
        blocks: test blocks, each with a fit of its own; about one a year, up to 4, unless given.

    Returns:
        The model's `log_skill_bits`, `oracle_gap_closure` and `calibration_slope` with their intervals (one-week
        blocks) on top, and everything else below.

    Raises:
        UserError: no such preset or model, or years out of range.
    """
    from hews_gpu.errors import did_you_mean
    from hews_gpu.synthetic import PRESETS

    if preset not in PRESETS:
        raise UserError("--preset", preset, allowed="is not a preset", remedy=did_you_mean(preset, PRESETS))
    if not 2 <= years <= MOST_YEARS:
        raise UserError("--years", years, allowed=f"must be 2..{MOST_YEARS}")
    require_known(model)
    source = synthetic_source(preset, years=years, seed=seed)
    plan = Plan(blocks=blocks or max(1, min(4, years * 2 // 5)))
    found = evaluate_source(source, plan, {**BASELINES, model: FORECASTERS[model]})
    return {**headline(found["forecasts"][model]), "model": model, **found}


def headline(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that sum up one forecaster; None where one does not exist."""
    against = scores["against"].get(CLIMATOLOGY)
    itself: dict[str, Any] = {"value": 0.0, "one_week": [0.0, 0.0], "four_weeks": [0.0, 0.0]}
    bits = against["log_skill_bits"] if against else itself
    closure = scores.get("oracle_gap_closure")
    calibration = scores["calibration"]
    return {
        "log_skill_bits": bits["value"],
        "log_skill_bits_interval": bits["one_week"],
        "log_skill_bits_interval_four_weeks": bits["four_weeks"],
        "oracle_gap_closure": closure["value"] if closure else None,
        "oracle_gap_closure_interval": closure["one_week"] if closure else None,
        "oracle_gap_closure_interval_four_weeks": closure["four_weeks"] if closure else None,
        "calibration_slope": calibration["slope"],
        "calibration_slope_interval": calibration["slope_interval"],
        "verdict": verdict(bits["value"], *bits["one_week"]),
    }


def evaluate_source(source: Source, plan: Plan, entries: Mapping[str, Entry] = BASELINES) -> dict[str, Any]:
    """Every forecaster on one source.

    Args:
        source: the city.
        plan: the task, the blocks, the seeds.
        entries: forecasters by name; the climatology must be among them.
    """
    rolling = Rolling.opened(source, plan)
    fits = len(rolling.folds) * sum(len(plan.seeds) if entry.is_random else 1 for entry in entries.values())
    with step(f"forecasting {source.name}", fits, "fits") as bar:
        judged = forecast_blocks(rolling, entries, bar)
    test = rolling.test
    scores = compare(test.y, test.windows.begin_s, plan.task.stride_s, judged, rolling.oracle())
    counts = {"windows": len(test), "positives": int(test.y.sum()), "base_rate": float(test.y.mean())}
    bootstrap = {"draws": DRAWS, "block_weeks": list(BLOCK_WEEKS.values()), "level": 0.95}
    protocol = {**rolling.described(), "seeds": list(plan.seeds), "bootstrap": bootstrap}
    return {**source.notes, "protocol": protocol, **counts, "forecasts": scores}


def curves(source: Source, plan: Plan, entries: Mapping[str, Entry] = BASELINES) -> dict[str, list[dict[str, Any]]]:
    """Log skill against the climatology, and AUC, over the lead time and over the reporting delay.

    The target windows are the same for all: those of all test blocks. What keeps that affordable is that each point has
    two fits of its own, each for half of them, and that the seeds take turns.
    """
    plan = _of_points(plan)
    axes = {"lead_s": LEADS_S, "delay_s": DELAYS_S}
    known: dict[Task, dict[str, dict[str, Any]]] = {}
    found: dict[str, list[dict[str, Any]]] = {axis: [] for axis in axes}
    with step(f"curves of {source.name}", sum(map(len, axes.values())), "points") as bar:
        for axis, values in axes.items():
            for value in values:
                changed = plan.with_task(**{axis: value})
                if changed.task not in known:
                    known[changed.task] = _point(source, changed, entries)
                found[axis].append({axis: value, "forecasts": known[changed.task]})
                bar.advance(1)
    return found


def _of_points(plan: Plan) -> Plan:
    """The plan of a point of the curves."""
    return replace(plan, blocks=min(plan.blocks, POINT_BLOCKS), in_turn=True)


def as_reported(source: Source, plan: Plan, entries: Mapping[str, Entry] = BASELINES) -> dict[str, Any] | None:
    """A point like those of the curves with each row known when it was reported; None where nobody knows when.

    The oracle of it knows every row at once, so nobody can reach it.
    """
    if source.reported_s is None:
        return None
    waited_s = source.reported_s - source.events.time_s
    quantiles = {f"{share:g}": float(np.quantile(waited_s, share)) for share in (0.5, 0.9, 0.99)}
    found = _point(source, replace(_of_points(plan), as_reported=True), entries)
    return {"delay_s_quantiles": quantiles, "forecasts": found}


def _point(source: Source, plan: Plan, entries: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Log skill with its interval, and AUC, of every forecaster under one plan."""
    rolling = Rolling.opened(source, plan)
    judged = forecast_blocks(rolling, entries, _Silent())
    y = rolling.test.y
    said = {name: one.p[0] for name, one in judged.items()}
    oracle = rolling.oracle()
    if oracle is not None:
        said["oracle"] = oracle
    blocks = Blocks.drawn(len(y), round(WEEK_S / plan.task.stride_s))
    reference = log_loss_each_bits(y, said[CLIMATOLOGY])
    found = {}
    for name, p in said.items():
        gained = reference - log_loss_each_bits(y, p)
        bits = {"log_skill_bits": float(gained.mean()), "log_skill_bits_interval": interval(blocks.means(gained))}
        found[name] = {**bits, "auc": roc_auc(y, p)}
    return found


class _Silent:
    """A step that nobody watches."""

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Say nothing."""


def evaluate_places(source: Source, plan: Plan, models: Mapping[str, Entry] = MODELS) -> dict[str, Any]:
    """The baselines per neighborhood (and the oracle, where there is one), all against the long-run rate.

    Args:
        source: the city.
        plan: the task and the blocks; chance has a part in none of these.
        models: those of them that say where are judged too.
    """
    rolling = Rolling.opened(source, plan)
    test, ground = rolling.test, source.ground
    counts = area_counts(rolling.catalog, test.windows)
    makers = {name: entry.make for name, entry in models.items()}
    parts: dict[str, list[Float64]] = {name: [] for name in (*PLACE_BASELINES, *makers)}
    with step(f"places of {source.name}", len(rolling.folds) * len(parts), "fits") as bar:
        for fold in rolling.folds:
            train, asked = rolling.learned(fold, "train"), rolling.all.windows.select(fold.test)
            past = rolling.catalog.until(fold.known_until_s)
            somewhere = -np.log1p(-fit_climatology(train.windows.begin_s, train.y).probability(asked.begin_s))
            for name, make in PLACE_BASELINES.items():
                forecaster = make(ground)
                forecaster.fit(past, train)
                parts[name].append(-np.expm1(-somewhere[:, None] * forecaster.shares(rolling.catalog, asked)))
                bar.advance(1, name)
            for name, make_model in makers.items():
                model = make_model(plan.seeds[0])
                model.fit(past, train, rolling.learned(fold, "calibration"))
                if isinstance(model, SaysWhere):
                    parts[name].append(model.predict_areas(rolling.catalog, asked))
                bar.advance(1, name)
    said = {name: np.concatenate(blocks) for name, blocks in parts.items() if blocks}
    truth = _true_places(source.truth, test, rolling.plan.task.delay_s)
    if truth is not None:
        said["oracle"] = truth
    blocks = Blocks.drawn(len(test), round(WEEK_S / plan.task.stride_s))
    long_run = said["long_run"]
    scores = {name: place_scores(counts, p, long_run, ground.area_km2, blocks) for name, p in said.items()}
    return {
        "neighborhoods": len(ground.area_km2),
        "events": int(counts.sum()),
        "forecasts": scores,
        "near_pairs": _near_pairs(rolling),
    }


def _near_pairs(rolling: Rolling) -> list[dict[str, Any]]:
    """How many more target events than by chance follow near one another, in what the last fit has seen."""
    past = rolling.catalog.until(rolling.folds[-1].known_until_s)
    events = past.is_target & past.is_first
    return knox(past.time_s[events], past.xy_m[events])


def _true_places(truth: Truth | None, test: Outcomes, delay_s: int) -> Float64 | None:
    """[S, N] true chances, where the truth knows them per neighborhood."""
    if truth is None or not hasattr(truth, "by_area"):
        return None
    windows = test.windows
    return truth.by_area(windows.issue_s, windows.begin_s, windows.end_s, delay_s=delay_s)
