"""Thresholds that look at the calibration block alone: the lowest that keep the policy within its budgets there.

A warning's threshold is the lowest at which the policy, run over the block's forecasts with its quiet periods but
without the budgets of seven days, gives no more warnings than the budget has for so many weeks; then the watch's
likewise, given that one. A lower threshold never gives fewer warnings of a tier, so that bisection finds it.

Shapes: S issue times, N neighborhoods, V values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from hews_gpu.alerts.decide import HIGHEST_FIRST, Thresholds, Tier, decide
from hews_gpu.alerts.forecasts import Said, forecast_in_chunks, issue_times
from hews_gpu.alerts.policy import Policy
from hews_gpu.arrays import Float64, Int64
from hews_gpu.config import CityConfig, parse_local_time
from hews_gpu.data.windows import Task, Windows
from hews_gpu.errors import UserError
from hews_gpu.forecasters.base import Forecaster
from hews_gpu.forecasters.catalog import Catalog
from hews_gpu.units import DAY_S, WEEK_S

__all__ = ["calibration_span_s", "calibration_times", "set_thresholds", "thresholds_of"]

NEVER = float("inf")
HIGHEST = 300
"""For each warning that is allowed, so many of the highest values are tried first: quiet periods take most of them."""


def calibration_span_s(
    policy: Policy, validation_s: tuple[int, int], first_issue_s: int, table_s: tuple[int, int]
) -> tuple[int, int]:
    """Return begin and end of the stretch of time whose forecasts thresholds are set on.

    Args:
        policy: names it.
        validation_s: begin and end of the run's validation split.
        first_issue_s: the first time at which a warning may be given.
        table_s: begin and end of the rows that the run was trained and judged on.

    Raises:
        UserError: it is shorter than a week, or reaches past the first issue time or beyond the table.
    """
    span_s = validation_s
    if policy.calibrate_on != "validation":
        begin_s, end_s = (parse_local_time("[calibrate_on]", edge) for edge in policy.calibrate_on)
        span_s = begin_s, end_s
    if span_s[1] - span_s[0] < WEEK_S:
        which = "the validation split" if policy.calibrate_on == "validation" else "it"
        days = (span_s[1] - span_s[0]) / DAY_S
        allowed = f"must be a week or longer, as budgets are by the week: {which} has {days:.3g} days"
        raise UserError("warnings.toml: [calibrate_on]", policy.calibrate_on, allowed=allowed)
    if span_s[1] > first_issue_s:
        until, first = (np.datetime64(time_s, "s") for time_s in (span_s[1], first_issue_s))
        allowed = f"ends at {until}, after the first issue time, {first}: a threshold must not know what comes after it"
        raise UserError(
            "warnings.toml: [calibrate_on]", allowed=allowed, remedy="Begin later, or name an earlier block"
        )
    if span_s[0] < table_s[0] or span_s[1] > table_s[1]:
        begin, end = (np.datetime64(time_s, "s") for time_s in table_s)
        allowed = f"must lie within the table that the run was trained and judged on, {begin} to {end}"
        raise UserError("warnings.toml: [calibrate_on]", list(policy.calibrate_on), allowed=allowed)
    return span_s


def calibration_times(policy: Policy, city: CityConfig, first_issue_s: int, table_s: tuple[int, int]) -> Int64:
    """Return the issue times [S] of the block that thresholds are set on.

    Args:
        policy: of the run.
        city: of the run.
        first_issue_s: the first time at which a warning may be given.
        table_s: begin and end of the rows that the run was trained and judged on.

    Raises:
        UserError: as of `calibration_span_s`.
    """
    span_s = calibration_span_s(policy, city.splits.span_s("validation"), first_issue_s, table_s)
    return issue_times(*span_s, policy.stride_s, ZoneInfo(city.city.timezone))


def set_thresholds(policy: Policy, said: Said, run: str) -> Thresholds:
    """Return the lowest thresholds under which the policy keeps to its budgets.

    Args:
        policy: of the run.
        said: forecasts of the calibration block's issue times, at the policy's stride.
        run: the first 8 hex digits of the fingerprint of the run's model.
    """
    never = Thresholds(
        run=run, city_watch=NEVER, city_warning=NEVER, neighborhoods_watch=NEVER, neighborhoods_warning=NEVER
    )
    chosen = _of_kind(policy, "city", said.p, said, never)
    if said.areas is not None:
        chosen |= _of_kind(policy, "neighborhoods", said.areas, said, never)
    return replace(never, **chosen)


def thresholds_of(
    policy: Policy, forecaster: Forecaster, seen: Catalog, task: Task, issue_s: Int64, run: str
) -> Thresholds:
    """Forecast the issue times of the calibration block, and set the thresholds on them.

    Args:
        policy: of the run.
        forecaster: of the run, fitted.
        seen: rows; at each issue time only those known before it count.
        task: as the city file has it.
        issue_s: of `calibration_times`.
        run: the first 8 hex digits of the fingerprint of the run's model.
    """
    parts = list(forecast_in_chunks(forecaster, seen, task, issue_s))
    areas = [part.areas for part in parts if part.areas is not None]
    said = Said(
        windows=reduce(Windows.followed_by, (part.windows for part in parts)),
        p=np.concatenate([part.p for part in parts]),
        areas=np.concatenate(areas) if areas else None,
    )
    return set_thresholds(policy, said, run)


def _of_kind(policy: Policy, kind: str, values: Float64, said: Said, never: Thresholds) -> dict[str, Any]:
    """Return the thresholds of the city or of the neighborhoods by name, the higher tier's first."""
    weeks = len(said) * policy.stride_s / WEEK_S
    chosen: dict[str, Any] = {}
    for tier in HIGHEST_FIRST:

        def count(value: float, tier: Tier = tier) -> int:
            tried = replace(never, **chosen | {f"{kind}_{tier}": value})
            return sum(one.tier == tier for one in decide(policy, tried, said, [], capped=False))

        allowed = int(np.floor(getattr(getattr(policy, kind), f"{tier}_per_week") * weeks + 1e-9))
        chosen[f"{kind}_{tier}"] = _lowest_of(values.ravel(), allowed, count)
    return chosen


def _lowest_of(values: Float64, allowed: int, count: Callable[[float], int]) -> float:
    """Return the lowest of the values [V] whose count is allowed; only as many as are likely to matter are sorted."""
    most = HIGHEST * (allowed + 1)
    if most < len(values):
        highest = np.sort(np.partition(values, -most)[-most:])[::-1]
        lowest = _lowest(highest, allowed, count)
        if lowest != highest[-1]:
            return lowest
    return _lowest(np.sort(values)[::-1], allowed, count)


def _lowest(values: Float64, allowed: int, count: Callable[[float], int]) -> float:
    """Return the lowest of the values [V], which fall, whose count is allowed; infinite where the highest is not.

    The count is first tried where it is sure to be small: it takes long for a value that many forecasts reach.
    """
    if allowed < 1 or not len(values):
        return NEVER
    good, bad = -1, min(allowed, len(values)) - 1
    while count(float(values[bad])) <= allowed:
        good, bad = bad, min(2 * bad + 1, len(values) - 1)
        if good == bad:
            return float(values[good])
    while bad - good > 1:
        middle = (good + bad) // 2
        if count(float(values[middle])) <= allowed:
            good = middle
        else:
            bad = middle
    return float(values[good]) if good >= 0 else NEVER
