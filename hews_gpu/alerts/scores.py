"""How good what was said was, over every issue time that was due: probabilities, warnings, tiers, drift.

Neighboring issue times share most of their windows, so the errors of their forecasts are alike: intervals of means come
from the slowest waves of the series (`evaluation.mean_interval`), which hold for that, and the bands of a reliability
diagram count only as many windows as do not overlap.

Tiers are scored as a risk matrix of one severity: at each issue time and place the tier in force against whether a
target came, a false alarm at the price of the tier's probability, a miss at that of its complement (Taggart & Wilke,
2025, Natural Hazards and Earth System Sciences 25; FIRM, Taggart et al., 2022, Quarterly Journal of the Royal
Meteorological Society 148; both by the package `scores`).

Shapes: S issue times that were due, N neighborhoods, C distinct forecasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hews_gpu.alerts.judged import MODEL, OUTCOMES, TIERS, Judged, Timeline, counts, tier_cells
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.evaluation.mean_interval import ratio_interval
from hews_gpu.evaluation.metrics import wilson_interval
from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.forecasters.level import spread
from hews_gpu.forecasters.logistic import EPSILON, log_loss_each_bits

__all__ = ["matrix", "mean_ratio", "summary"]

PARTS = {"firm": "firm_score", "over": "overforecast_penalty", "under": "underforecast_penalty"}
"""Of FIRM, by what we and `scores` call them."""
BINS, POINTS = 10, 100
FEWEST_WINDOWS = 12
"""That do not overlap: a day of two-hour windows. Of fewer no interval is given; of so many it still holds."""
MOST_WAVES, WINDOWS_A_WAVE = 20, 12  # more make an interval hardly narrower; each lasts six windows or more
PER_ONE = 1_000_000  # the record rounds probabilities of neighborhoods to so many steps
CELLS_AT_ONCE = 1 << 21  # windows times neighborhoods: 16 MB per array


def summary(timeline: Timeline, judged: Mapping[str, Mapping[str, Judged]], which: Bool) -> dict[str, Any]:
    """Return all scores over some issue times, as ``verification.json`` holds them.

    Args:
        timeline: what was due.
        judged: warnings by kind of place and forecast, of `judge_all`.
        which: [S] the issue times; events belong to the last one that could have warned of them.
    """
    settled = which & ~timeline.is_open
    return {
        "outcomes": {"due": int(which.sum()), **{o: int((timeline.outcome[which] == o).sum()) for o in OUTCOMES}},
        "open": int((which & timeline.is_open).sum()),
        "events": {kind: int(which[timeline.last_chance[by[MODEL].chance]].sum()) for kind, by in judged.items()},
        "as_made": _city_scores(timeline, settled, served=False),
        "as_served": _city_scores(timeline, settled, served=True),
        "areas": _area_scores(timeline, settled),
        "warnings": {
            kind: {
                name: {**counts(timeline, one, which), "matrix": matrix(timeline, one, settled)}
                for name, one in by.items()
            }
            for kind, by in judged.items()
        },
        "drift": _drift(timeline, settled),
    }


def matrix(timeline: Timeline, judged: Judged, settled: Bool) -> dict[str, Any] | None:
    """Score the tiers in force, issue time by issue time and place by place; None where no tier can be given.

    Args:
        timeline: what was due, with thresholds.
        judged: warnings of one kind of place.
        settled: [S] the issue times, whose labels are known.
    """
    risks, group = np.unique(timeline.thresholds[judged.kind][settled], axis=0, return_inverse=True)
    penalties = [_penalties(*risk) for risk in risks.tolist()]
    cells = tier_cells(timeline, judged, settled, group.ravel(), len(risks))
    scored = [g for g, one in enumerate(penalties) if one]
    total = int(cells[scored].sum())
    if not total:
        return None
    silent = np.zeros_like(cells)
    silent[:, 0] = cells.sum(axis=1)

    def mean(name: str, table: Int64 = cells) -> float:
        return float(sum((table[g] * penalties[g][name]).sum() for g in scored if name in penalties[g]) / total)

    tiers = {
        tier: {"probability": float(risks[scored[-1], i]), **{part: mean(f"{tier} {part}") for part in PARTS}}
        for i, tier in enumerate(TIERS)
        if any(f"{tier} firm" in one for one in penalties)
    }
    return {"score": mean("matrix"), "never": mean("matrix", silent), "tiers": tiers}


@cache
def _penalties(watch: float, warning: float) -> dict[str, Float64]:
    """Return what each of `tier_cells` costs, [3, 2] by name; empty where neither risk lies within 0 and 1."""
    import xarray
    from scores.categorical import firm, risk_matrix_score

    risks = {tier: risk for tier, risk in zip(TIERS, (watch, warning), strict=True) if 0 < risk < 1}
    if not risks:
        return {}
    rank, y = (axis.ravel() for axis in np.indices((3, 2)))
    tiers = list(risks)
    in_force = np.stack([rank > TIERS.index(tier) for tier in tiers], axis=1).astype(np.float64)
    warned = xarray.DataArray(in_force, {"tier": tiers}, ("cell", "tier"))
    came = xarray.zeros_like(warned) + y[:, None]
    each = xarray.DataArray(np.eye(len(risks)), {"tier": tiers, "risk": [*risks.values()]}, ("tier", "risk"))
    costs = {"matrix": risk_matrix_score(warned, came, each, "tier", "risk", preserve_dims="all")}
    for tier, risk in risks.items():
        fixed = {"risk_parameter": 1 - risk, "categorical_thresholds": [0.5], "threshold_weights": [1.0]}
        pair = warned.sel(tier=tier, drop=True), came.sel(tier=tier, drop=True)
        parts = firm(*pair, **fixed, preserve_dims="all", include_components=True)
        costs |= {f"{tier} {name}": parts.sel(components=part) for name, part in PARTS.items()}
    return {name: np.asarray(cost.values, dtype=np.float64).reshape(3, 2) for name, cost in costs.items()}


def _city_scores(timeline: Timeline, settled: Bool, *, served: bool) -> dict[str, Any] | None:
    """Score the city's probabilities of some windows.

    Args:
        timeline: what was due.
        settled: [S] the windows.
        served: all of them, with the climatology's forecast where none was issued in time; else those with a forecast.
    """
    every = {name: p[settled] for name, p in timeline.p.items()}
    if served:
        calendar = every.get(CLIMATOLOGY, np.full(int(settled.sum()), np.nan))
        in_time = (timeline.outcome[settled] == "issued") & np.isfinite(every[MODEL])
        every = {name: np.where(np.isfinite(p), p, calendar) for name, p in every.items()}
        every[MODEL] = np.where(in_time, every[MODEL], calendar)
        made = np.isfinite(calendar)
    else:
        made = timeline.is_made[settled]
        every = {name: p for name, p in every.items() if name == MODEL or np.isfinite(p[made]).all()}
    y = timeline.y[settled] == 1
    cases = {name: _Cases.of(y[made], p[made]) for name, p in every.items()}
    filled = {name: np.where(made, p, 0.5) for name, p in every.items()}
    losses = {name: log_loss_each_bits(y, p) * made for name, p in filled.items()} if len(y) else {}
    squares = {name: (p - y) ** 2 * made for name, p in filled.items()}
    return _scores(_spacing(timeline, settled), made, cases, losses, squares)


def _area_scores(timeline: Timeline, settled: Bool) -> dict[str, Any] | None:
    """Score the probabilities by neighborhood, each window and neighborhood a case."""
    if timeline.areas is None:
        return None
    calendar = timeline.p.get(CLIMATOLOGY)
    made = settled & timeline.is_made & np.isfinite(timeline.areas[:, 0])
    names = [MODEL] if calendar is None or timeline.shares is None else [MODEL, CLIMATOLOGY]
    losses, squares = ({name: np.zeros(len(settled)) for name in names} for _ in range(2))
    steps = {name: np.zeros((2, PER_ONE + 1), dtype=np.int64) for name in names}
    rows, at_once = np.flatnonzero(made), max(1, CELLS_AT_ONCE // timeline.neighborhoods)
    for some in (rows[first : first + at_once] for first in range(0, len(rows), at_once)):
        came = np.isin(timeline.cells[0], some)
        s, n = np.searchsorted(some, timeline.cells[0][came]), timeline.cells[1][came]
        for name in names:
            if name == MODEL:
                p = timeline.areas[some].astype(np.float64)
            else:
                assert timeline.shares is not None
                p = spread(timeline.p[CLIMATOLOGY][some], timeline.shares)
            lost = -np.log2(np.maximum(1 - p, EPSILON))
            lost[s, n] = -np.log2(np.maximum(p[s, n], EPSILON))
            losses[name][some] = lost.mean(axis=1)
            step = np.rint(p * PER_ONE).astype(np.int64)
            for k, which in enumerate((step.ravel(), step[s, n])):
                steps[name][k] += np.bincount(which, minlength=PER_ONE + 1)
            p[s, n] -= 1
            squares[name][some] = (p**2).mean(axis=1)
    cases = {name: _Cases.of_steps(*both) for name, both in steps.items()}
    of = {name: one[settled] for name, one in losses.items()}
    return _scores(
        _spacing(timeline, settled), made[settled], cases, of, {name: one[settled] for name, one in squares.items()}
    )


def _spacing(timeline: Timeline, which: Bool) -> tuple[int, int]:
    """Return stride and horizon of some windows; where the policy has changed, the usual stride."""
    return int(np.median(timeline.step_s[which])) if which.any() else timeline.stride_s, timeline.windows.horizon_s


def _scores(
    spacing_s: tuple[int, int],
    made: Bool,
    cases: Mapping[str, _Cases],
    losses: Mapping[str, Float64],
    squares: Mapping[str, Float64],
) -> dict[str, Any] | None:
    """Return the scores of some forecasts of the same windows; None without any.

    Args:
        spacing_s: stride and horizon.
        made: [S] which of the windows, in order of time, have forecasts.
        cases: by forecast.
        losses: [S] bits by forecast, 0 where not made.
        squares: [S] by forecast, likewise.
    """
    if not made.any():
        return None
    overlap = max(1.0, spacing_s[1] / spacing_s[0])
    model = cases[MODEL]
    forecasts = {}
    for name, one in cases.items():
        gains = {
            other: {
                "log_skill_bits": mean_ratio(spacing_s, losses[other] - losses[name], made.astype(np.float64)),
                "brier_skill": mean_ratio(spacing_s, squares[other] - squares[name], squares[other]),
            }
            for other in cases
            if other != name
        }
        forecasts[name] = {
            "log_loss_bits": float(losses[name].sum() / made.sum()),
            "brier": float(squares[name].sum() / made.sum()),
            "reliability": one.reliability(overlap),
            **one.curves(),
            "against": gains,
        }
    return {
        "windows": model.count,
        "positives": model.positives,
        "base_rate": model.positives / model.count,
        "effective_windows": float(made.sum() / overlap),
        "forecasts": forecasts,
    }


def mean_ratio(spacing_s: tuple[int, int], top: Float64, bottom: Float64, count: int | None = None) -> dict[str, Any]:
    """Return the ratio of two sums over windows in order of time, [S], and its 95 % interval; None of few windows.

    Args:
        spacing_s: stride and horizon of the windows.
        top: [S].
        bottom: [S].
        count: of cosines, as `mean_interval` takes it.
    """
    if not bottom.any():
        return {"value": None, "interval": None}
    result = ratio_interval(top, bottom, spacing_s[0], count)
    if len(top) * spacing_s[0] < FEWEST_WINDOWS * spacing_s[1]:
        result["interval"] = None
    return result


def _drift(timeline: Timeline, settled: Bool) -> dict[str, Any] | None:
    """Return whether the forecasts were off on the whole, and how many events came beside the calendar's number.

    Observed less forecast of true chances remembers no longer than windows overlap, so its interval is made of more
    waves than that of a skill, whose errors may remember months: it tells a drift from chance within a month.
    """
    made = timeline.is_made[settled]
    if not made.any():
        return None
    y, p = (timeline.y[settled] == 1) * made, np.where(made, timeline.p[MODEL][settled], 0.0)
    calendar = timeline.p.get(CLIMATOLOGY, np.full(len(settled), np.nan))[settled]
    spacing_s = _spacing(timeline, settled)
    waves = int(min(MOST_WAVES, len(y) * spacing_s[0] / spacing_s[1] / WINDOWS_A_WAVE))
    alone = timeline.step_s[settled] / timeline.windows.horizon_s  # what a window adds to those before it
    expected = float((-np.log1p(-calendar) * alone).sum())
    return {
        "mean_forecast": float(p.sum() / made.sum()),
        "observed": float(y.sum() / made.sum()),
        "difference": mean_ratio(spacing_s, y - p, made.astype(np.float64), max(2, waves)),
        "events": int(settled[timeline.last_chance[timeline.last_chance >= 0]].sum()),
        "expected_events": expected if np.isfinite(expected) else None,
    }


@dataclass(frozen=True, kw_only=True)
class _Cases:
    """Distinct forecasts, the lowest first, with how many cases had each, and how many of these a target."""

    p: Float64  # [C]
    cases: Int64  # [C]
    hits: Int64  # [C]

    @classmethod
    def of(cls, y: Bool, p: Float64) -> _Cases:
        """Count outcomes [S] of forecasts [S]."""
        distinct, index, cases = np.unique(p, return_inverse=True, return_counts=True)
        return cls(p=distinct, cases=cases, hits=np.bincount(index[y], minlength=len(distinct)))

    @classmethod
    def of_steps(cls, cases: Int64, hits: Int64) -> _Cases:
        """Take over counts by millionths of a probability."""
        held = np.flatnonzero(cases)
        return cls(p=held / PER_ONE, cases=cases[held], hits=hits[held])

    @property
    def count(self) -> int:
        """All cases."""
        return int(self.cases.sum())

    @property
    def positives(self) -> int:
        """Those with a target."""
        return int(self.hits.sum())

    def reliability(self, overlap: float) -> list[dict[str, float]]:
        """Return a reliability diagram as `evaluation.metrics.reliability` does.

        Args:
            overlap: how many neighboring cases tell no more than one; bands are as wide as of so many fewer.
        """
        upto = np.cumsum(self.cases)
        at = np.searchsorted(upto, np.linspace(0, 1, BINS + 1)[1:-1] * upto[-1])
        index = np.searchsorted(np.unique(self.p[at]), self.p)
        rows = []
        for one in np.unique(index):
            inside = index == one
            count, hits = int(self.cases[inside].sum()), int(self.hits[inside].sum())
            low, high = wilson_interval(hits / overlap, count / overlap)
            mean = float((self.p * self.cases)[inside].sum() / count)
            rows.append({"p_mean": mean, "y_rate": hits / count, "low": low, "high": high, "count": count})
        return rows

    def curves(self) -> dict[str, Any]:
        """Return the ROC and Molchan curves at about a hundred thresholds, and the areas under the whole ones."""
        hits, cases = (np.append(0, np.cumsum(of[::-1])) for of in (self.hits, self.cases))
        if hits[-1] in (0, cases[-1]):
            return {"roc": None, "molchan": None}
        hit, alarmed = hits / hits[-1], cases / cases[-1]
        false = (cases - hits) / (cases - hits)[-1]
        shown = np.unique(np.searchsorted(alarmed, np.linspace(0, 1, POINTS + 1)).clip(0, len(alarmed) - 1))
        return {
            "roc": {"auc": float(np.trapezoid(hit, false)), "curve": np.stack([false, hit], axis=1)[shown].tolist()},
            "molchan": {
                "area": float(np.trapezoid(1 - hit, alarmed)),
                "curve": np.stack([alarmed, 1 - hit], axis=1)[shown].tolist(),
            },
        }
