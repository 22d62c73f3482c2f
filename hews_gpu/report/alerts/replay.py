"""The replay page: what was said at every issue time, beside what happened, as one file that moves.

Numbers and tables are written here, so that the page reads without scripts and prints; `replay.js` draws the map and
the timeline from the same numbers, packed by `pack`. A replay too long for one page is shown at every so many issue
times, which the page says; its warnings and its numbers are of all.

Shapes: S issue times, N neighborhoods, E incidents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.arrays import Float64, Int64
from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file
from hews_gpu.own_files import read_json
from hews_gpu.report.alerts.pack import NONE_U16, LogScale, Plane, base64_of, city_probabilities
from hews_gpu.report.alerts.warned import counted, lead, tiles, warning_rows, worth_tables
from hews_gpu.report.formatting import day, duration, listed, moment, number, percent, span
from hews_gpu.report.page import (
    Block,
    Key,
    Page,
    Part,
    Verdict,
    columns,
    facts,
    prose,
    render,
    section,
    table,
    text,
)
from hews_gpu.report.significance import label
from hews_gpu.report.style import LIGHT
from hews_gpu.runs.folder import short_calibration
from hews_gpu.units import DAY_S

if TYPE_CHECKING:
    import geopandas

__all__ = ["build_replay_page"]

REPLAY_FIRST = "Make it with 'hews replay'"
SERIES = {"model": "p", "climatology": "p_climatology", "level": "p_level"}
COLUMNS = {
    "forecasts": ("issue_time", "window_start", "window_end", "outcome", "reason", "y", *SERIES.values()),
    "warnings": tuple(
        "place tier issue_time window_start window_end probability threshold withheld outcome event_time lead_s".split()
    ),
    "incidents": ("time", "known", "longitude", "latitude", "category", "is_target", "neighborhood"),
    "neighborhoods": ("name", "geometry"),
}
SUMMARY = {
    "model": str,
    "warnings": {"city": {"p": dict}},
    "thresholds": dict,
    "calibration": (str, str),
    "targets?": [str],
}
MOST_BYTES = 420_000  # of neighborhood probabilities; with the rest of the page and as base64 that stays below 1 MB
MOST_TIMES = 12_000  # where there are none
MOST_INCIDENTS = 8_000
LONG_S = 31 * DAY_S  # the timeline shows longer replays part by part
MOST_ROWS = 400
PLOT, NEWLINE = "vendor/uPlot-1.6.32.iife.min.js", "\n"
STYLES = ("vendor/uPlot-1.6.32.min.css", "templates/replay.css")
OUTCOMES, TIERS = ("hit", "false_alarm", "open"), ("watch", "warning")
IF_ISSUED = "p if issued"


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A replay folder, read; times are local seconds."""

    forecasts: pd.DataFrame  # [S] in order of time
    areas: Float64 | None  # [S, N] of those that are shown; NaN where there was no forecast
    shown: Int64  # indices of the issue times that are shown
    warnings: pd.DataFrame
    incidents: pd.DataFrame  # [E] in order of time
    neighborhoods: geopandas.GeoDataFrame
    summary: Mapping[str, Any]

    @cached_property
    def issue_s(self) -> Int64:
        """Issue times [S]."""
        return _seconds(self.forecasts["issue_time"])

    @property
    def window_s(self) -> tuple[int, int]:
        """How long after the issue time the window begins and ends."""
        begin, end = (_seconds(self.forecasts[name][:1])[0] for name in ("window_start", "window_end"))
        return int(begin - self.issue_s[0]), int(end - self.issue_s[0])

    @property
    def stride_s(self) -> int:
        """From one issue time to the next, as a rule."""
        return int(np.median(np.diff(self.issue_s))) if len(self.issue_s) > 1 else DAY_S

    @property
    def model(self) -> str:
        """The forecaster's name."""
        return str(self.summary["model"])

    def by(self, kind: str, *, both: bool = False) -> dict[str, Any]:
        """Return counts of warnings by forecaster; of a model that was withheld, as if they had been given.

        Args:
            kind: of place.
            both: what was given of such a model, too, as `IF_ISSUED`.
        """
        by, if_issued = dict(self.summary["warnings"][kind]), self.summary.get("warnings_if_issued")
        if not if_issued:
            return by
        return {"p": by["p"], IF_ISSUED: if_issued[kind], **by} if both else by | {"p": if_issued[kind]}

    @property
    def length(self) -> str:
        """What to call the time it spans."""
        days = round((self.issue_s[-1] - self.issue_s[0] + self.stride_s) / DAY_S, 2)
        return {1: "this day", 7: "this week"}.get(days, f"these {days:g} days")


