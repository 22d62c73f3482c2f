"""`hews verify`: score everything that a record says was issued, by month and in all, into `verification.json`.

The file is one object. Times are local, ``2017-06-01T20:00:00``; probabilities and rates are plain numbers; what does
not exist (no warning given, no event, too short for an interval) is null::

    kind           "verification"
    run, model     name of the run's folder; name of its forecaster
    made           UTC instant
    record         entries, head (hash of the last), first, last (instants)
    task           stride_s, lead_s, horizon_s, minimum_lead_s
    policies       [{from (issue time), fingerprint}], each time another policy came into force
    neighborhoods  [name] or null: of a model that does not say where
    periods        [Period], one per month of issue times, in order
    all            Period, over the whole record
    warnings       [Row], in the order of issue_time or, of a miss, event_time
    delay          null without a vintage store, else settled_share, settled_s (a label is given so long after its
                   window's end), curve [[share, seconds]], nowcast [{day, known, expected, low, high}]: rows of the
                   last days, known and how many there will be, with 90 % intervals
    rebaselines    [{instant, why, moved: number of values}]

    Period
    period         "2017-06", or "all"
    begin, end     first due issue time and the one after the last
    published      whether the month is over and all its windows are settled: its numbers may not move any more
    outcomes       due = issued + abstained + refused + stopped + late + missing; missing: no entry for an issue time
    reasons        {reason: count} of abstained, refused and stopped
    open           due issue times whose label is not yet known: they are in none of the scores below
    events         city, neighborhoods: target events that could have been warned of
    as_made        Scored or null: the windows with a forecast made in time, even where the system abstained
    as_served      Scored or null: every due window; where nothing was issued in time (abstained, refused, stopped,
                   late, missing) the climatology's forecast stands in `p`'s place
    areas          null without neighborhoods, else Scored of each window and neighborhood as a case, `p` and
                   `climatology` (its forecast spread over neighborhoods by their long-run shares) alone
    warnings       {"city": By, "neighborhoods": By or null}
    warnings_if_issued  {"city": Counts by tier, "neighborhoods": likewise}: had what was withheld while the system
                   abstained been given; null where nothing was withheld
    drift          null if nothing is scored, else mean_forecast, observed, difference: {value, interval} of observed
                   less forecast (`interval` leaves out 0: drifted, wrong for 1 stable month in 20), events,
                   expected_events (by the climatology)

    Scored
    windows, positives, base_rate, effective_windows (how many windows of that length do not overlap)
    forecasts      {"p": F, "climatology": F, "level": F}
    F              log_loss_bits, brier, reliability [{p_mean, y_rate, low, high, count}],
                   roc {auc, curve [[false alarm rate, hit rate]]},
                   molchan {area, curve [[share of windows alarmed, miss rate]]},
                   against {other: {log_skill_bits, brier_skill}}, each {value, interval or null}

    By             {"p": Tiers, "climatology": Tiers, "level": Tiers}: what was given, and what the two references would
                   have given under the same budgets and policy; a reference that was not recorded is left out
    Tiers          {"watch": Counts, "warning": Counts, "any": Counts, "matrix": Matrix or null}
    Counts         given, per_week, hits, false_alarms, open, events, caught, pod, pod_interval, far, far_interval,
                   median_lead_s; withheld, late, undelivered (none is among given), cancelled (given)
    Matrix         score (mean risk-matrix score, lower is better), never (of who never warns), tiers {tier:
                   {probability, firm, over, under}}: FIRM with that probability as risk threshold, and its two parts

    Row
    period         the month that it counts in
    id, place (null: city), tier, issue_time, window_start, window_end, probability, threshold, replaces
    outcome        hit | false_alarm | miss | open; a miss has no id, tier, issue_time, window, probability, threshold;
                   of what was not given, the outcome that it would have had
    withheld, late, undelivered: reasons why it was not given; cancelled: given, but covers nothing
    event_time, lead_s (from issue to the first event in its window), events (in the window)
    system         the outcome at the issue time or, of a miss, at the last one that could have warned of the event

Numbers of published months are sealed into the record, in lines ``published``, and compared with those: see `verify`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from hews_gpu.alerts.decide import CITY, Warning
from hews_gpu.alerts.history import Compact, History, read_history
from hews_gpu.alerts.judged import MODEL, Judged, counts, judge_all
from hews_gpu.alerts.policy import Policy, load_policy
from hews_gpu.alerts.record import load_key, open_record, read_record
from hews_gpu.alerts.references import NAMES, References
from hews_gpu.alerts.scores import summary
from hews_gpu.alerts.settle import text
from hews_gpu.alerts.vintages.delays import delays, nowcast
from hews_gpu.alerts.vintages.store import VINTAGES, open_store
from hews_gpu.errors import UserError
from hews_gpu.files import NOT_A_PLACE, disk_full_is_a_user_error, write_json
from hews_gpu.forecasters.catalog import SETTLED
from hews_gpu.own_files import check
from hews_gpu.progress import log
from hews_gpu.runs.run import Run, open_run
from hews_gpu.typed_toml import build

__all__ = ["VERIFICATION", "verify"]

VERIFICATION = "verification.json"
PUBLISHED = {"period": str, "scores": dict, "rows": dict}
"""What the record must hold of a month's numbers, as `own_files.check` takes it."""
SAME = 1e-9
NOWCAST_DAYS = 14
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def verify(run: Path, *, out: Path | None = None, data: Path | None = None, why: str = "") -> dict[str, Any]:
    """Score a run's record and write ``verification.json``.

    Args:
        run: folder with a record.
        out: folder to write to; the run's own unless given.
        data: the prepared folder, where it has moved since training.
        why: numbers that were published may move, for this reason; the record then tells of them.

    Returns:
        What was written.

    Raises:
        UserError: there is no record or it does not hold; a published number moved, and there is no reason; `out`
            cannot be written.
    """
    entries = read_record(run, keep=Compact())
    opened = open_run(run, data=data)
    references = References(opened)
    zone = ZoneInfo(opened.prepared.city.city.timezone)
    history = read_history(entries, zone, references.shares)
    given = {MODEL: history.warnings, **_reference_warnings(history, references)}
    names = opened.prepared.neighborhoods["name"].astype(str).tolist() if references.shares is not None else None
    out = out or run
    with disk_full_is_a_user_error(out, NOT_A_PLACE):
        out.mkdir(parents=True, exist_ok=True)
    scored = _scored(history, given, names)
    entries += _publish(run, entries, scored, why)
    result = {**_heading(opened, entries, history, names), **scored, "delay": _delay(run)}
    result["rebaselines"] = [
        {"instant": one["instant"], "why": one["why"], "moved": len(one["diff"])}
        for one in entries
        if one["kind"] == "rebaseline"
    ]
    write_json(out / VERIFICATION, result)
    return result


