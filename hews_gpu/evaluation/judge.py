"""Many forecasts of the same windows, side by side: every score of each, and each against every other baseline.

A forecast that was made with several seeds is scored by the mean over its seeds: of the losses, window by window, and
of what is not a mean of losses. Differences have intervals that hold for errors which remember months
(`mean_interval`); scores of one forecast alone have intervals over resampled weeks.

Shapes: S windows in time order.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.evaluation.alarms import BUDGETS_PER_WEEK, alarm_scores
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.calibration import calibration, calibration_slope, slopes_drawn
from hews_gpu.evaluation.mean_interval import LEVEL_95, holm, mean_interval, ratio_interval
from hews_gpu.evaluation.metrics import DRAWS, average_precision, brier, roc_auc
from hews_gpu.evaluation.strata import aucs_drawn, average_precision_within, roc_auc_within
from hews_gpu.evaluation.value import value_curve
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.climatology import hour_of_week
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.units import WEEK_S

__all__ = [
    "LEAST_EACH",
    "LEAST_WEEKS",
    "NOT_MODELS",
    "TOO_LITTLE",
    "Judged",
    "beats",
    "compare",
    "correct",
    "gains",
    "gap_closure",
    "headline",
    "sign",
    "too_little",
    "verdict",
]

NOT_MODELS = ("base_rate", CLIMATOLOGY, LEVEL, "oracle")
"""What models are held against; they are not among those tried."""
LEAST_EACH = 30
"""Test windows with a target, and without one: with fewer, a handful of events decides the score."""
LEAST_WEEKS = 12
"""Blocks of one week that intervals are drawn from: percentiles over fewer are much too narrow."""
TOO_LITTLE = "Too little to judge"
SMALLEST_GAP_BITS = 1e-4  # below it there is nothing to close, and the ratio is noise


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Forecasts of the test windows by one forecaster, one array [S] per seed."""

    p: Sequence[Float64]
    warned: Mapping[float, Sequence[Bool]]
    """By budget per week: which windows were warned of, per seed; thresholds are the caller's."""
    areas: Float64 | None = None
    """[S, N] probabilities by neighborhood, where the forecaster says where."""

    def losses(self, y: Bool) -> Float64:
        """Return the bits [S] lost at each window, mean over the seeds."""
        return np.asarray(np.mean([log_loss_each_bits(y, p) for p in self.p], axis=0), dtype=np.float64)

    def squares(self, y: Bool) -> Float64:
        """Return the squared difference [S] to the outcome, mean over the seeds."""
        return np.asarray(np.mean([(p - y) ** 2 for p in self.p], axis=0), dtype=np.float64)


def compare(
    y: Bool,
    begin_s: Int64,
    stride_s: int,
    judged: Mapping[str, Judged],
    oracle: Float64 | None = None,
    draws: int = DRAWS,
) -> dict[str, dict[str, Any]]:
    """Return every score of every forecast by its name, as JSON can hold it.

    Args:
        y: outcomes [S].
        begin_s: begins of the windows [S].
        stride_s: from one window to the next.
        judged: forecasts by name, with one called ``climatology``.
        oracle: the true probabilities [S], where they are known.
        draws: D.
    """
    week = Blocks.by_weeks(len(y), stride_s, draws=draws)
    every = dict(judged)
    if oracle is not None:
        every["oracle"] = Judged(p=[oracle], warned={})
    losses = {name: one.losses(y) for name, one in every.items()}
    squares = {name: one.squares(y) for name, one in every.items()}
    scores: dict[str, dict[str, Any]] = {}
    for name, one in every.items():
        scores[name] = {
            **_scores(y, begin_s, one, week),
            "seeds": len(one.p),
            "against": {
                other: {
                    "log_skill_bits": mean_interval(losses[other] - losses[name], stride_s),
                    "brier_skill": ratio_interval(squares[other] - squares[name], squares[other], stride_s),
                }
                for other in every
                if other not in (name, "oracle")
            },
            "warnings": _warnings(y, one, len(y) * stride_s / WEEK_S),
        }
        if oracle is not None:
            scores[name]["oracle_gap_closure"] = gap_closure(
                losses[CLIMATOLOGY] - losses[name], losses[CLIMATOLOGY] - losses["oracle"], stride_s
            )
            to_truth = float(np.mean([calibration_slope(oracle, p)[0] for p in one.p]))
            scores[name]["calibration"]["slope_to_truth"] = None if np.isnan(to_truth) else to_truth
    correct([*scores.items()], (CLIMATOLOGY, LEVEL))
    return scores