def build_replay_page(folder: Path) -> Path:
    """Write ``replay.html`` into a folder made by ``hews replay``.

    Returns:
        The file that was written.

    Raises:
        UserError: the folder lacks a table or one of its columns, or holds no forecast.
    """
    replay = _read(folder)
    path = folder / "replay.html"
    with atomic_file(path) as partial:
        partial.write_text(render(_page(replay)), encoding="utf-8")
    return path


def _own_text(name: str) -> str:
    """Return a file of this package."""
    return resources.files("hews_gpu.report").joinpath(name).read_text(encoding="utf-8")


def _licensed_plot() -> str:
    """Return uPlot under its whole license, in place of its first line, which names an address."""
    return f"/* uPlot 1.6.32\n{_own_text('vendor/uPlot-LICENSE')}*/\n{_own_text(PLOT).partition(NEWLINE)[2]}"


def _read(folder: Path) -> Replay:
    import geopandas

    opened = {name: _open(folder / f"{name}.parquet", columns) for name, columns in COLUMNS.items()}
    if opened["forecasts"].metadata.num_rows == 0:
        raise UserError(str(folder / "forecasts.parquet"), allowed="holds no forecast", remedy=REPLAY_FIRST)
    wanted = {**COLUMNS, "warnings": (*COLUMNS["warnings"], "explanation")}  # which older replays lack
    there = {name: [one for one in wanted[name] if one in file.schema_arrow.names] for name, file in opened.items()}
    read = {name: file.read(there[name]).to_pandas() for name, file in opened.items() if name != "neighborhoods"}
    forecasts, incidents = read["forecasts"], read["incidents"].sort_values("time", kind="stable", ignore_index=True)
    neighborhoods = geopandas.read_parquet(folder / "neighborhoods.parquet")
    has_areas = "areas" in opened["forecasts"].schema_arrow.names and len(neighborhoods)
    most = max(1, MOST_BYTES // len(neighborhoods)) if has_areas else MOST_TIMES
    shown = np.arange(0, len(forecasts), -(-len(forecasts) // most))
    return Replay(
        forecasts=forecasts,
        areas=_areas(opened["forecasts"], shown, len(neighborhoods)) if has_areas else None,
        shown=shown,
        warnings=read["warnings"],
        incidents=incidents,
        neighborhoods=neighborhoods,
        summary=read_json(folder / "replay.json", SUMMARY, remedy=REPLAY_FIRST),
    )


def _open(path: Path, columns: Sequence[str]) -> pq.ParquetFile:
    """Open a table and check that it has its columns."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise UserError(str(path), allowed="does not exist", remedy=REPLAY_FIRST) from None
    except (OSError, ValueError) as error:
        raise UserError(str(path), allowed=f"cannot be read ({error})", remedy=REPLAY_FIRST) from None
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise UserError(str(path), allowed=f"lacks {', '.join(missing)}", remedy=REPLAY_FIRST)
    return file


def _areas(file: pq.ParquetFile, shown: Int64, count: int) -> Float64 | None:
    """Return the probabilities by neighborhood of the issue times shown; a long table is read part by part."""
    kept, first = [], 0
    for batch in file.iter_batches(batch_size=4096, columns=["areas"]):
        here = shown[(shown >= first) & (shown < first + len(batch))] - first
        first += len(batch)
        lists = batch.column(0).take(pa.array(here))
        part = np.full((len(here), count), np.nan)
        flat = lists.flatten().to_numpy(zero_copy_only=False)  # without what stands in null slots
        if set(lists.value_lengths().drop_null().to_pylist()) - {count}:
            allowed = f"holds lists of another length than the {count} neighborhoods"
            raise UserError("forecasts.parquet: areas", allowed=allowed, remedy=REPLAY_FIRST)
        part[lists.is_valid().to_numpy(zero_copy_only=False)] = flat.reshape(-1, count)
        kept.append(part)
    areas = np.concatenate(kept)
    return areas if np.isfinite(areas).any() else None


def _seconds(times: Any) -> Int64:
    """Return times as local seconds; a missing one is the least integer."""
    return np.asarray(times).astype("datetime64[s]").astype(np.int64)


# ---------------------------------------------------------------- the page


def _page(replay: Replay) -> Page:
    """Return the page of a replay."""
    city = str(replay.summary.get("city") or "Replay")
    about = [span(int(replay.issue_s[0]), int(replay.issue_s[-1]) + 1)]
    about.append(f"a forecast every {duration(replay.stride_s)}")
    about.append(label(replay.model))
    return Page(
        title=f"{city}: warnings replayed",
        kicker="Warnings, replayed",
        heading=city,
        about=" · ".join(about),
        verdict=_verdict(replay),
        tiles=tiles(replay.by("city"), "" if replay.summary.get("warnings_if_issued") is None else "if sent; "),
        parts=[
            Part(
                [
                    section("replay", prose("player.html.j2", *_player(replay))),
                    section("worth", *_worth(replay)),
                    section("warned", _warned(replay)),
                    section("reading_replay", *_reading(replay)),
                ]
            )
        ],
        foot="Forecasts, warnings and incidents are in the Parquet files beside it.",
        css="\n".join(_own_text(name) for name in STYLES),
        scripts=[_licensed_plot(), _own_text("templates/replay.js")],
        data=_data(replay),
    )


# ---------------------------------------------------------------- what came of it


def _verdict(replay: Replay) -> Verdict:
    """Say what was issued and what not, and what came of it."""
    total, notes = len(replay.forecasts), []
    outcomes = Counter(replay.forecasts["outcome"].astype(str))
    unissued = {name: count for name, count in outcomes.items() if name != "issued"}
    why = _why(replay)
    if len(outcomes) == 1 and unissued:
        sentence = f"Every forecast of {replay.length} was {_not_issued(next(iter(unissued)))}{why}."
        notes.append(text("withheld").words("text"))
        notes += [_what_came(replay)] if "abstained" in unissued else []
    else:
        sentence = _what_came(replay)
        each = [f"{number(count)} were {_not_issued(name)}" for name, count in unissued.items()]
        notes += [f"Of {number(total)} forecasts {listed(each)}{why}."] if each else []
    if short := short_calibration(*map(moment, replay.summary["calibration"])):
        notes.append(f"{short[0].upper()}{short[1:]}.")
    if len(replay.shown) < total:
        every = _ordinal(total if len(replay.shown) == 1 else int(replay.shown[1]))
        notes.append(text("thinned", every=every, times=number(total)).words("text"))
    return Verdict(sentence, "flat", notes)


def _why(replay: Replay) -> str:
    """Return why forecasts were not issued; of many reasons the most frequent."""
    reasons = Counter(reason for reason in replay.forecasts["reason"].fillna("").astype(str) if reason)
    if not reasons:
        return ""
    return f": {listed(list(reasons))}" if len(reasons) <= 2 else f", most often: {reasons.most_common(1)[0][0]}"


def _ordinal(count: int) -> str:
    """Return ``2nd``, ``11th``, ``23rd``."""
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{number(count)}{ending}"


def _not_issued(outcome: str) -> str:
    return {"abstained": "withheld", "stopped": "stopped by the kill switch"}.get(outcome, outcome)


def _what_came(replay: Replay) -> str:
    """Count the warnings of the city and what came of them, or would have if they had been given."""
    one, sent = replay.by("city")["p"]["any"], replay.summary.get("warnings_if_issued") is None
    given = f"{counted(one['given'], 'warning')} of the whole city {'were' if sent else 'would have been'} given"
    came = f"{number(one['hits'])} came true" if sent else f"{number(one['hits'])} would have come true"
    covered = f"{number(one['caught'])} of {counted(one['events'], 'target incident')}"
    still = f", {number(one['open'])} are open" if one["open"] else ""
    return f"{given}, {came}{still}; they {'covered' if sent else 'would have covered'} {covered}."


def _worth(replay: Replay) -> list[Block]:
    """Return the numbers of all warnings."""
    return worth_tables({kind: replay.by(kind, both=True) for kind in replay.summary["warnings"]}, replay.model)


def _warned(replay: Replay) -> Block:
    """Return the warnings one by one."""
    names = [str(name) for name in replay.neighborhoods["name"]]
    targets = replay.summary.get("targets") or ()
    rows = warning_rows(replay.warnings[:MOST_ROWS].to_dict("records"), replay.window_s[0], names, targets)
    more = len(replay.warnings) - len(rows)
    left_out = f" The first {number(MOST_ROWS)} rows; {number(more)} more are in warnings.parquet." if more > 0 else ""
    return table("warned", rows, more=left_out)


def _player(replay: Replay) -> tuple[dict[str, Any], list[Key]]:
    """Return what the player's template needs, and the legend of its lines."""
    model = label(replay.model)
    mixed = 0 < (replay.forecasts["outcome"].astype(str) != "issued").sum() < len(replay.forecasts)
    key = [
        Key("model", model, "solid"),
        Key("climatology", "climatology", "dashed"),
        Key("ink", "recent level", "dashed"),
    ]
    needs = {"last": len(replay.shown) - 1, "areas": replay.areas is not None, "model": model, "mixed": mixed}
    needs["long"] = replay.issue_s[-1] - replay.issue_s[0] + max(replay.stride_s, replay.window_s[1]) > LONG_S
    return needs, key


def _reading(replay: Replay) -> list[Block]:
    """Say what the page shows and how it is used."""
    pairs = [("Issue times", number(len(replay.forecasts)))]
    begin, end = replay.window_s
    pairs.append(("Window", f"from {lead(begin)} to {lead(end)} after the issue time"))
    pairs += [
        (f"Threshold, {name.replace('_', ' ')}", "never" if value is None else percent(value, 2))
        for name, value in replay.summary["thresholds"].items()
    ]
    packing = ""
    if replay.areas is not None:
        scale = LogScale.over(replay.areas)
        ends = f"{percent(scale.low, 4)} to {percent(scale.high, 2)}"
        packing = text("packing", ends=ends, error=percent(scale.error)).words("text")
    return [columns(prose("reading_replay.html.j2", packing), facts("replay", pairs))]


# ---------------------------------------------------------------- what the script reads


def _data(replay: Replay) -> dict[str, Any]:
    """Return what `replay.js` draws, packed."""
    plane, shown = Plane(replay.neighborhoods), replay.forecasts.iloc[replay.shown]
    first_s = int(replay.issue_s[0])
    said = list(dict.fromkeys(_outcomes(replay.forecasts)))
    index = {pair: i for i, pair in enumerate(said)}
    return {
        "first_s": first_s,
        "issue": base64_of(replay.issue_s[replay.shown] - first_s, "u4"),
        "stride_s": replay.stride_s,
        "window_s": replay.window_s,
        "outcomes": said,
        "outcome": base64_of([index[pair] for pair in _outcomes(shown)], "u2"),
        "city": {name: city_probabilities(shown[column].to_numpy(dtype=float)) for name, column in SERIES.items()},
        "thresholds": [replay.summary["thresholds"].get(f"city_{tier}") for tier in TIERS],
        "areas": _packed_areas(replay.areas),
        "names": [str(name) for name in replay.neighborhoods["name"]],
        "map": {"size": plane.size, "km": plane.units_per_km, "rings": plane.rings},
        "incidents": _packed_incidents(replay, plane, first_s),
        "warnings": _packed_warnings(replay, first_s),
        "light": {name: color for name, color in LIGHT.items()},
        "model": label(replay.model),
    }


def _outcomes(forecasts: pd.DataFrame) -> list[tuple[str, str]]:
    reasons = forecasts["reason"].fillna("").astype(str)
    return [(_not_issued(str(one)), why) for one, why in zip(forecasts["outcome"], reasons, strict=True)]


def _packed_areas(areas: Float64 | None) -> dict[str, Any] | None:
    """Return the probabilities by neighborhood on the log scale that fits them, and each one's mean."""
    if areas is None:
        return None
    scale, forecast = LogScale.over(areas), np.isfinite(areas).all(axis=1)
    usual = areas[forecast].mean(axis=0)
    return {
        "p": base64_of(scale.bytes_of(areas), "u1"),
        "low": scale.low,
        "high": scale.high,
        "usual": [float(f"{value:.4g}") for value in usual],
    }


def _packed_incidents(replay: Replay, plane: Plane, first_s: int) -> dict[str, Any]:
    """Return the incidents that the page can show, as columns; only targets where there are too many."""
    table = replay.incidents
    left_out = ""
    if len(table) > MOST_INCIDENTS:
        targets = table[table["is_target"]]
        table, left_out = targets[:MOST_INCIDENTS], "; the page holds target incidents alone"
        if len(targets) > len(table):
            left_out += f", and none from {day(int(_seconds(targets['time'])[MOST_INCIDENTS]))} on"
    category = pd.Categorical(table["category"].astype(str))
    begin_s = min(first_s, int(_seconds(table["time"]).min())) if len(table) else first_s
    known = np.where(table["known"].isna(), _seconds(table["time"]), _seconds(table["known"]))
    return {
        "first_s": begin_s,
        "time": base64_of(_seconds(table["time"]) - begin_s, "u4"),
        "known": base64_of(known - begin_s, "u4"),
        "xy": base64_of(plane.places(table["longitude"].to_numpy(), table["latitude"].to_numpy()), "u2"),
        "category": base64_of(category.codes, "u2"),
        "categories": list(category.categories),
        "target": base64_of(table["is_target"], "u1"),
        "place": base64_of(np.where(table["neighborhood"] < 0, NONE_U16, table["neighborhood"]), "u2"),
        "left_out": left_out,
    }


def _packed_warnings(replay: Replay, first_s: int) -> dict[str, Any]:
    """Return each warning as place, outcome, issue time, tier and whether it was withheld; and the city's misses."""
    table = replay.warnings
    given, missed = table[table["outcome"] != "miss"], table[(table["outcome"] == "miss") & table["place"].isna()]
    place_of = {str(name): i for i, name in enumerate(replay.neighborhoods["name"])}
    places = [place_of.get(name, -1) if isinstance(name, str) else -1 for name in given["place"]]
    issue = (_seconds(given["issue_time"]) - first_s).tolist()
    kinds = zip(given["outcome"].astype(str), given["tier"].astype(str), given["withheld"] == True, strict=True)  # noqa: E712
    return {
        "given": [
            [place, at, OUTCOMES.index(outcome), TIERS.index(tier), int(withheld)]
            for place, at, (outcome, tier, withheld) in zip(places, issue, kinds, strict=True)
        ],
        "missed": base64_of(_seconds(missed["event_time"]) - first_s, "u4"),
    }