def _heading(
    run: Run, entries: Sequence[Mapping[str, Any]], history: History, names: list[str] | None
) -> dict[str, Any]:
    """Return what the file begins with."""
    windows = history.timeline.windows
    return {
        "kind": "verification",
        "run": run.folder.resolve().name,
        "model": run.recipe.model,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "record": {
            "entries": len(entries),
            "head": entries[-1]["hash"],
            **{name: entries[at]["instant"] for name, at in (("first", 0), ("last", -1))},
        },
        "task": {
            "stride_s": history.timeline.stride_s,
            "lead_s": windows.lead_s,
            "horizon_s": windows.horizon_s,
            "minimum_lead_s": history.timeline.minimum_lead_s,
        },
        "policies": [
            {"from": text(windows.issue_s[k]), "fingerprint": build(Policy, policy, section="").fingerprint}
            for k, policy in history.policies
        ],
        "neighborhoods": names,
    }


def _reference_warnings(history: History, references: References) -> dict[str, list[Warning]]:
    """Return the warnings that climatology and recent level would have given, each policy while it was in force."""
    timeline = history.timeline
    given: dict[str, list[Warning]] = {name: [] for name in NAMES if name in timeline.p}
    ends = [first for first, _ in history.policies[1:]] + [len(timeline.windows)]
    for (first, content), last in zip(history.policies, ends, strict=True):
        policy, which = build(Policy, content, section=""), np.arange(first, last)
        thresholds = references.thresholds(policy, int(timeline.windows.issue_s[first]))
        for name, past in given.items():
            windows, p = timeline.windows.select(which), timeline.p[name][which]
            past += references.warnings(policy, thresholds[name], windows, p, past)
    return given


