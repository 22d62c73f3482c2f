"""What warnings were worth: caught, false, how early and how many, always together and beside both references.

A share of events caught says nothing without how many warnings that took, so that no page shows one of these four
numbers alone. Both pages use the same object, by place kind, forecaster and tier, as `hews verify` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hews_gpu.report.formatting import MISSING, SPACE, number, percent, range_of
from hews_gpu.report.page import Block, Row, table
from hews_gpu.report.significance import label
from hews_gpu.units import MINUTE_S

__all__ = ["PLACE_KINDS", "REFERENCES", "budget_table", "lead", "tiles", "who"]

By = Mapping[str, Any]
"""By forecaster (``p`` is the model), tier (``watch``, ``warning``, ``any``) and name of a count."""
PLACE_KINDS = {"city": "The whole city", "neighborhoods": "Single neighborhoods"}
REFERENCES = {"climatology": "calendar", "level": "recent level"}
TIERS = {"any": "watches and warnings", "warning": "warnings alone"}
NUMBERS: Mapping[str, tuple[str, Any]] = {
    "pod": ("Events caught", lambda one: percent(one["pod"], 0)),
    "far": ("False alarms", lambda one: percent(one["far"], 0)),
    "median_lead_s": ("Median lead time", lambda one: lead(one["median_lead_s"])),
    "per_week": ("Given a week", lambda one: number(one["per_week"], 1)),
}


def lead(lead_s: Any) -> str:
    """Return ``1 h 10 min``; a dash for none."""
    if lead_s is None or lead_s != lead_s:
        return MISSING
    minutes = round(float(lead_s) / MINUTE_S)
    whole = f"{minutes // 60}{SPACE}h" if minutes >= 60 else ""
    rest = f"{minutes % 60}{SPACE}min" if minutes % 60 or not whole else ""
    return f"{whole}{SPACE}{rest}".strip(SPACE)


def who(name: str, model: str) -> str:
    """Return what a forecaster of the object is called."""
    return label(model) if name == "p" else REFERENCES.get(name, label(name))


def tiles(by: By) -> list[tuple[str, str, str]]:
    """Return the four numbers of the model's watches and warnings together, those of the references below each."""
    return [
        (
            title,
            write(by["p"]["any"]),
            ", ".join(f"{name} {write(by[other]['any'])}" for other, name in REFERENCES.items() if other in by),
        )
        for title, write in NUMBERS.values()
    ]


def budget_table(kinds: Mapping[str, By | None], model: str) -> Block:
    """Return the table of all place kinds and tiles; each forecaster kept to the same budgets and policy."""
    rows: list[Row] = []
    for kind, title in PLACE_KINDS.items():
        by = kinds.get(kind) or {}
        for tier, named in TIERS.items():
            if all(tier not in one for one in by.values()):
                continue
            rows.append(Row(f"{title}, {named}", (), look="group"))
            rows += [
                Row(who(name, model), _cells(tiers[tier]), look="model" if name == "p" else "")
                for name, tiers in by.items()
                if tier in tiers
            ]
    return table("budget", rows)


def _cells(one: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    """Return the four numbers, what they are made of below."""
    intervals = {name: _interval(one.get(f"{name}_interval")) for name in ("pod", "far")}
    below = {
        "pod": (f"{number(one['caught'])} of {number(one['events'])}", intervals["pod"]),
        "far": (f"{number(one['false_alarms'])} of {number(one['hits'] + one['false_alarms'])}", intervals["far"]),
        "per_week": (f"{number(one['given'])} in all",),
    }
    return [(write(one), *below.get(name, ())) for name, (_, write) in NUMBERS.items()]


def _interval(ends: Sequence[float] | None) -> str:
    return range_of(ends, 0, percent) if ends else ""
