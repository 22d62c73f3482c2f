"""How far ahead anything can be foreseen: skill and hit rate over lead and horizon, of `hews leadtime`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hews_gpu.data.events import DOUBTS
from hews_gpu.evaluation.judge import NOT_MODELS, sign
from hews_gpu.evaluation.leadtime import SPOTS, foresees
from hews_gpu.report.figures import leadtime as figures
from hews_gpu.report.figures.scores import legend as looks
from hews_gpu.report.formatting import SPACE, duration, listed, number, percent, range_of, signed
from hews_gpu.report.page import Block, Cell, Row, Verdict, columns, figure, legend, table, text
from hews_gpu.report.sections.foresight import over_leads
from hews_gpu.report.significance import BASE_RATE, CLIMATOLOGY, LEVEL, MARKS, gain_over, label
from hews_gpu.units import short_duration

__all__ = ["leadtime"]

LONG_RUN = "long_run"
Point = Mapping[str, Any]


def leadtime(content: Mapping[str, Any]) -> tuple[str, str, Verdict, list[Block]]:
    """Return what stands over the heading, the heading, the verdict, and the blocks of the result."""
    points, ahead = content["points"], [one for one in content["longest"] if one["lead_s"] is not None]
    begin, end = (min(one["begin"] for one in points), max(one["end"] for one in points))
    notes = [text("leadtime", begin=begin[:10], end=end[:10], points=number(len(points))).words("text")]
    notes += [_longest(ahead)] if ahead else []
    notes += [f"The table is not known to be complete: {doubt}." for doubt in content.get(DOUBTS) or ()]
    blocks: list[Block] = [over_leads(points)]
    for horizon_s in dict.fromkeys(one["horizon_s"] for one in points):
        blocks += _of_horizon([one for one in points if one["horizon_s"] == horizon_s], content.get("shifts", ""))
    heading = str(content.get("city") or content.get("preset") or "A city")
    return "How far ahead", heading, Verdict(content["verdict"], "good" if ahead else "flat", notes), blocks


def _longest(ahead: Sequence[Mapping[str, Any]]) -> str:
    """Return how far ahead each model foresees, by the length of the windows."""
    each = [
        f"{label(one['model'])} {short_duration(one['lead_s'])} (windows of {short_duration(one['horizon_s'])})"
        for one in ahead
    ]
    return f"Longest lead with foresight: {listed(each)}; none for the other models and windows."


def _of_horizon(points: Sequence[Point], shifts: str) -> list[Block]:
    """Return figures and table of the windows of one length."""
    names = [name for name in points[0]["forecasts"] if name not in (CLIMATOLOGY, LEVEL, BASE_RATE)]
    lengths = {"length": _whole(points[0]["horizon_s"]), "area": f"{100 * SPOTS[-1]:g}{SPACE}%"}
    drawn = [figure("over_lead", figures.skill(points, names), (), **lengths)]
    places = [name for name in points[0].get("places", {"forecasts": {}})["forecasts"]]
    if places:
        drawn.append(figure("hits_over_lead", figures.hit_rate(points, places, SPOTS[-1]), (), **lengths))
    first = points[0]
    counts = f"{number(first['windows'])} windows, {number(first['positives'])} with a target."
    reasons = f" Too little to judge by: {'; '.join(first['too_little'])}." if first["too_little"] else ""
    begins = shifts.split(",")
    with_shifts = f" They begin with the shifts: {', '.join(begins)}." if first["begin"][11:16] in begins else ""
    return [
        text("windows_ahead", length=lengths["length"], counts=f"{counts}{with_shifts}{reasons}"),
        legend(looks(list(dict.fromkeys([LEVEL, *names, *places])))),
        columns(*drawn),
        table("leadtime", _rows(points), _heads(points), **lengths),
    ]


def _whole(length_s: int) -> str:
    words = duration(length_s)
    return words if words[0].isdigit() else f"one {words}"


def _heads(points: Sequence[Point]) -> list[str]:
    heads = ["Forecast", "Over the recent level, bits", "Over the calendar, bits", "AUC"]
    budget = next(one["warned"]["budget_per_week"] for one in points[0]["forecasts"].values() if "warned" in one)
    heads.append(f"Target windows caught at {budget} warnings a week")
    if "places" in points[0]:
        heads.append("By neighborhood, over the long-run rate, bits")
        heads += [f"Hit rate in {100 * share:g}{SPACE}% of the area" for share in SPOTS]
    return heads


def _rows(points: Sequence[Point]) -> list[Row]:
    """Return a row for every forecast under each lead, every number with its 95 % interval."""
    rows = []
    for point in points:
        rows.append(Row(f"{_whole(point['lead_s'])} ahead", (), look="group"))
        places = point.get("places", {"forecasts": {}})["forecasts"]
        for name in dict.fromkeys([*point["forecasts"], *places]):
            is_model = name in point["forecasts"] and name not in NOT_MODELS
            look = "model" if is_model and foresees(point, name) else ""
            own = _city_cells(point, name) if name in point["forecasts"] else [""] * 4
            rows.append(Row(label(name), [*own, *(_place_cells(places, name) if places else [])], look=look))
    return rows


def _city_cells(point: Point, name: str) -> list[Cell]:
    one, cells = point["forecasts"][name], list[Cell]()
    for other in (LEVEL, CLIMATOLOGY):
        bits = gain_over(one, other)
        if bits is None or name == other:
            cells.append("" if name == other else number(None))
            continue
        better = MARKS[sign(bits)] if name not in NOT_MODELS and not point["too_little"] else ""
        cells.append((signed(bits["value"]), range_of(bits["interval"]), f"significantly {better}" if better else ""))
    cells.append(number(one["auc"], 3))
    if warned := one.get("warned"):
        given = f"{number(warned['per_week'], 1)} a week given"
        return [*cells, (percent(warned["value"]), _shares(warned["interval"]), given)]
    return [*cells, ""]


def _place_cells(places: Mapping[str, Any], name: str) -> list[Cell]:
    if name not in places:
        return [""] * (1 + len(SPOTS))
    bits = places[name]["against"].get(LONG_RUN, {}).get("log_skill_bits")
    cells: list[Cell] = [(signed(bits["value"]), range_of(bits["interval"])) if bits else ""]
    for spot in places[name]["hot_spots"]:
        own, more = spot["hit_rate"], spot["over_long_run"]
        ahead = f"{signed(100 * more['value'], 1)} ({range_of([100 * end for end in more['interval']], 1)}) points"
        cells.append((percent(own["value"]), _shares(own["interval"]), ahead if name != LONG_RUN else ""))
    return cells


def _shares(ends: Sequence[float]) -> str:
    return " to ".join(percent(end) for end in ends)
