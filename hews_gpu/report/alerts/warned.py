"""Tables of warnings: one by one, and what all were worth beside those of both references.

A share of events caught says nothing without how many warnings that took, how many of them were false and how early
they came, so that no page shows one of these four numbers alone. Both pages use the same object, by kind of place,
forecaster and tier, as `hews verify` writes it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from hews_gpu.alerts.decide import CITY
from hews_gpu.alerts.explain import in_words
from hews_gpu.report.formatting import MISSING, SPACE, number, percent, range_of
from hews_gpu.report.page import Block, Cell, Row, table
from hews_gpu.report.significance import label
from hews_gpu.units import HOUR_S, MINUTE_S

__all__ = ["counted", "lead", "tiles", "warning_rows", "who", "worth_tables"]

By = Mapping[str, Any]
"""By forecaster (``p`` is the model), tier (``watch``, ``warning``, ``any``) and name of a count."""
PLACE_KINDS = {"city": "The whole city", "neighborhoods": "Single neighborhoods"}
REFERENCES = ("climatology", "level")
GLYPHS = {"hit": "● hit", "false_alarm": "○ false alarm", "miss": "▽ miss", "open": "… open"}
TIERS = {"any": "watches and warnings", "warning": "warnings alone"}
NUMBERS: Mapping[str, tuple[str, Any]] = {
    "pod": ("Events caught", lambda one: percent(one["pod"], 0)),
    "far": ("False alarms", lambda one: percent(one["far"], 0)),
    "median_lead_s": ("Median lead time", lambda one: lead(one["median_lead_s"])),
    "per_week": ("Given a week", lambda one: number(one["per_week"], 1)),
}


def lead(lead_s: Any) -> str:
    """Return ``109 min``, from ten hours on ``12.5 h``; a dash for none."""
    if lead_s is None or lead_s != lead_s:
        return MISSING
    return f"{lead_s / MINUTE_S:.0f}{SPACE}min" if lead_s < 10 * HOUR_S else f"{lead_s / HOUR_S:.1f}{SPACE}h"


def counted(count: int, thing: str) -> str:
    """Return ``1 warning`` or ``2,345 warnings``."""
    return f"{number(count)} {thing}{'' if count == 1 else 's'}"


def tiles(by: By, note: str = "") -> list[tuple[str, str, str]]:
    """Return the four numbers of the model's watches and warnings together; below each a note and the references'."""
    return [
        (
            title,
            write(by["p"]["any"]),
            note + ", ".join(f"{label(other)} {write(by[other]['any'])}" for other in REFERENCES if other in by),
        )
        for title, write in NUMBERS.values()
    ]


def worth_tables(kinds: Mapping[str, By | None], model: str) -> list[Block]:
    """Return the tables of all place kinds and tiers: the four numbers, and the scores of a risk matrix, if any."""
    matrix = _matrix_rows(kinds, model)
    return [_budget_table(kinds, model), *([table("matrix", matrix)] if matrix else [])]


def _matrix_rows(kinds: Mapping[str, By | None], model: str) -> list[Row]:
    """Return the scores of both tiers together, and of each."""
    rows = []
    for kind, title in PLACE_KINDS.items():
        for name, tiers in (kinds.get(kind) or {}).items():
            if matrix := tiers.get("matrix"):
                firm = [(matrix["tiers"].get(tier) or {}).get("firm") for tier in ("watch", "warning")]
                cells = [number(one, 5) for one in (matrix["score"], matrix["never"], *firm)]
                rows.append(Row(f"{title}: {who(name, model)}", cells, look="model" * name.startswith("p")))
    return rows


def _budget_table(kinds: Mapping[str, By | None], model: str) -> Block:
    """Return the four numbers; each forecaster kept to the same budgets and policy."""
    rows: list[Row] = []
    for kind, title in PLACE_KINDS.items():
        by = kinds.get(kind) or {}
        for tier, named in TIERS.items():
            if all(tier not in one for one in by.values()):
                continue
            rows.append(Row(f"{title}, {named}", (), look="group"))
            rows += [
                Row(who(name, model), _cells(tiers[tier]), look="model" if name.startswith("p") else "")
                for name, tiers in by.items()
                if tier in tiers
            ]
    return table("budget", rows)


def who(name: str, model: str) -> str:
    """Return what a forecaster of the object is called."""
    own = f"{label(model)}, this run" if model in REFERENCES else label(model)
    return {"p": own, "p if issued": f"{own}, if sent"}.get(name, label(name))


def _cells(one: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    """Return the four numbers, what they are made of below."""
    intervals = {name: _interval(one.get(f"{name}_interval")) for name in ("pod", "far")}
    withheld = f", {number(one['withheld'])} withheld" if one.get("withheld") else ""
    below = {
        "pod": (f"{number(one['caught'])} of {number(one['events'])}{intervals['pod']}",),
        "far": (f"{number(one['false_alarms'])} of {number(one['hits'] + one['false_alarms'])}{intervals['far']}",),
        "per_week": (f"{number(one['given'])} in all{withheld}",),
    }
    return [(write(one), *below.get(name, ())) for name, (_, write) in NUMBERS.items()]


def _interval(ends: Sequence[float] | None) -> str:
    return f", {range_of(ends, 0, percent)}" if ends else ""


def warning_rows(
    rows: Sequence[Mapping[str, Any]], begin_s: int, names: Sequence[str] = (), targets: Sequence[str] = ()
) -> list[Row]:
    """Return warnings, and events that came without one, as rows of a table.

    Args:
        rows: as ``warnings.parquet`` and ``verification.json`` hold them; times as pandas reads them.
        begin_s: how long after the issue time windows begin.
        names: [N] of the neighborhoods, where rows may hold an ``explanation``.
        targets: names of the categories that were warned of, likewise.
    """
    moments = [pd.Timestamp(row["event_time" if row["outcome"] == "miss" else "issue_time"]) for row in rows]
    years = {moment.year for moment in moments}
    form = f"%a{SPACE}%-d{SPACE}%b{f'{SPACE}%Y' if len(years) > 1 else ''}, %H:%M"
    return [_warning_row(row, begin_s, form, _explanation(row, names, targets)) for row in _joined(rows)]


def _joined(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows; an event missed by warnings of the city and of its neighborhood alike becomes one row of both."""
    of_city = Counter(row["event_time"] for row in rows if _is_miss(row) and not isinstance(row["place"], str))
    of_places = Counter(row["event_time"] for row in rows if _is_miss(row) and isinstance(row["place"], str))
    both = of_city & of_places
    left = both.copy()
    for row in rows:
        if not _is_miss(row):
            yield row
        elif isinstance(row["place"], str):
            both[row["event_time"]] -= 1
            yield {**row, "missed_by_both": both[row["event_time"]] >= 0}
        elif left[row["event_time"]] > 0:
            left[row["event_time"]] -= 1
        else:
            yield row


