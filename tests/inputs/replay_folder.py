"""A replay folder, written by hand: the tables of `hews replay` for a generated city, with plausible probabilities.

The city is made of the cells around random points. Its rate follows the hour of
the day and a slow wave; incidents fall by the neighborhoods' weights, one in 25 is a target. Warnings are given at the
highest probabilities, at most one in four hours, and are judged on the targets.

Shapes: S issue times, N neighborhoods, E incidents.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

BEGIN_S = int(np.datetime64("2017-06-01", "s").astype(np.int64))
WINDOW_S, LEAD_S = 7200, 1800
CATEGORIES = ["LARCENY", "COMMON ASSAULT", "BURGLARY", "AUTO THEFT", "ROBBERY - STREET", "SHOOTING", "HOMICIDE"]
HOSTILE = [
    "<script>document.title='taken'</script>",
    "</script ><img src=x onerror=alert(1)>",
    "\"quoted\" & 'so'",
    "\u202eright to left\u202c",
    "\u05e9\u05db\u05d5\u05e0\u05d4 \u0627\u0644\u062d\u064a",
    "]]> <!-- ${x} {{ y }}",
]


def write_replay(
    folder: Path,
    *,
    areas: int = 12,
    days: int = 2,
    stride_s: int = 600,
    names: list[str] = (),
    outcome: str = "issued",
    where: bool = True,
    polygons: gpd.GeoDataFrame | None = None,
    seed: int = 0,
) -> Path:
    """Write the folder; the first neighborhoods are called `names`, and every forecast has the given `outcome`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    polygons = _polygons(rng, areas, names) if polygons is None else polygons
    polygons.to_parquet(folder / "neighborhoods.parquet")
    issue = BEGIN_S + np.arange(0, days * 86_400, stride_s)
    weight = rng.gamma(0.8, size=len(polygons)) + 0.02
    weight /= weight.sum()
    incidents = _incidents(rng, polygons, weight, days)
    pq.write_table(pa.Table.from_pandas(incidents), folder / "incidents.parquet")
    targets = incidents[incidents["is_target"]]
    p = _city(rng, issue)
    y = _happens(targets["time"], issue + LEAD_S)
    rows = {
        "issue_time": issue.astype("datetime64[s]"),
        "window_start": (issue + LEAD_S).astype("datetime64[s]"),
        "window_end": (issue + LEAD_S + WINDOW_S).astype("datetime64[s]"),
        "outcome": [outcome] * len(issue),
        "reason": ["" if outcome == "issued" else "the model has shown no foresight"] * len(issue),
        "p": p,
        "p_climatology": _law(issue),
        "p_level": 0.8 * _law(issue) + 0.2 * p.mean(),
        "y": pa.array(y.astype(np.int8), mask=issue > issue[-1] - 3600),
        "policy_stride_s": np.full(len(issue), stride_s),
    }
    table = pa.table(rows)
    if where:
        table = table.append_column("areas", _areas(rng, p, weight))
    named = {"neighborhoods": json.dumps([str(name) for name in polygons["name"]])}
    pq.write_table(table.replace_schema_metadata(named), folder / "forecasts.parquet")
    warnings = _warnings(rng, issue, p, targets, [str(name) for name in polygons["name"]], outcome, where)
    warnings.to_parquet(folder / "warnings.parquet")
    (folder / "replay.json").write_text(json.dumps(_summary(issue, outcome, warnings, where)), encoding="utf-8")
    return folder


def _polygons(rng: np.random.Generator, areas: int, names: list[str]) -> gpd.GeoDataFrame:
    """Voronoi cells of a city 15 km wide whose borders are bent, in longitude and latitude."""
    box = shapely.box(-76.7, 39.2, -76.52, 39.36)
    seeds = shapely.MultiPoint(rng.uniform((-76.7, 39.2), (-76.52, 39.36), (areas, 2)))
    cells = np.array(shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=box)))
    fine = shapely.segmentize(shapely.intersection(cells, box), 0.0015)
    bent = shapely.transform(fine, lambda at: at + 0.002 * np.sin(at[:, ::-1] * [900, 700]) + 0.004 * np.sin(80 * at))
    called = [*names, *(f"Quarter {n}" for n in range(len(names), areas))]
    return gpd.GeoDataFrame({"name": called, "was_repaired": False}, geometry=bent, crs="EPSG:4326")


