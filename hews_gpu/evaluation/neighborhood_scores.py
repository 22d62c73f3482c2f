"""How good a forecast per neighborhood is: proper scores over all of them, and hit rates in a small part of the city.

Hot spots of one window: neighborhoods in order of expected events per area, until 0.5, 1 or 5 % of the city is
covered; of the last one only the part that still fits, with that part of its events (they are taken to be spread evenly
within it).
With n of N events in the hot spots, which are a of the A square kilometers:

- hit rate: n / N;
- PAI = (n / N) / (a / A), the prediction accuracy index (Chainey, Tompson & Uhlig, 2008, Security Journal 21);
- PEI = PAI / the best PAI that hot spots no larger than a could have had in hindsight (the densest neighborhood's);
- PEI* = n / the most events that hot spots of exactly a could have held in hindsight (both: White, Hunt & Green, 2023,
  Security Journal, "A discussion of current crime forecasting indices");
- RRI = (n / n_before) / (N / N_before), the recapture rate index: the same hot spots held n_before of the N_before
  events of an earlier period; 1 is as large a share as then (Levine, 2008, Security Journal 21). Hot spots that change
  from window to window have one n_before each: n over the hits that there would be if each window's events had fallen
  as those of the earlier period did. Of hot spots that stay it is Levine's.

Shapes: S windows, N neighborhoods, K shares of the area.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.forecasters.logistic import log_loss_each_bits

__all__ = [
    "AREA_SHARES",
    "hits",
    "hot_spot_curve",
    "hot_spot_scores",
    "log_loss_of_places_bits",
    "neighborhood_scores",
    "totals_by_neighborhood",
]

AREA_SHARES = (0.005, 0.01, 0.05)


def log_loss_of_places_bits(counts: NDArray[np.integer], p: Float64) -> Float64:
    """Return the surprise [S] of each window's outcomes in all neighborhoods together, bits; both arguments [S, N]."""
    each = log_loss_each_bits((counts > 0).ravel().astype(np.int8), p.ravel())
    return np.asarray(each.reshape(p.shape).sum(axis=1), dtype=np.float64)


def hits(counts: NDArray[np.number], density: Float64, area_km2: Float64, share: float) -> Float64:
    """Return the events [S] in each window's hot spots; arguments as `hits_within`, with one share."""
    return hits_within(counts, density, area_km2, [share])[:, 0]


def hits_within(counts: NDArray[np.number], density: Float64, area_km2: Float64, shares: Sequence[float]) -> Float64:
    """Return the events [S, K] in each window's hot spots.

    Args:
        counts: events [S, N].
        density: what neighborhoods are ordered by [S, N]; of equals the earlier one comes first.
        area_km2: [N].
        shares: of the city's area that the hot spots cover [K].
    """
    order = np.argsort(-density, axis=1, kind="stable")
    sizes = area_km2[order]
    before = np.cumsum(sizes, axis=1) - sizes
    ordered = np.take_along_axis(counts, order, axis=1)
    found = np.empty((len(counts), len(shares)))
    for k, share in enumerate(shares):
        covered = np.clip((share * area_km2.sum() - before) / sizes, 0.0, 1.0)
        found[:, k] = (ordered * covered).sum(axis=1)
    return found


def hot_spot_scores(counts: NDArray[np.integer], p: Float64, area_km2: Float64, share: float) -> dict[str, float]:
    """Return hit rate, PAI, PEI and PEI* over all windows together.

    Args:
        counts: events [S, N], with at least one.
        p: forecasts [S, N].
        area_km2: [N].
        share: of the city's area that the hot spots cover.
    """
    happened = counts / area_km2
    found = float(hits(counts, p / area_km2, area_km2, share).sum())
    best = float(hits(counts, happened, area_km2, share).sum())
    densest = float((happened.max(axis=1) * share * float(area_km2.sum())).sum())  # the densest neighborhood's density
    rate = found / float(counts.sum())
    efficiency = {"pei": found / densest, "pei_star": found / best}
    return {"area_share": share, "hit_rate": rate, "pai": rate / share, **efficiency}


