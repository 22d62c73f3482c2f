"""The table at the top of a page: what can be foreseen here, in words that a dispatcher reads in twenty seconds.

A row for each length of window and lead, an answer for the city and one for its neighborhoods. "Yes" is what beats the
calendar and its recent level significantly, corrected for all that was tried. Every answer is from a results file, and
what nobody has measured says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hews_gpu.evaluation.judge import TOO_LITTLE, beats
from hews_gpu.evaluation.leadtime import correct_for_points
from hews_gpu.evaluation.places import PLACE_REFERENCES
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.report.formatting import category_list, duration, signed
from hews_gpu.report.page import Block, Cell, Row, table
from hews_gpu.report.result import Result
from hews_gpu.report.significance import CLIMATOLOGY, LEVEL, gain_over, label

__all__ = ["foresight", "over_leads"]

Scores = Mapping[str, Any]
REFERENCES = (CLIMATOLOGY, LEVEL)
NOTHING = ("No", "nothing beyond clock and level")
NOT_MEASURED = "Not measured"
NOWHERE = (NOT_MEASURED, "no model tried says where")
BOTH = ("city", "places")


def foresight(result: Result) -> Block:
    """Return the answers for the windows that a run was judged on, and for more where `hews leadtime` was run."""
    metrics, too_little = result.metrics, result.comparison.too_little
    protocol, places = metrics["protocol"], metrics.get("places")
    cells = [_answer(result.forecasts, REFERENCES, too_little)]
    cells.append(_answer(places["forecasts"], PLACE_REFERENCES, too_little) if places else NOWHERE)
    rows = [Row(f"The next {duration(protocol['horizon_s'])}", cells, _ahead(protocol["lead_s"]))]
    if result.leadtime:
        rows += _rows_over_leads(result.leadtime["points"])
    else:
        how = "'hews leadtime' with --out RUN/leadtime measures it"
        rows.append(Row("Further ahead", [(NOT_MEASURED, how), (NOT_MEASURED,)]))
    what = "target incidents"
    if result.prepared is not None:
        what = category_list(result.prepared.city.incidents.target_names)
    return table("foresight", rows, what=what)


def over_leads(points: Sequence[Scores]) -> Block:
    """Return the answers of `hews leadtime` alone."""
    return table("foresight", _rows_over_leads(points), what="target incidents")


def _rows_over_leads(points: Sequence[Scores]) -> list[Row]:
    """Return a row for each length of the windows, with the longest lead at which anything is foreseen."""
    correct_for_points(points)  # files from before December 2026 are not corrected by neighborhood
    rows = []
    for horizon_s in dict.fromkeys(point["horizon_s"] for point in points):
        own = [point for point in points if point["horizon_s"] == horizon_s]
        first, last = (pick(point["lead_s"] for point in own) for pick in (min, max))
        when = _ahead(last) if first == last else f"{_whole(first) if first else 'from 0'} to {_ahead(last)}"
        rows.append(Row(f"Any {duration(horizon_s)}", [_longest(own, part) for part in BOTH], when))
    return rows


def _whole(length_s: int) -> str:
    words = duration(length_s)
    return words if words[0].isdigit() else f"1 {words}"


def _ahead(lead_s: int) -> str:
    return f"{_whole(lead_s)} ahead" if lead_s else "as they begin"


def _longest(points: Sequence[Scores], part: str) -> Cell:
    """Return the answer of the longest lead with foresight, else that no lead has any, or why nobody can tell."""
    answers = []
    for point in points:
        references = REFERENCES if part == "city" else PLACE_REFERENCES
        holder = point if part == "city" else point.get("places")
        if holder is None:
            continue
        answers.append((point["lead_s"], _answer(holder["forecasts"], references, point["too_little"])))
    yes = [(lead_s, answer) for lead_s, answer in answers if answer[0] == "Yes"]
    if yes:
        lead_s, answer = max(yes)
        return (f"Yes, up to {_ahead(lead_s)}", answer[1])
    judged = [answer for _, answer in answers if answer[0] == "No"]
    return next(iter(judged or [answer for _, answer in answers]), NOWHERE)


def _answer(forecasts: Scores, references: Sequence[str], too_little: Sequence[str]) -> tuple[str, str]:
    """Return yes and by how much, no, or why it cannot be told."""
    if too_little:
        return TOO_LITTLE, too_little[0]
    models = [name for name in forecasts if name not in (*REFERENCES, *PLACE_BASELINES, "base_rate", "oracle")]
    told = [name for name in models if all(other in forecasts[name].get("against", {}) for other in references)]
    if not told:
        return (NOT_MEASURED, "not held against the recent level") if models else NOWHERE
    over = {name: gain_over(forecasts[name], LEVEL) or {} for name in told if beats(forecasts[name], references)}
    if not over:
        return NOTHING
    best = max(over, key=lambda name: over[name]["value"])
    return "Yes", f"{label(best)}: {signed(over[best]['value'])} bits per window"
