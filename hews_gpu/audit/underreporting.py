"""`hews simulate underreporting`: what warnings and their audit look like where fewer incidents are reported.

In a third of the neighborhoods of generated cities only a share of the records is made, of all categories that are
reported or of any that are named, from the first day on. A forecaster learns from what is recorded, warns for half a
year, and is audited twice (`audit.exposure`): against what was recorded, which is all that anybody sees, and against
all that happened. Beside them two counts that might give it away: reports for each call for service, where one hears
of all incidents alike, and shootings reported for each weapon that patrols found, as arrests would be.

Shapes: E incidents, S windows, N neighborhoods, R seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hews_gpu.alerts.decide import decide
from hews_gpu.alerts.forecasts import forecast
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.audit.exposure import GATES, Cells, Grouping, gates, measures
from hews_gpu.audit.feedback import BEFORE_S, SHIFT_S, Arm, History, Settings, cell, learned, told
from hews_gpu.errors import UserError
from hews_gpu.evaluation.metrics import wilson_interval
from hews_gpu.progress import step
from hews_gpu.synthetic.patrolled import (
    DISCOVERED,
    LAW,
    REPORTED,
    SHOOTING,
    UNKNOWN,
    WEAPONS,
    PatrolledCity,
    Response,
)
from hews_gpu.units import DAY_S, WEEK_S

__all__ = ["BY_REPORT", "SHARES", "underreporting", "underreporting_table"]

SHARES = (1.0, 0.9, 0.75, 0.5)
"""Of the reports that are made in some neighborhoods."""
CATEGORIES = (SHOOTING, *(one.name for one in LAW.categories))
BY_REPORT = tuple(name for name in CATEGORIES if name not in DISCOVERED)
"""Categories that are known because somebody reports them."""
QUIET_AREAS = 1 / 3
"""Of the neighborhoods."""
LEARNED_S = 2 * BEFORE_S
AUDITED_S = 26 * WEEK_S
FAILED = "audit_fails_"
CALLED = 0.6
"""Share of the incidents of which somebody calls, reported in the end or not."""


def underreporting(
    settings: Settings, shares: Sequence[float] = SHARES, categories: Sequence[str] = BY_REPORT
) -> dict[str, Any]:
    """Return, by share of the reports that is made, what the audit says of it, mean and 95 % interval over the seeds.

    Args:
        settings: of cities, forecaster and policy; cycles and patrols have no part in it.
        shares: of the reports in some neighborhoods.
        categories: of which fewer are recorded there.

    Raises:
        UserError: a share that is none, a category that the cities do not have, a policy with a minimum lead, or a
            model that does not say where.
    """
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong:
        raise UserError("--share", wrong[0], allowed="must be more than 0 and at most 1")
    unknown = [name for name in categories if name not in CATEGORIES]
    if unknown:
        raise UserError("--category", unknown[0], allowed=f"must be one of {', '.join(CATEGORIES)}")
    if lead_s := settings.policy.minimum_lead_s:
        allowed = "must be 0: an event counts as caught wherever a warning is in force, as in 'hews audit fairness'"
        raise UserError("--policy [minimum_lead_s]", lead_s, allowed=allowed)
    names = [f"{share:g}" for share in shares]
    if len(set(names)) < len(names):
        raise UserError("--share", ", ".join(names), allowed="must differ in their first six digits")
    result: dict[str, Any] = {}
    with step("under-reporting", settings.seeds * len(shares), "audits") as bar:
        runs: dict[str, list[Mapping[str, float]]] = {f"{share:g}": [] for share in shares}
        for seed in range(settings.seeds):
            city = PatrolledCity.draw(settings.neighborhoods, (LEARNED_S + AUDITED_S) // DAY_S, seed)
            for share in shares:
                runs[f"{share:g}"].append(_audit(city, share, categories, settings, seed))
                bar.advance()
    for text, each in runs.items():
        columns = {name: np.array([one[name] for one in each]) for name in each[0]}
        result[text] = {name: _share(one) if name.startswith(FAILED) else told(one) for name, one in columns.items()}
    about = {**asdict(settings), "policy": settings.policy.as_dict()}
    return {"settings": about, "categories": list(categories), "shares": result}


def _share(failed: Float64) -> dict[str, Any]:
    """Return the share of the seeds [R] in which a gate failed, with its 95 % interval."""
    low, high = wilson_interval(int(failed.sum()), len(failed))
    return {"value": float(failed.mean()), "interval": [round(low, 4), round(high, 4)]}


def _audit(
    city: PatrolledCity, share: float, categories: Sequence[str], settings: Settings, seed: int
) -> dict[str, float]:
    """Return the measures of one city; disparities are those of the neighborhoods that report less to the city."""
    rng, areas = np.random.default_rng([seed, 2]), len(city.polygons)
    is_quiet = rng.permutation(areas) < round(areas * QUIET_AREAS)
    is_made = rng.random(len(city.time_s)) < np.where(is_quiet[city.area], share, 1.0)
    is_called = rng.random(len(city.time_s)) < CALLED
    names = np.array(city.categories)[city.category]
    outcome = city.outcome(slice(None), np.zeros(len(names), dtype=bool), Response())
    by_report = ~np.isin(names, DISCOVERED)
    outcome[np.isin(names, categories) & ~is_made] = UNKNOWN
    start_s = city.begin_s + LEARNED_S
    arm, delivery_s = Arm(title="", is_capped=True), settings.delivery_days * DAY_S
    history = History(city=city, arm=arm, outcome=outcome, until_s=start_s, delivery_s=delivery_s)
    p, warned = _warned(history, settings, seed)
    target = (names == SHOOTING) & (city.time_s >= start_s)
    grouping = Grouping(
        by="", group=np.where(is_quiet, 0, 1), names=("fewer reports", "others"), edges=((0, 0), (1, 1))
    )
    result: dict[str, float] = {}
    for against, which in (("recorded", target & (outcome == REPORTED)), ("true", target)):
        events = _counts(city, which, start_s, p.shape)
        cells = Cells(p=p, is_warned=warned, events=events, stride_s=SHIFT_S, horizon_s=SHIFT_S)
        quiet = measures(cells, grouping, np.ones(areas))[0]
        for gate in GATES:
            told_of = quiet[gate.measure] and quiet[gate.measure][gate.kind]
            result[f"{gate.measure}_{against}"] = told_of["value"] if told_of else np.nan
        verdicts = [one.verdict for one in gates(cells, [grouping], np.ones(areas), against)]
        result[f"{FAILED}{against}"] = float("fail" in verdicts)
        result[f"caught_in_city_{against}"] = float((events * warned).sum() / max(1, events.sum()))
    result["warned_there"] = float(warned[:, is_quiet].sum() / max(1, warned.sum()))
    reported = by_report & (outcome == REPORTED)
    result["reports_per_call"] = _ratio(city, reported, by_report & is_called, is_quiet)
    found = (names == WEAPONS) & (outcome == REPORTED)
    result["shootings_per_find"] = _ratio(city, (names == SHOOTING) & reported, found, is_quiet)
    return result


def _warned(history: History, settings: Settings, seed: int) -> tuple[Float64, Bool]:
    """Return the forecasts [S, N] of half a year, and where a warning is in force."""
    forecaster, thresholds = learned(history, settings, seed)
    issue_s = history.until_s + np.arange(0, AUDITED_S, SHIFT_S)
    history.until_s += AUDITED_S
    said = forecast(forecaster, history.catalog(), settings.task, issue_s)  # each from what was delivered before it
    assert said.areas is not None
    warned = np.zeros(said.areas.shape, dtype=bool)
    for one in decide(settings.policy_of(history.arm), thresholds, said, []):
        warned[(one.issue_s - issue_s[0]) // SHIFT_S, one.place] = True
    return said.areas, warned


def _counts(city: PatrolledCity, which: Bool, start_s: int, shape: tuple[int, ...]) -> Int64:
    """Return some incidents [E] by window and neighborhood [S, N]."""
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, ((city.time_s[which] - start_s) // SHIFT_S, city.area[which]), 1)
    return counts


def _ratio(city: PatrolledCity, top: Bool, bottom: Bool, is_quiet: Bool) -> float:
    """Return how many of one kind there are for each of another where fewer is reported, over the same elsewhere."""
    quiet = is_quiet[city.area]
    here, elsewhere = (int((top & where).sum()) / max(1, int((bottom & where).sum())) for where in (quiet, ~quiet))
    return here / elsewhere if elsewhere else float("nan")


def underreporting_table(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the measures as rows of text, a column for each share."""
    shares = result["shares"]
    heading = ["of the reports there", *(f"{float(share):.0%}" for share in shares)]
    names = next(iter(shares.values()))
    return [heading, *([name.replace("_", " "), *(cell(one[name]) for one in shares.values())] for name in names)]