def neighborhood_scores(
    counts: NDArray[np.integer], p: Float64, reference: Float64, area_km2: Float64, blocks: Blocks, stride_s: int
) -> dict[str, Any]:
    """Return all scores of one forecast per neighborhood; the interval of its skill is that of `compare`'s differences.

    Args:
        counts: events [S, N].
        p: forecasts [S, N].
        reference: the forecast that skill is measured against [S, N].
        area_km2: [N].
        blocks: drawn series of the windows, for intervals of hit rates.
        stride_s: from one window to the next.
    """
    bits = mean_interval(log_loss_of_places_bits(counts, reference) - log_loss_of_places_bits(counts, p), stride_s)
    spots = []
    for share in AREA_SHARES:
        found = hot_spot_scores(counts, p, area_km2, share)
        drawn = blocks.sums(np.stack([hits(counts, p / area_km2, area_km2, share), counts.sum(axis=1)], axis=1))
        spots.append({**found, "hit_rate_interval": interval(drawn[:, 0] / np.maximum(drawn[:, 1], 1))})
    return {
        "log_skill_bits": bits["value"],
        "log_skill_bits_interval": bits["interval"],
        "auc": roc_auc((counts > 0).ravel(), p.ravel()),
        "hot_spots": spots,
    }


def hot_spot_curve(
    counts: NDArray[np.integer],
    p: Float64,
    area_km2: Float64,
    shares: Sequence[float],
    before: NDArray[np.number],
    blocks: Blocks,
) -> list[dict[str, Any]]:
    """Return hit rate, PAI, PEI, PEI* and RRI at each share of the area, each with its 95 % interval.

    Args:
        counts: events [S, N], with at least one.
        p: forecasts [S, N].
        area_km2: [N].
        shares: of the city's area that the hot spots cover [K].
        before: events of an earlier period [N], with at least one.
        blocks: drawn series of the windows.
    """
    density, happened, total = p / area_km2, counts / area_km2, counts.sum(axis=1)
    as_before = np.broadcast_to(before / before.sum(), counts.shape)
    parts = {
        "hits": hits_within(counts, density, area_km2, shares),
        "pei": happened.max(axis=1)[:, None] * np.asarray(shares) * float(area_km2.sum()),
        "pei_star": hits_within(counts, happened, area_km2, shares),
        "rri": hits_within(as_before, density, area_km2, shares) * total[:, None],
    }
    columns = np.concatenate([total[:, None], *parts.values()], axis=1)  # [S, 1 + 4 K]
    sums = np.concatenate([columns.sum(axis=0)[None], blocks.sums(columns)])  # the first is of all windows as they are
    found, (caught, *others) = [], np.split(sums[:, 1:], len(parts), axis=1)
    for k, share in enumerate(shares):
        with np.errstate(invalid="ignore", divide="ignore"):  # a drawn series, or hot spots, without an event
            rate = caught[:, k] / sums[:, 0]
            ratios = {"hit_rate": rate, "pai": rate / share}
            ratios |= {name: caught[:, k] / other[:, k] for name, other in zip(list(parts)[1:], others, strict=True)}
        row: dict[str, Any] = {"area_share": share}
        for name, ratio in ratios.items():
            row |= {name: float(ratio[0]), f"{name}_interval": interval(ratio[1:])}
        found.append(row)
    return found


def totals_by_neighborhood(counts: NDArray[np.integer], area_km2: Float64, blocks: Blocks) -> dict[str, NDArray[Any]]:
    """Return the events of each neighborhood and its rank by events per area, with 95 % intervals.

    Args:
        counts: events [S, N].
        area_km2: [N].
        blocks: drawn series of the windows.

    Returns:
        ``events`` [N] and ``rank`` [N] from 1, of the densest, and ``events_interval`` and ``rank_interval`` [N, 2].
    """
    sums = np.concatenate([counts.sum(axis=0)[None], blocks.sums(counts)])
    rank = np.argsort(np.argsort(-sums / area_km2, axis=1, kind="stable"), axis=1) + 1
    ends = {
        name: np.quantile(values[1:], [0.025, 0.975], axis=0).T for name, values in (("events", sums), ("rank", rank))
    }
    return {"events": sums[0], "rank": rank[0], **{f"{name}_interval": one for name, one in ends.items()}}