def correct(scores: Sequence[tuple[str, Any]], references: Sequence[str], but: Collection[str] = ()) -> None:
    """Add the p values corrected for the number of comparisons, against each reference.

    Args:
        scores: name and scores of each forecast, with its gains under ``against``; a name may come several times.
        references: what they are held against.
        but: forecasts that are no models, beside `NOT_MODELS`.
    """
    models = [one["against"] for name, one in scores if name not in (*NOT_MODELS, *but)]
    for other in references:
        bits = {str(k): against[other]["log_skill_bits"] for k, against in enumerate(models) if other in against}
        for key, p in holm({key: one["p"] for key, one in bits.items()}).items():
            bits[key]["p_corrected"] = p


def gap_closure(gained: Float64, possible: Float64, stride_s: int) -> dict[str, Any] | None:
    """Return (S_model - S_climatology) / (S_oracle - S_climatology) in log score with its interval; None without a gap.

    Args:
        gained: bits that the model saves at each window against the climatology [S].
        possible: bits that the oracle saves [S].
        stride_s: from one window to the next.
    """
    return None if possible.mean() < SMALLEST_GAP_BITS else ratio_interval(gained, possible, stride_s)


def gains(lost: Mapping[str, Float64], name: str, others: Sequence[str], stride_s: int) -> dict[str, Any]:
    """Return what one forecast saves of the bits lost [S] by each of the others, as far as these are there."""
    return {
        other: {"log_skill_bits": mean_interval(lost[other] - lost[name], stride_s)}
        for other in others
        if other in lost and other != name
    }


def _scores(y: Bool, begin_s: Int64, one: Judged, week: Blocks) -> dict[str, Any]:
    """Return discrimination, calibration and value of one forecast."""
    stratum = hour_of_week(begin_s)

    def mean(score: Callable[[Float64], float]) -> float:
        return float(np.mean([score(p) for p in one.p]))

    scores: dict[str, Any] = {
        "auc": mean(lambda p: roc_auc(y, p)),
        "auc_interval": interval(aucs_drawn(y, one.p[0], week)),
        "auc_within_hours": mean(lambda p: roc_auc_within(y, p, stratum)),
        "average_precision": mean(lambda p: average_precision(y, p)),
        "average_precision_within_hours": mean(lambda p: average_precision_within(y, p, stratum)),
        "brier": mean(lambda p: brier(y, p)),
        "log_loss_bits": mean(lambda p: float(log_loss_each_bits(y, p).mean())),
        "calibration": calibration(y, one.p[0], week),
        "value": value_curve(y, one.p[0]),
    }
    calibrated = scores["calibration"]
    if len(one.p) > 1 and calibrated["slope"] is not None:  # slope and interval over the seeds
        each = [calibration(y, p, week) for p in one.p]
        for key in ("slope", "smooth_calibration_error"):
            calibrated[key] = float(np.mean([scored[key] for scored in each]))
        calibrated["slope_interval"] = interval(np.mean([slopes_drawn(y, p, week) for p in one.p], axis=0))
    return scores


def _warnings(y: Bool, one: Judged, weeks: float) -> list[dict[str, Any]]:
    """Return scores of the warnings under each budget, mean over the seeds."""
    rows = []
    for budget in BUDGETS_PER_WEEK:
        if budget not in one.warned:
            continue
        each = [alarm_scores(y, warned, weeks, budget) for warned in one.warned[budget]]
        rows.append({key: _mean_of([row[key] for row in each]) for key in each[0]})
    return rows