def _is_miss(row: Mapping[str, Any]) -> bool:
    return bool(row["outcome"] == "miss")


def _explanation(row: Mapping[str, Any], names: Sequence[str], targets: Sequence[str]) -> str:
    """Return why a warning was given, in words; empty where nobody worked that out."""
    told = row.get("explanation")
    place = names.index(row["place"]) if isinstance(row["place"], str) and row["place"] in names else CITY
    return in_words(json.loads(told), place, names, targets) if isinstance(told, str) else ""


def _warning_row(row: Mapping[str, Any], begin_s: int, form: str, explanation: str) -> Row:
    issued, opens, closes, came = (
        pd.Timestamp(row[name]) for name in ("issue_time", "window_start", "window_end", "event_time")
    )
    missed = _is_miss(row)
    at = came if missed else issued
    where = row["place"] if isinstance(row["place"], str) else "Whole city"
    notes = [note for note in ("withheld", "undelivered", "cancelled", "late") if row.get(note) is True]
    if missed:
        tier = "no warning of it or of the city" if row.get("missed_by_both") else "no warning"
        notes = [str(row["system"])] if row.get("system") not in (None, "issued") else []
    else:
        tier = str(row["tier"])
    tier = ", ".join([tier, *notes])
    outcome = [GLYPHS.get(str(row["outcome"]), str(row["outcome"]))]
    outcome += [f"incident at {came:%H:%M}"] if row["outcome"] == "hit" else []
    cells: list[Cell] = [
        (where, tier),
        outcome,
        lead(None if missed else row["lead_s"]),
        MISSING if missed else f"{opens:%H:%M} to {closes:%H:%M}",
        MISSING if missed else (percent(row["probability"]), f"threshold {percent(row['threshold'])}"),
    ]
    moment_s = int(at.timestamp()) - (begin_s if missed else 0)  # a miss: when a warning could have covered it
    return Row(at.strftime(form), cells, look=str(row["outcome"]), at=moment_s, below=explanation)
