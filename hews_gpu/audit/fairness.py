"""`hews audit fairness`: who is warned of, and how rightly, by neighborhood and by what the census says of it.

A replay is audited as it was: a neighborhood is warned of in every window in which one of its warnings was in force. Of
an evaluated run, which gave no warnings, the likeliest neighborhoods and windows of the test split count, as many as
the policy allows. Beside the model stand the climatology, spread over the neighborhoods by their long-run shares, and
the long-run rate, which says the same at any hour: each with as many warned windows, its own likeliest.

The census is read here and nowhere else; what is written of it is by group of neighborhoods.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.alerts.policy import load_policy
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.audit.exposure import Cells, Grouping, equal_hours, gates, likeliest, measures
from hews_gpu.audit.gate_result import worst
from hews_gpu.config import load_city
from hews_gpu.data.census import read_census
from hews_gpu.data.events import open_data_of
from hews_gpu.errors import UserError
from hews_gpu.files import manifest, read_manifest, require_free_names, write_json, write_together
from hews_gpu.forecasters.city import prepared_city
from hews_gpu.forecasters.level import spread
from hews_gpu.forecasters.neighborhoods import LongRun
from hews_gpu.own_files import read_json
from hews_gpu.report.fairness import fairness_page
from hews_gpu.runs.evaluate import BY_NEIGHBORHOOD
from hews_gpu.runs.folder import model_fingerprint
from hews_gpu.units import MINUTE_S, WEEK_S

__all__ = ["FAIRNESS", "PAGE", "fairness"]

FAIRNESS, PAGE = "fairness.json", "fairness.html"
MODEL, CALENDAR, CONSTANT = "model", "climatology", "long_run_rate"
GROUPS = 4
SMALLEST_GROUP = 3  # neighborhoods


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What is audited."""

    of: str
    fingerprint: str
    """Of what the model has learned."""
    names: list[str]  # [N]
    begin_s: Int64  # [S]
    stride_s: int
    horizon_s: int
    p: Mapping[str, Float64]
    """[S, N] by forecaster."""
    events: Int64  # [S, N]
    is_warned: Bool  # [S, N] by the model
    how: str
    """How it is known what was warned of, in words."""


def fairness(
    folder: Path, *, census: Path, name: str, residents: str, by: Sequence[str], out: Path, force: bool = False
) -> dict[str, Any]:
    """Audit a replay or an evaluated run.

    Args:
        folder: made by ``hews replay``, or by ``hews train`` and evaluated.
        census: the file, see `read_census`.
        name: its column with the neighborhoods' names.
        residents: its column with the number of residents.
        by: columns or quotients of columns, by which neighborhoods are grouped in quarters of the residents.
        out: folder for ``fairness.json`` and the page.
        force: replace those that it holds.

    Returns:
        What ``fairness.json`` holds.

    Raises:
        UserError: neither a replay nor an evaluated run, or of a model that does not say where; no event or no warning
            in it; the census does not fit.
    """
    require_free_names(out, (FAIRNESS, PAGE), force=force)
    said = _read(folder)
    if not said.is_warned.any():
        remedy = "Audit a run or a replay whose policy warns"
        raise UserError("DIR", folder, allowed="warns of no neighborhood: nobody bears it", remedy=remedy)
    if not said.events.any():
        raise UserError("DIR", folder, allowed="holds no event", remedy="Audit a longer time")
    asked = list(dict.fromkeys([residents, *by]))
    told = read_census(census, name=name, asked=asked, neighborhoods=said.names)
    people = np.nan_to_num(told.values[residents])
    groupings = [_grouping(one, told.values[one], people) for one in by]
    cells = {each: _cells(said, each) for each in said.p}
    results = gates(cells[MODEL], groupings, people, said.of)
    result = {
        **manifest("fairness", {}),
        "of": said.of,
        "fingerprint": said.fingerprint,
        "how": said.how,
        "begin": _text(said.begin_s[0]),
        "end": _text(said.begin_s[-1] + said.horizon_s),
        "windows": len(said.begin_s),
        "neighborhoods": len(said.names),
        "without_census": list(told.without),
        "without_residents": [n for n, one in zip(said.names, people, strict=True) if one <= 0],
        "events": int(said.events.sum()),
        "warned_windows": int(said.is_warned.sum()),
        "verdict": worst(one.verdict for one in results),
        "results": [asdict(one) for one in results],
        "by": [_of_grouping(one, cells, people) for one in groupings],
        "bear_half": _bear_half(said.is_warned),
        "by_neighborhood": _by_neighborhood(said.names, cells[MODEL], people),
    }
    page = fairness_page(result)
    writers: dict[str, Callable[[Path], Any]] = {
        FAIRNESS: lambda path: write_json(path, result),
        PAGE: lambda path: path.write_text(page, encoding="utf-8"),
    }
    write_together(out, writers)
    return result


def _text(local_s: int) -> str:
    return str(np.datetime64(int(local_s), "s"))[:16]


