"""Where: forecasts by neighborhood judged against the long-run rate and the other baselines that say where.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.folds import Experiment, Fold
from hews_gpu.evaluation.near_pairs import knox
from hews_gpu.evaluation.neighborhood_scores import neighborhood_scores
from hews_gpu.forecasters.catalog import area_counts
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES, PlaceForecaster
from hews_gpu.progress import SILENT, Step, step

__all__ = ["LONG_RUN", "baseline_areas", "judge_places"]

LONG_RUN = "long_run"


def judge_places(experiment: Experiment, areas: Mapping[str, Float64]) -> dict[str, Any]:
    """Score forecasts by neighborhood, and the baselines' (and the oracle's, where there is one) beside them.

    Args:
        experiment: the city, cut.
        areas: probabilities [S, N] of the test windows by forecaster.
    """
    test, ground = experiment.test, experiment.city.ground
    counts = area_counts(experiment.catalog, test.windows)
    with step(f"places of {experiment.city.name}", len(experiment.folds) * len(PLACE_BASELINES), "fits") as bar:
        every = {**baseline_areas(experiment, bar=bar), **areas}
    truth = experiment.city.oracle_areas(test.windows, experiment.plan.task.delay_s)
    if truth is not None:
        every["oracle"] = truth
    stride_s, long_run = experiment.plan.task.stride_s, every[LONG_RUN]
    blocks = Blocks.by_weeks(len(test), stride_s)
    scores = {
        name: neighborhood_scores(counts, p, long_run, ground.area_km2, blocks, stride_s) for name, p in every.items()
    }
    return {
        "neighborhoods": len(ground.area_km2),
        "events": int(counts.sum()),
        "forecasts": scores,
        "near_pairs": _near_pairs(experiment),
    }


def baseline_areas(
    experiment: Experiment, names: tuple[str, ...] = tuple(PLACE_BASELINES), bar: Step = SILENT
) -> dict[str, Float64]:
    """Return the probabilities [S, N] of the test windows by each baseline, fitted anew for each block.

    The climatology says how likely a target is anywhere, the baseline what share of it falls to each neighborhood.
    """
    parts: dict[str, list[Float64]] = {name: [] for name in names}
    for fold in experiment.folds:
        for name in names:
            parts[name].append(_block_areas(experiment, fold, PLACE_BASELINES[name](experiment.city.ground)))
            bar.advance(1, name)
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _block_areas(experiment: Experiment, fold: Fold, forecaster: PlaceForecaster) -> Float64:
    train, asked = experiment.learned(fold, "train"), experiment.all.windows.select(fold.test)
    somewhere = -np.log1p(-fit_climatology(train.windows.begin_s, train.y).probability(asked.begin_s))
    forecaster.fit(experiment.catalog.until(fold.known_until_s), train)
    return -np.expm1(-somewhere[:, None] * forecaster.shares(experiment.catalog, asked.issue_s))


def _near_pairs(experiment: Experiment) -> list[dict[str, Any]]:
    """Compare with chance how many target events follow near one another, in what the last fit has seen."""
    past = experiment.catalog.until(experiment.folds[-1].known_until_s)
    events = past.is_target & past.is_first
    return knox(past.time_s[events], past.xy_m[events]).cells()