def _scored(history: History, given: Mapping[str, Sequence[Warning]], names: list[str] | None) -> dict[str, Any]:
    """Return the scores by month and in all, and the warnings and misses one by one."""
    timeline = history.timeline
    judged = judge_all(timeline, given, **history.notes)
    issued = [replace(one, withheld=False) for one in history.warnings]
    if_issued = {kind: by[MODEL] for kind, by in judge_all(timeline, {MODEL: issued}, **history.notes).items()}
    issue = timeline.windows.issue_s.astype("datetime64[s]")
    month = issue.astype("datetime64[M]")
    periods = []
    for one in [*np.unique(month), None]:
        which = np.ones(len(month), dtype=bool) if one is None else month == one
        at = np.flatnonzero(which)
        over = one is not None and month[-1] > one
        reasons = Counter(history.reason[k] for k in at.tolist() if history.reason[k])
        periods.append(
            {
                "period": "all" if one is None else str(one),
                "begin": str(issue[at[0]]),
                "end": str(issue[at[-1]] + timeline.step_s[at[-1]]),
                "published": bool(over and not timeline.is_open[which].any()),
                "reasons": dict(sorted(reasons.items())),
                **summary(timeline, judged, which),
                "warnings_if_issued": {kind: counts(timeline, of, which) for kind, of in if_issued.items()}
                if any(by[MODEL].notes["withheld"][which[by[MODEL].index]].any() for by in judged.values())
                else None,
            }
        )
    rows = [row for by in judged.values() for row in _rows(history, by[MODEL], month, names)]
    rows.sort(key=lambda row: (row["issue_time"] or row["event_time"], row["place"] or "", row["tier"] or ""))
    return {"periods": periods[:-1], "all": periods[-1], "warnings": rows}


def _rows(
    history: History, judged: Judged, month: np.ndarray[Any, Any], names: list[str] | None
) -> Iterator[dict[str, Any]]:
    """Yield the warnings of one kind of place, and the events that none covers."""
    timeline = history.timeline
    for k, one in enumerate(judged.warnings):
        first_s = int(judged.first_event_s[k])
        yield {
            "period": str(month[judged.index[k]]),
            "id": one.id,
            "place": None if one.place == CITY else (names or [])[one.place],
            "tier": one.tier,
            "issue_time": text(one.issue_s),
            "window_start": text(one.begin_s),
            "window_end": text(one.end_s),
            "probability": one.probability,
            "threshold": one.threshold,
            "replaces": one.replaces,
            "outcome": str(judged.outcome[k]),
            **{note: bool(is_so[k]) for note, is_so in judged.notes.items()},
            "event_time": None if first_s < 0 else text(first_s),
            "lead_s": None if first_s < 0 else first_s - one.issue_s,
            "events": int(judged.events[k]),
            "system": str(timeline.outcome[judged.index[k]]),
        }
    blank = ("id", "tier", "issue_time", "window_start", "window_end", "probability", "threshold", "replaces", "lead_s")
    for event in judged.missed.tolist():
        last, at = timeline.last_chance[event], timeline.event_place[event]
        yield {
            "period": str(month[last]),
            "place": None if judged.kind == "city" else (names or [])[at],
            **dict.fromkeys(blank),
            "outcome": "miss",
            **dict.fromkeys(judged.notes, False),
            "event_time": text(timeline.event_s[event]),
            "events": 1,
            "system": str(timeline.outcome[last]),
        }