def _cells(said: _Said, name: str) -> Cells:
    """Return the cells of a forecaster, with as many warned of as the model has."""
    p = said.p[name]
    warned = said.is_warned if name == MODEL else likeliest(p, int(said.is_warned.sum()))
    return Cells(p=p, is_warned=warned, events=said.events, stride_s=said.stride_s, horizon_s=said.horizon_s)


def _grouping(by: str, values: Float64, people: Float64) -> Grouping:
    """Return quarters of the residents, in the order of a value; neighborhoods of one value stay together."""
    known = np.flatnonzero(np.isfinite(values) & (people > 0))
    distinct, index = np.unique(values[known], return_inverse=True)
    if len(distinct) < GROUPS:
        allowed = f"has {len(distinct)} values in the neighborhoods with residents, at least {GROUPS} are needed"
        raise UserError("--by", by, allowed=allowed, remedy="Leave it out")
    held = np.bincount(index, weights=people[known])
    middle = np.cumsum(held) - held / 2
    quarter = np.minimum(GROUPS - 1, (middle / held.sum() * GROUPS).astype(np.int64))
    group = np.full(len(values), -1, dtype=np.int64)
    group[known] = quarter[index]
    if np.bincount(group[known], minlength=GROUPS).min() < SMALLEST_GROUP:
        allowed = f"does not part the residents in {GROUPS} groups of {SMALLEST_GROUP} neighborhoods at least"
        raise UserError("--by", by, allowed=allowed, remedy="Leave it out")
    edges = [(float(values[group == g].min()), float(values[group == g].max())) for g in range(GROUPS)]
    return Grouping(by=by, group=group, names=("lowest quarter", "second", "third", "highest quarter"), edges=edges)


def _of_grouping(grouping: Grouping, cells: Mapping[str, Cells], people: Float64) -> dict[str, Any]:
    """Return all measures of each group by forecaster, and what equal hours would cost."""
    return {
        "by": grouping.by,
        "left_out": int((grouping.group < 0).sum()),
        "groups": {name: measures(one, grouping, people) for name, one in cells.items()},
        "equal_hours": equal_hours(cells[MODEL], grouping),
    }


def _bear_half(is_warned: Bool) -> int:
    """Return how few neighborhoods bear half of all hours under warning."""
    hours = np.cumsum(np.sort(is_warned.sum(axis=0))[::-1])
    return int(np.searchsorted(hours, hours[-1] / 2)) + 1


def _by_neighborhood(names: Sequence[str], cells: Cells, people: Float64) -> list[dict[str, Any]]:
    """Return what each neighborhood bears, the most warned of first."""
    hours = cells.is_warned.sum(axis=0) * cells.warned_hours
    happened = cells.events > 0
    counts = {
        "events": cells.events.sum(axis=0),
        "caught": (cells.events * cells.is_warned).sum(axis=0),
        "false_alarms": (cells.is_warned & ~happened).sum(axis=0),
    }
    rows = []
    for n in np.argsort(-hours, kind="stable").tolist():
        row = {"name": names[n], "residents": float(people[n]), "warned_hours": float(hours[n])}
        row |= {key: int(each[n]) for key, each in counts.items()}
        row["expected"] = float(cells.p[:, n].sum())
        row["hours_per_1000_residents_a_week"] = (
            float(hours[n] / people[n] * 1000 / cells.weeks) if people[n] > 0 else None
        )
        rows.append(row)
    return rows


# ------------------------------------------------------------ what was said


def _read(folder: Path) -> _Said:
    """Read a replay or an evaluated run."""
    kind = read_manifest(folder).get("kind") if folder.is_dir() else None
    if kind == "replay":
        return _of_replay(folder)
    if kind == "run":
        return _of_run(folder)
    allowed = "does not exist" if not folder.exists() else "is neither a replay nor a run"
    raise UserError("DIR", folder, allowed=allowed, remedy="Make it with 'hews replay' or 'hews train'")


def _of_run(folder: Path) -> _Said:
    """Read the test split of an evaluated run; the likeliest windows are warned of, as many as the policy allows."""
    path = folder / BY_NEIGHBORHOOD
    if not path.is_file():
        remedy = f"Make them with 'hews evaluate {folder}', of a model that says where"
        raise UserError("DIR", folder, allowed="is a run without forecasts by neighborhood", remedy=remedy)
    table = pq.read_table(path)
    names, begin = table["neighborhood"].combine_chunks().dictionary.to_pylist(), pc.unique(table["window_start"])
    columns = {name: table[name].to_numpy().reshape(len(begin), len(names)) for name in ("p", "p_long_run", "events")}
    city, budget = load_city(folder / "city.toml"), load_policy(folder).neighborhoods
    stride_s = city.windows.stride_s
    weeks = len(begin) * stride_s / WEEK_S
    allowed = round((budget.watch_per_week + budget.warning_per_week) * weeks)
    return _Said(
        of=f"run {folder.name}",
        fingerprint=model_fingerprint(folder),
        names=names,
        begin_s=_seconds(begin),
        stride_s=stride_s,
        horizon_s=city.task.horizon_s,
        p=_beside(columns["p"], columns["p_long_run"]),
        events=columns["events"].astype(np.int64),
        is_warned=likeliest(columns["p"], allowed),
        how=f"the {allowed:,} likeliest windows and neighborhoods of the test split, as many as its policy allows",
    )