def _mean_of(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def too_little(result: Mapping[str, Any]) -> list[str]:
    """Return why no verdict can be based on a result, in words; empty where one can.

    Args:
        result: in the result schema: its windows, positives, and the folds of its protocol.
    """
    quiet = result["windows"] - result["positives"]
    weeks = result["windows"] * result["protocol"]["stride_s"] / WEEK_S
    untrained: set[int] = set()
    for fold in result["protocol"]["folds"]:
        untrained |= _months(fold["test"]) - _months(fold["train"])
    names = ", ".join(calendar.month_name[month] for month in sorted(untrained))
    reasons = {
        f"{result['positives']:,} test windows with a target, at least {LEAST_EACH} are needed": result["positives"]
        < LEAST_EACH,
        f"{quiet:,} test windows without a target, at least {LEAST_EACH} are needed": quiet < LEAST_EACH,
        f"{weeks:.1f} weeks of test windows, at least {LEAST_WEEKS} are needed": round(weeks, 6) < LEAST_WEEKS,
        f"no training window in {names}": bool(untrained),
    }
    return [reason for reason, holds in reasons.items() if holds]


def _months(part: Mapping[str, Any]) -> set[int]:
    """Return the months of the year, 1 to 12, that a part of a fold lies in."""
    begin, end = (np.datetime64(part[edge], "s") for edge in ("begin", "end"))
    first, last = begin.astype("datetime64[M]"), (end - 1).astype("datetime64[M]")
    return {int(month) % 12 + 1 for month in np.arange(first, last + 1).astype(np.int64)}


def headline(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the numbers that sum up one forecaster, and both verdicts; None where one does not exist.

    Args:
        result: in the result schema.
        name: of the forecaster.
    """
    scores, reasons = result["forecasts"][name], too_little(result)
    tried = sum(other not in NOT_MODELS for other in result["forecasts"])
    itself: dict[str, Any] = {"value": 0.0, "interval": [0.0, 0.0]}
    calendar, level = (scores["against"].get(other, {}).get("log_skill_bits", itself) for other in (CLIMATOLOGY, LEVEL))
    closure, calibration = scores.get("oracle_gap_closure"), scores["calibration"]
    return {
        "log_skill_bits": calendar["value"],
        "log_skill_bits_interval": calendar["interval"],
        "log_skill_bits_over_level": level["value"],
        "log_skill_bits_over_level_interval": level["interval"],
        "oracle_gap_closure": closure["value"] if closure else None,
        "oracle_gap_closure_interval": closure["interval"] if closure else None,
        "calibration_slope": calibration["slope"],
        "calibration_slope_interval": calibration["slope_interval"],
        "models_tried": tried,
        "verdict": verdict(calendar, tried=tried, reasons=reasons),
        "verdict_over_level": verdict(level, LEVEL, tried=tried, reasons=reasons, over_both=sign(calendar) > 0),
    }


def sign(bits: Mapping[str, Any]) -> int:
    """Return 1 or -1 where a gain or a loss is significant, corrected for the number of models tried where it is known.

    Args:
        bits: the mean difference, ``value``, with ``p_corrected`` or with intervals, which all must leave out zero.
    """
    if "p_corrected" in bits:
        return int(np.sign(bits["value"])) if bits["p_corrected"] <= 1 - LEVEL_95 else 0
    ends = [end for one in bits.values() if isinstance(one, Sequence) for end in one]
    return int(min(ends) > 0) - int(max(ends) < 0)


def beats(scores: Mapping[str, Any], references: Sequence[str]) -> bool:
    """Return whether a forecast gains significantly over each reference; not where the gain over one is not known."""
    against = scores["against"]
    return all(other in against and sign(against[other]["log_skill_bits"]) > 0 for other in references)


WORDS = {
    CLIMATOLOGY: (
        "the climatology",
        "Knows the calendar or its level better than the climatology",
        "Knows no more than the climatology, as far as can be told",
    ),
    LEVEL: ("the climatology at its recent level", "Foresight", "No foresight shown"),
}
"""What a reference is called, and what a significant gain over it is, and any other."""


def verdict(
    bits: Mapping[str, Any],
    reference: str = CLIMATOLOGY,
    *,
    tried: int = 1,
    reasons: Sequence[str] = (),
    over_both: bool = True,
) -> str:
    """Return a sentence or two on a log skill against the calendar or the recent level, as `sign` finds it.

    Only a gain over the recent level is foresight: what is gained over the climatology may be no more than knowing the
    hours and seasons better, or that there has been more of it of late.

    Args:
        bits: the mean difference, its interval, and its p value corrected for the models tried.
        reference: what it is against.
        tried: number of models.
        reasons: why there is too little to judge by; these are the verdict then: a gain that is not significant on five
            weeks is not the absence of skill, nor is one that is significant its presence.
        over_both: whether there is a significant gain over the climatology, without which there is no foresight.
    """
    against, gained, not_gained = WORDS[reference]
    low, high = bits["interval"]
    if not reasons and bits["value"] == low == high == 0:
        return f"{not_gained}: the model is {against}, which nothing it learned could beat."
    over = f"{bits['value']:+.4f} bits per window over {against}, 95 % interval {low:+.4f} to {high:+.4f}"
    if reasons:
        return f"{TOO_LITTLE}: {'; '.join(reasons)}. Measured: {over}."
    corrected = f", corrected for {tried} models tried" if tried > 1 else ""
    if sign(bits) > 0 and not over_both:
        return f"{not_gained}: {over}, but it knows no more than the calendar alone."
    if which := sign(bits):
        return f"{gained if which > 0 else f'Worse than {against}'}: {over}{corrected}."
    by_chance = (
        "which includes 0" if low <= 0 <= high else f"which the best of {tried} models tried may reach by chance"
    )
    return f"{not_gained}: {over}, {by_chance}."
