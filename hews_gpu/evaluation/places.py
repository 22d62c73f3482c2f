"""Where: forecasts by neighborhood judged against the long-run rate and the other baselines that say where.

They are judged by neighborhood and by cell of 250 m. The baselines say for themselves how likely each cell is; a
forecast by neighborhood is spread over the cells of each by the kernel density of the targets before it. In the cells
only hot spots are judged, to which windows without an event add nothing, so that no other window is looked at.

Shapes: S windows, N neighborhoods, K cells, V windows with an event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.folds import Experiment, Fold
from hews_gpu.evaluation.judge import correct, gains
from hews_gpu.evaluation.near_pairs import knox
from hews_gpu.evaluation.neighborhood_scores import (
    LEAST,
    hot_spot_parts,
    hot_spot_rows,
    log_loss_of_places_bits,
    neighborhood_scores,
)
from hews_gpu.forecasters.base import LEVEL
from hews_gpu.forecasters.catalog import Catalog, area_counts
from hews_gpu.forecasters.city import CELL_M
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES, Ground, PlaceForecaster
from hews_gpu.progress import SILENT, Step, step

__all__ = ["CELL_BASELINES", "LONG_RUN", "PLACE_REFERENCES", "baseline_areas", "judge_places"]

LONG_RUN, DENSITY = "long_run", "kernel_density"
PLACE_REFERENCES = (LONG_RUN, LEVEL)
"""What models are held against by neighborhood: an old map, and the level, which follows a map of late."""
CELL_BASELINES = {name: PLACE_BASELINES[name] for name in (LONG_RUN, DENSITY, "near_repeat")}
CELL_SHARES = (0.01, 0.05, 0.2)
MOST_EVENTS = 4000
"""Target events that cells are learned from, the latest: each has a weight in every cell."""


def judge_places(
    experiment: Experiment,
    areas: Mapping[str, Float64],
    by_cell: Mapping[str, Callable[[Ground], PlaceForecaster]] = CELL_BASELINES,
) -> dict[str, Any]:
    """Score forecasts by neighborhood, and the baselines' (and the oracle's, where there is one) beside them.

    Args:
        experiment: the city, cut.
        areas: probabilities [S, N] of the test windows by forecaster.
        by_cell: what makes forecasters that say of cells themselves where, `CELL_BASELINES` among them.
    """
    test, ground, folds = experiment.test, experiment.city.ground, experiment.folds
    counts = area_counts(experiment.catalog, test.windows)
    calendar = np.concatenate([_calendar(experiment, fold) for fold in folds])
    fits = len(folds) * (len(PLACE_BASELINES) + len(by_cell))
    stride_s = experiment.plan.task.stride_s
    blocks = Blocks.by_weeks(len(test), stride_s)
    with step(f"places of {experiment.city.name}", fits, "fits") as bar:
        every = {**baseline_areas(experiment, bar=bar), **areas}
        cells = _judge_cells(experiment, areas, by_cell, counts, blocks, bar)
    truth = experiment.city.oracle_areas(test.windows, experiment.plan.task.delay_s)
    if truth is not None:
        every["oracle"] = truth
    earlier = experiment.catalog.area[_is_before(experiment, experiment.catalog)]
    given = (every[LONG_RUN], calendar, ground.area_km2, np.bincount(earlier, minlength=len(ground.area_km2)))
    scores = {name: neighborhood_scores(counts, p, *given, blocks, stride_s) for name, p in every.items()}
    lost = {name: log_loss_of_places_bits(counts, p) for name, p in every.items()}
    for name, one in scores.items():
        one["against"] = gains(lost, name, PLACE_REFERENCES, stride_s)
    correct([*scores.items()], PLACE_REFERENCES, PLACE_BASELINES)
    return {
        "neighborhoods": len(ground.area_km2),
        "events": int(counts.sum()),
        "forecasts": scores,
        "cells": cells,
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
        somewhere, asked = _calendar(experiment, fold), experiment.all.windows.select(fold.test)
        for name in names:
            forecaster = PLACE_BASELINES[name](experiment.city.ground)
            shares = _fitted_shares(experiment, fold, forecaster, experiment.catalog, asked.issue_s)
            parts[name].append(-np.expm1(-somewhere[:, None] * shares))
            bar.advance(1, name)
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _calendar(experiment: Experiment, fold: Fold) -> Float64:
    """Return the events to be expected in each test window of a block [S] by the climatology."""
    train, asked = experiment.learned(fold, "train"), experiment.all.windows.select(fold.test)
    return -np.log1p(-fit_climatology(train.windows.begin_s, train.y).probability(asked.begin_s))


def _fitted_shares(
    experiment: Experiment, fold: Fold, forecaster: PlaceForecaster, catalog: Catalog, issue_s: Int64
) -> Float64:
    """Fit a baseline for a block on what was known then, and return its shares [S, N] at each issue time."""
    forecaster.fit(catalog.until(fold.known_until_s), experiment.learned(fold, "train"))
    return forecaster.shares(catalog, issue_s)


def _judge_cells(
    experiment: Experiment,
    areas: Mapping[str, Float64],
    by_cell: Mapping[str, Callable[[Ground], PlaceForecaster]],
    counts: NDArray[np.integer],
    blocks: Blocks,
    bar: Step,
) -> dict[str, Any]:
    """Return the hot spots of each baseline by cell, and of each forecast spread over them.

    Args:
        experiment: the city, cut.
        areas: probabilities [S, N] by forecaster.
        by_cell: what makes the baselines.
        counts: events [S, N] of the test windows.
        blocks: drawn series of the windows.
        bar: told of every fit.
    """
    (ground, parent), catalog, begin = experiment.city.cells, _by_cell(experiment), 0
    before = np.bincount(catalog.area[_is_before(experiment, catalog)], minlength=len(parent))
    starts = np.searchsorted(parent, np.arange(counts.shape[1]))
    parts = {name: np.zeros((len(counts), 1 + 4 * len(CELL_SHARES))) for name in (*by_cell, *areas)}
    for fold in experiment.folds:
        eventful = begin + np.flatnonzero(counts[begin : begin + len(fold.test)].sum(axis=1))
        begin, windows, said = begin + len(fold.test), experiment.test.windows.select(eventful), {}
        for name, make in by_cell.items():
            said[name] = _fitted_shares(experiment, fold, make(ground), catalog, windows.issue_s)
            bar.advance(1, f"{name}, cells")
        own = said[DENSITY] / np.add.reduceat(said[DENSITY], starts, axis=1)[:, parent]  # of the neighborhood's
        for name, p in areas.items():
            said[name] = -np.log1p(-np.minimum(p[eventful], 1 - LEAST))[:, parent] * own
        happened = area_counts(catalog, windows)
        by_name = hot_spot_parts(happened, said.values(), ground.area_km2, CELL_SHARES, before)
        for name, one in zip(said, by_name, strict=True):
            parts[name][eventful] = one
    scores = {name: {"hot_spots": hot_spot_rows(one, CELL_SHARES, blocks)} for name, one in parts.items()}
    return {"size_m": CELL_M, "cells": len(parent), "forecasts": scores}


def _by_cell(experiment: Experiment) -> Catalog:
    """Return the target events, the latest before the test and all within it, with cells in place of neighborhoods."""
    from scipy.spatial import cKDTree

    ground, _ = experiment.city.cells
    events = experiment.catalog.take(experiment.catalog.is_event)
    earlier = int(_is_before(experiment, events).sum())
    events = events.take(slice(max(0, earlier - MOST_EVENTS), None))
    nearest = cKDTree(ground.cells_m).query(events.xy_m)[1]
    return replace(events, area=nearest, areas=len(ground.cells_m))


def _is_before(experiment: Experiment, catalog: Catalog) -> Bool:
    """Return which rows [E] are target events from before the first test window."""
    return catalog.is_event & (catalog.time_s < int(experiment.test.windows.begin_s[0]))


def _near_pairs(experiment: Experiment) -> list[dict[str, Any]]:
    """Compare with chance how many target events follow near one another, in what the last fit has seen."""
    past = experiment.catalog.until(experiment.folds[-1].known_until_s)
    events = past.is_target & past.is_first
    return knox(past.time_s[events], past.xy_m[events]).cells()