def _law(issue: np.ndarray) -> np.ndarray:
    """The climatology [S]: more in the evening, and on two days of the week."""
    hour = ((issue + LEAD_S + WINDOW_S / 2) / 3600) % 24
    weekend = np.isin(((issue // 86_400) + 3) % 7, [4, 5])
    return (0.13 + 0.08 * np.cos((hour - 22.5) / 24 * 2 * np.pi)) * np.where(weekend, 1.25, 1.0)


def _city(rng: np.random.Generator, issue: np.ndarray) -> np.ndarray:
    noise = np.convolve(rng.normal(size=len(issue) + 40), np.exp(-np.arange(41) / 12), "valid")
    return np.clip(_law(issue) * np.exp(0.09 * noise), 0.01, 0.8)


def _areas(rng: np.random.Generator, p: np.ndarray, weight: np.ndarray) -> pa.Array:
    """[S, N]: the city's rate shared out by weight, with a slow wave of its own in each neighborhood."""
    phase, pace = rng.uniform(0, 6.28, len(weight)), rng.uniform(0.5, 3, len(weight))
    wave = 1 + 0.6 * np.sin(phase + pace * np.arange(len(p))[:, None] / 144)
    each = 1 - np.exp(np.log1p(-p)[:, None] * weight * wave)
    ends = np.arange(len(p) + 1, dtype=np.int32) * len(weight)
    return pa.ListArray.from_arrays(ends, each.astype(np.float32).ravel())


def _incidents(rng: np.random.Generator, polygons: gpd.GeoDataFrame, weight: np.ndarray, days: int) -> pd.DataFrame:
    count = rng.poisson(130 * days)
    time = np.sort(BEGIN_S + rng.integers(0, days * 86_400, count)).astype(np.int64)
    place = rng.choice(len(weight), count, p=weight)
    point = shapely.get_coordinates(shapely.point_on_surface(polygons.geometry.to_numpy()[place]))
    category = rng.choice(CATEGORIES, count, p=[0.3, 0.2, 0.15, 0.2, 0.11, 0.03, 0.01])
    return pd.DataFrame(
        {
            "time": time.astype("datetime64[s]"),
            "known": (time + rng.integers(600, 4 * 3600, count)).astype("datetime64[s]"),
            "longitude": point[:, 0] + rng.normal(0, 0.001, count),
            "latitude": point[:, 1] + rng.normal(0, 0.001, count),
            "category": pd.Categorical(category),
            "is_target": np.isin(category, CATEGORIES[-2:]),
            "neighborhood": place.astype(np.int16),
        }
    )


def _happens(times: pd.Series, begin: np.ndarray) -> np.ndarray:
    times = np.sort(times.to_numpy().astype("datetime64[s]").astype(np.int64))
    return np.searchsorted(times, begin + WINDOW_S) > np.searchsorted(times, begin)


def _warnings(rng, issue, p, targets, names, outcome, where) -> pd.DataFrame:
    """City warnings of the highest probabilities, two warnings of neighborhoods, and the targets that none covers."""
    given, last = [], -(10**12)
    level = np.quantile(p, 0.93)
    for i in np.flatnonzero(p >= level):
        if issue[i] - last >= 4 * 3600:
            given.append((-1, "warning" if p[i] > np.quantile(p, 0.985) else "watch", issue[i], p[i], level))
            last = issue[i]
    for k in range(2 * where):
        at = issue[int(rng.integers(len(issue) // 2))]
        given.append((k, "watch", at, 0.02 + 0.01 * k, 0.02))
    times, places = targets["time"].to_numpy().astype("datetime64[s]").astype(np.int64), targets["neighborhood"]
    rows, covered = [], np.zeros(len(times), dtype=bool)
    for place, tier, at, probability, threshold in sorted(given, key=lambda one: one[2]):
        begin, end = at + LEAD_S, at + LEAD_S + WINDOW_S
        hit = (times >= begin) & (times < end) & ((place < 0) | (places == place))
        covered |= hit & (place < 0)
        first = times[hit][:1]
        name = "city" if place < 0 else f"n{place}"
        rows.append(
            {
                "id": f"0a1b2c3d-{np.datetime64(int(at), 's').item():%Y%m%dT%H%M}-{name}-{tier}",
                "place": None if place < 0 else names[place],
                "tier": tier,
                "issue_time": _time(at),
                "window_start": _time(begin),
                "window_end": _time(end),
                "probability": probability,
                "threshold": threshold,
                "withheld": outcome == "abstained",
                "outcome": "hit" if len(first) else "false_alarm",
                "event_time": _time(first[0]) if len(first) else pd.NaT,
                "lead_s": float(first[0] - at) if len(first) else np.nan,
                "events": int(hit.sum()),
                "near_events": 0 if place < 0 else 1,
                "nearest_m": np.nan if place < 0 else 840.0,
                "explanation": json.dumps(_explanation(probability, at, len(names))),
            }
        )
    rows += [{"place": None, "outcome": "miss", "event_time": _time(t), "events": 1} for t in times[~covered]]
    return pd.DataFrame(rows)


def _explanation(probability: float, at: int, areas: int) -> dict[str, Any]:
    """Return an explanation of a probability: half of its log-odds are a robbery's."""
    log_odds = float(np.log(probability / (1 - probability)))
    robbery = {"category": "ROBBERY", "place": int(at) % areas, "age_h": int(at) // 3600 % 9, "log_odds": 0.5}
    return {"shares": [["climatology", log_odds - 0.6], ["level", 0.1], ["hewsnet", 0.5]], "incidents": [robbery]}


def _time(at: int) -> pd.Timestamp:
    return pd.Timestamp(int(at), unit="s")


def _summary(issue: np.ndarray, outcome: str, warnings: pd.DataFrame, where: bool) -> dict[str, Any]:
    hits, false = (int((warnings["outcome"] == kind).sum()) for kind in ("hit", "false_alarm"))
    missed = int((warnings["outcome"] == "miss").sum())
    given = hits + false
    score = {
        "given": given,
        "per_week": given * 604_800 / (issue[-1] - issue[0]),
        "hits": hits,
        "false_alarms": false,
        "open": 0,
    }
    score |= {"events": hits + missed, "caught": hits, "pod": hits / max(1, hits + missed), "pod_interval": None}
    score |= {"far": false / max(1, given), "far_interval": None, "median_lead_s": 4200.0}
    worse = score | {"pod": score["pod"] * 0.9, "far": min(1.0, score["far"] * 1.1), "median_lead_s": 3900.0}
    nothing = dict.fromkeys(("given", "per_week", "hits", "false_alarms", "caught", "pod"), 0)
    nothing |= {"events": score["events"], "far": None, "median_lead_s": None, "open": 0}
    own = nothing if outcome == "abstained" else score
    by = {
        name: dict.fromkeys(("watch", "warning", "any"), one)
        for name, one in (("p", own), ("climatology", worse), ("level", worse))
    }
    if_issued = dict.fromkeys(("watch", "warning", "any"), score)
    kinds = ["city", "neighborhoods"] if where else ["city"]
    return {
        "kind": "replay",
        "city": "Sample City",
        "model": "boosting",
        "issue_times": len(issue),
        "calibration": ["2016-07-01T00:00:00", "2017-01-01T00:00:00"],
        "outcomes": {outcome: len(issue)},
        "warnings": dict.fromkeys(kinds, by),
        "warnings_if_issued": dict.fromkeys(kinds, if_issued) if outcome == "abstained" else None,
        "thresholds": {
            "city_watch": 0.2,
            "city_warning": 0.26,
            "neighborhoods_watch": 0.02,
            "neighborhoods_warning": None,
        },
    }