def _seconds(moments: pa.Array) -> Int64:
    """Return local times as seconds."""
    return np.asarray(moments.to_numpy().astype("datetime64[s]").astype(np.int64))


def _beside(p: Float64, calendar: Float64) -> dict[str, Float64]:
    """Return the model and both references; the long-run rate is the climatology's mean of each neighborhood."""
    constant = -np.expm1(np.log1p(-calendar).mean(axis=0))
    return {MODEL: p, CALENDAR: calendar, CONSTANT: np.tile(constant, (len(p), 1))}


def _of_replay(folder: Path) -> _Said:
    """Read a replay: of its issue times so many that no windows overlap, and those with a forecast and an outcome."""
    path = folder / "forecasts.parquet"
    notes = pq.read_schema(path)
    if "areas" not in notes.names:
        remedy = "Replay a run of a model that does, such as stack"
        raise UserError("DIR", folder, allowed="is of a model that does not say where", remedy=remedy)
    names = json.loads((notes.metadata or {})[b"neighborhoods"])
    known = ("areas", "p_climatology", "y")  # of a window that is open nobody knows what it held
    table = pq.read_table(path, columns=["issue_time", "window_start", "window_end", *known])
    issue_s, begin_s, end_s = (_seconds(table[name]) for name in ("issue_time", "window_start", "window_end"))
    horizon_s, stride_s = int(end_s[0] - begin_s[0]), int(np.median(np.diff(issue_s))) if len(issue_s) > 1 else 0
    step_s = max(stride_s, -(-horizon_s // max(1, stride_s)) * stride_s)
    kept = (issue_s - issue_s[0]) % max(1, step_s) == 0
    for name in known:
        kept &= table[name].is_valid().to_numpy()
    if not kept.any():
        remedy = "Replay a time that the table covers"
        raise UserError("DIR", folder, allowed="holds no forecast of which it is known what came", remedy=remedy)
    table, issue_s, begin_s, end_s = table.filter(pa.array(kept)), issue_s[kept], begin_s[kept], end_s[kept]
    p = table["areas"].combine_chunks().flatten().to_numpy().reshape(len(table), len(names)).astype(np.float64)
    calendar = spread(table["p_climatology"].to_numpy(), _shares(folder, int(issue_s[0])))
    warned, how = _warned(folder, names, issue_s, begin_s)
    return _Said(
        of=f"replay {folder.name}",
        fingerprint=str(read_json(folder / "replay.json", {"fingerprint": str})["fingerprint"]),
        names=names,
        begin_s=begin_s,
        stride_s=step_s,
        horizon_s=horizon_s,
        p=_beside(p, calendar),
        events=_events(folder, len(names), begin_s, end_s),
        is_warned=warned,
        how=how,
    )


def _shares(folder: Path, begin_s: int) -> Float64:
    """Return the share [N] of each neighborhood in the events before the replay."""
    prepared = open_data_of(folder)
    first_s = int(prepared.events.time_s[0])
    city = prepared_city(prepared, begin_s=first_s, end_s=begin_s)
    return np.asarray(LongRun(city.ground).shares(city.catalog(), np.array([begin_s]))[0])


def _warned(folder: Path, names: Sequence[str], issue_s: Int64, begin_s: Int64) -> tuple[Bool, str]:
    """Return in which windows and neighborhoods a warning was in force; of a replay that withheld all, those."""
    rows = pq.read_table(folder / "warnings.parquet").to_pylist()
    own = [one for one in rows if one["id"] and one["place"]]
    given = [one for one in own if not one["withheld"]]
    how = f"{len(given):,} warnings of neighborhoods that were given"
    if own and not given:
        given, how = own, f"{len(own):,} warnings of neighborhoods that were withheld, as if they had been given"
    number, warned = {name: n for n, name in enumerate(names)}, np.zeros((len(issue_s), len(names)), dtype=bool)
    for one in given:
        from_s, until_s = (int(np.datetime64(one[key], "s").astype(np.int64)) for key in ("issue_time", "window_end"))
        warned[(issue_s >= from_s) & (begin_s < until_s), number[one["place"]]] = True
    return warned, how


def _events(folder: Path, areas: int, begin_s: Int64, end_s: Int64) -> Int64:
    """Return the target events [S, N] of each window; the victims of one minute and neighborhood are one event."""
    table = pq.read_table(folder / "incidents.parquet", columns=["time", "is_target", "neighborhood"])
    time_s, area = _seconds(table["time"]), table["neighborhood"].to_numpy()
    window = np.searchsorted(begin_s, time_s, side="right") - 1
    inside = table["is_target"].to_numpy(zero_copy_only=False) & (area >= 0) & (window >= 0) & (time_s < end_s[window])
    _, first = np.unique(np.stack([time_s // MINUTE_S, area], axis=1)[inside], axis=0, return_index=True)
    events = np.zeros((len(begin_s), areas), dtype=np.int64)
    np.add.at(events, (window[inside][first], area[inside][first]), 1)
    return events
