"""How good a forecast per neighborhood is: proper scores over all of them, and hit rates in a small part of the city.

Hot spots of one window: neighborhoods in order of expected events per area, until 0.5, 1, 5 or 20 % of the city is
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

Places and time apart: a forecast is held against its own map, that is what it has said of each neighborhood on average
so far, in proportion to the calendar; and that against an even map of as many events, by area. What the map gains over
the even one is geography, which an old map knows, too; what the forecast gains over its map is foresight. (Averaged
over the whole test instead, a map would know of events that later forecasts have learned from.)

Shapes: S windows, N neighborhoods (or cells), K shares of the area.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    "hits_within",
    "hot_spot_curve",
    "hot_spot_parts",
    "hot_spot_rows",
    "log_loss_of_places_bits",
    "neighborhood_scores",
    "totals_by_neighborhood",
]

AREA_SHARES = (0.005, 0.01, 0.05, 0.2)
LEAST = 1e-12
INDICES = ("pei", "pei_star", "rri")


def log_loss_of_places_bits(counts: NDArray[np.integer], p: Float64) -> Float64:
    """Return the surprise [S] of each window's outcomes in all neighborhoods together, bits; both arguments [S, N]."""
    each = log_loss_each_bits((counts > 0).ravel().astype(np.int8), p.ravel())
    return np.asarray(each.reshape(p.shape).sum(axis=1), dtype=np.float64)


def hits_within(
    counts: NDArray[np.number],
    density: Float64,
    area_km2: Float64,
    shares: Sequence[float],
    *others: NDArray[np.number],
) -> Float64:
    """Return the events [S, K] in each window's hot spots; of `others` [S, N], too, these come after them [S, more K].

    Args:
        counts: events [S, N].
        density: what neighborhoods are ordered by [S, N]; of equals the earlier one comes first.
        area_km2: [N].
        shares: of the city's area that the hot spots cover [K].
        others: counted in the same hot spots.
    """
    order = np.argsort(-density, axis=1, kind="stable")
    sizes = area_km2[order]
    before = np.cumsum(sizes, axis=1) - sizes
    limits = np.asarray(shares) * area_km2.sum()
    reached = np.searchsorted(before.min(axis=0, initial=np.inf), limits).tolist()  # behind them nothing is covered
    every = [np.take_along_axis(each, order[:, : max(reached)], axis=1) for each in (counts, *others)]
    found = np.empty((len(counts), len(every), len(shares)))
    for k, (limit, first) in enumerate(zip(limits.tolist(), map(slice, reached), strict=True)):
        covered = np.clip((limit - before[:, first]) / sizes[:, first], 0.0, 1.0)
        for i, ordered in enumerate(every):
            found[:, i, k] = np.einsum("sn,sn->s", ordered[:, first], covered)
    return found.reshape(len(counts), len(every) * len(shares))


def neighborhood_scores(
    counts: NDArray[np.integer],
    p: Float64,
    reference: Float64,
    calendar: Float64,
    area_km2: Float64,
    before: NDArray[np.number],
    blocks: Blocks,
    stride_s: int,
) -> dict[str, Any]:
    """Return all scores of one forecast per neighborhood; the interval of its skill is that of `compare`'s differences.

    Args:
        counts: events [S, N], with at least one.
        p: forecasts [S, N].
        reference: the forecast that skill is measured against [S, N].
        calendar: the rate of events in the city [S] by hour and season alone.
        area_km2: [N].
        before: events of an earlier period [N], with at least one.
        blocks: drawn series of the windows, for intervals of hot spots.
        stride_s: from one window to the next.
    """
    lost = log_loss_of_places_bits(counts, p)
    even, own_map = (log_loss_of_places_bits(counts, one) for one in _maps(p, calendar, area_km2))

    def bits(name: str, gained: Float64) -> dict[str, Any]:
        mean = mean_interval(gained, stride_s)
        return {name: mean["value"], f"{name}_interval": mean["interval"]}

    return {
        **bits("log_skill_bits", log_loss_of_places_bits(counts, reference) - lost),
        "apart": {**bits("geography_bits", even - own_map), **bits("foresight_bits", own_map - lost)},
        "auc": roc_auc((counts > 0).ravel(), p.ravel()),
        "hot_spots": hot_spot_curve(counts, p, area_km2, AREA_SHARES, before, blocks),
    }


def _maps(p: Float64, calendar: Float64, area_km2: Float64) -> tuple[Float64, Float64]:
    """Return the even map and the forecast's own [S, N], both of as many events as it expected so far."""
    expected = np.cumsum(-np.log1p(-np.minimum(p, 1 - LEAST)), axis=0)
    own = expected * (calendar / np.cumsum(calendar))[:, None]
    return -np.expm1(-own.sum(axis=1, keepdims=True) * area_km2 / area_km2.sum()), -np.expm1(-own)


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
    (parts,) = hot_spot_parts(counts, [p / area_km2], area_km2, shares, before)
    return hot_spot_rows(parts, shares, blocks)


def hot_spot_parts(
    counts: NDArray[np.integer],
    densities: Iterable[Float64],
    area_km2: Float64,
    shares: Sequence[float],
    before: NDArray[np.number],
) -> list[Float64]:
    """Return what each window adds by each density, [S, 1 + 4 K]: its events, hits, what these are divided by.

    The divisors are of PEI, PEI* and RRI. A window without events adds nothing.
    """
    happened, total = counts / area_km2, counts.sum(axis=1)
    as_before = np.broadcast_to(before / before.sum(), counts.shape)
    largest = happened.max(axis=1)[:, None] * np.asarray(shares) * float(area_km2.sum())
    best, parts = hits_within(counts, happened, area_km2, shares), []
    for density in densities:
        caught, earlier = np.split(hits_within(counts, density, area_km2, shares, as_before), 2, axis=1)
        parts.append(np.concatenate([total[:, None], caught, largest, best, earlier * total[:, None]], axis=1))
    return parts


def hot_spot_rows(parts: Float64, shares: Sequence[float], blocks: Blocks) -> list[dict[str, Any]]:
    """Return the row of each share from all windows' parts [S, 1 + 4 K].

    Where hot spots held no event before, there is no RRI, and where that happens among the drawn series no interval.
    """
    sums = np.concatenate([parts.sum(axis=0)[None], blocks.sums(parts)])  # the first is of all windows as they are
    found, (caught, *others) = [], np.split(sums[:, 1:], 4, axis=1)
    for k, share in enumerate(shares):
        row: dict[str, Any] = {"area_share": share}
        with np.errstate(invalid="ignore", divide="ignore"):  # a drawn series, or hot spots, without an event
            rate = caught[:, k] / sums[:, 0]
            ratios = {"hit_rate": rate, "pai": rate / share}
            ratios |= {name: caught[:, k] / other[:, k] for name, other in zip(INDICES, others, strict=True)}
            for name, ratio in ratios.items():
                ends = interval(ratio[1:]) if np.isfinite(ratio[1:]).any() else [np.nan]
                row[name] = float(ratio[0]) if np.isfinite(ratio[0]) else None
                row[f"{name}_interval"] = ends if np.isfinite(ends).all() else None
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