def _delay(run: Path) -> dict[str, Any] | None:
    """Return how late rows are known, and how many of the last days are still to come, where there is a store."""
    store = open_store(run / VINTAGES)
    if not store.deliveries:
        return None
    when_s = store.deliveries[-1].known_s + 1
    curve, recent = delays(store, when_s, targets=True), nowcast(store, when_s, days=NOWCAST_DAYS)
    numbers = np.stack([recent.known, recent.expected, recent.low, recent.high], axis=1).tolist()
    return {
        "settled_share": SETTLED,
        "settled_s": curve.settled_s(SETTLED),
        "late_rows": curve.late,
        "curve": [[share, curve.settled_s(share)] for share in SHARES],
        "nowcast": [
            {"day": text(int(day_s))[:10], "known": known, "expected": expected, "low": low, "high": high}
            for day_s, (known, expected, low, high) in zip(recent.day_s, numbers, strict=True)
        ],
    }


Leaf = tuple[str, Any, Any]


def _publish(
    run: Path, entries: Sequence[Mapping[str, Any]], scored: Mapping[str, Any], why: str
) -> list[dict[str, Any]]:
    """Seal the numbers of months that are published with this into the record; return the lines.

    Raises:
        UserError: a number that was published has moved, and there is no reason or it cannot be written down.
    """
    before = {}
    for one in entries:
        if one["kind"] == "published":
            check(one, PUBLISHED, f"record, entry {one['n']}")
            before[one["period"]] = {"scores": one["scores"], "rows": one["rows"]}
    months = {one["period"]: one for one in scored["periods"] if one["published"] or one["period"] in before}
    now = {month: {"scores": one, "rows": _rows_of(scored, month)} for month, one in months.items()}
    moved = {month: list(_differences(month, old, now.get(month))) for month, old in before.items()}
    every = [leaf for leaves in moved.values() for leaf in leaves]
    if every and not why:
        way, old, new = every[0]
        more = f", and {len(every) - 1:,} more" if len(every) > 1 else ""
        allowed = f"was published as {old!r} and is now {new!r}{more}"
        raise UserError(way, allowed=allowed, remedy="Nothing was written; say why it may move with --rebaseline WHY")
    if why and not every:
        log("--rebaseline: no published number moved; there is nothing to write down")
    bodies = [("rebaseline", {"why": why, "diff": [list(leaf) for leaf in every]})] if every else []
    bodies += [("published", {"period": month, **one}) for month, one in now.items() if moved.get(month, [()])]
    try:
        return _append(run, bodies) if bodies else []
    except UserError as error:
        if every:
            raise
        log(f"warning: no month was published: {error}")
        return []


def _rows_of(scored: Mapping[str, Any], month: str) -> dict[str, Any]:
    """Return the warnings and misses of a month by what tells them apart."""
    return {
        " ".join(str(row[name]) for name in ("id", "place", "event_time") if name != "event_time" or not row["id"]): row
        for row in scored["warnings"]
        if row["period"] == month
    }


def _append(run: Path, bodies: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Append lines to the record."""
    key = load_policy(run).sign.key
    with open_record(run, load_key(Path(key).expanduser()) if key else None) as record:
        return [record.append(kind, body) for kind, body in bodies]


def _differences(way: str, old: Any, new: Any) -> Iterator[Leaf]:
    """Yield each value of the old that the new lacks or has otherwise: its way, and both values."""
    if isinstance(old, dict | list) and isinstance(new, type(old)):
        items = old.items() if isinstance(old, dict) else enumerate(old)
        for key, value in items:
            there = key in new if isinstance(new, dict) else key < len(new)
            yield from _differences(f"{way}.{key}".lstrip("."), value, new[key] if there else None)
    elif isinstance(old, float | int) and isinstance(new, float | int):
        if not math.isclose(old, new, rel_tol=SAME, abs_tol=SAME):
            yield way, old, new
    elif old != new:
        yield way, old, new
