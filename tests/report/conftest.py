"""A small hand-made city, prepared, run and judged, in the formats that the report reads; and a browser to look with.

The city is 3 x 3 square neighborhoods of about 2 km. Incidents of two years come at random, more of them in the
evening and around one corner; the forecast is the true rate with some noise.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from hews_gpu.data.events import open_prepared
from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.judge import Judged, compare
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.evaluation.neighborhood_scores import hot_spot_curve, neighborhood_scores
from hews_gpu.forecasters.logistic import log_loss_each_bits
from tests.report.browser import Browser
from tests.report.pages import few_methods

NAMES = ["Alder Hill", "Birch Row", "Cedar <b>Park</b>", "Dale & Mill", "Elm", "Fir $x$ Gate", "Gorse", "Hazel", "Ivy"]
CATEGORIES = ["LARCENY", "BURGLARY", "AGG. ASSAULT", "SHOOTING", "HOMICIDE"]
HOUR_S = 3600
WINDOW_S = 2 * HOUR_S
BEGIN_S, END_S = (int(np.datetime64(day, "s").astype(np.int64)) for day in ("2014-01-01", "2016-01-01"))

TOML = """\
[city]
name = {name}
timezone = "America/New_York"
[incidents]
files = ["incidents.csv"]
targets = ["HOMICIDE", "SHOOTING"]
[neighborhoods]
file = "areas.geojson"
name = "name"
[map]
height = 108
width = 86
[channels]
height = 27
width = 22
[channels.groups]
targets = ["HOMICIDE", "SHOOTING"]
assault = ["AGG. ASSAULT"]
[splits]
train = ["2014-01-01", "2015-01-01"]
validation = ["2015-01-01", "2015-07-01"]
test = ["2015-07-01", "2016-01-01"]
"""


DETAILS = {
    "warnings": ["3 rows outside would lie in the city with longitude and latitude exchanged", "odd <b>name</b>.csv"],
    "missing_by_month": {
        "months": [str(np.datetime64("2014-01") + i) for i in range(24)],
        "columns": {
            "Premise": {"rows": [9] * 10 + [0, 9] + [100] * 12, "blank": [0] * 10 + [0, 9] + [1] * 6 + [30] * 6},
            "Weapon <x>": {"rows": [100] * 24, "blank": [0] * 12 + [100] * 12},
            "category": {"rows": [100] * 24, "blank": [0] * 24},
        },
    },
    "rounding_by_category": {
        "LARCENY": {"rows": 300, "minute_0": 0.4, "minute_30": 0.2, "full_hour": 0.4, "midnight": 0.02},
        "SHOOTING": {"rows": 20, "minute_0": 0.05, "minute_30": 0.0, "full_hour": 0.05, "midnight": 0.0},
    },
    "volume_steps": {
        "rule": "a rule",
        "found": [
            {"category": "LARCENY", "month": "2015-01", "before": 120.4, "after": 80.2, "ratio": 0.666, "z": -9.1},
            {"category": "THREAT", "month": "2015-03", "before": 0.0, "after": 12.0, "ratio": None, "z": 7.1},
        ],
    },
    "label_information": {
        "columns": [
            {"column": "Inside/Outside", "file": "a.csv", "bits": 0.12, "share": 1.0, "values": 5, "warning": True},
            {"column": "District", "file": "a.csv", "bits": 0.003, "share": 0.025, "values": 9, "warning": False},
        ],
    },
}


def write_prepared(folder: Path, *, name: str = "Toytown") -> Path:
    folder.mkdir(parents=True)
    (folder / "city.toml").write_text(TOML.format(name=json.dumps(name)), encoding="utf-8")
    areas = [
        shapely.box(-76.6 + 0.024 * i, 39.3 + 0.018 * j, -76.576 + 0.024 * i, 39.318 + 0.018 * j)
        for j in range(3)
        for i in range(3)
    ]
    table = gpd.GeoDataFrame(
        {"name": NAMES, "was_repaired": [k == 2 for k in range(9)]}, geometry=areas, crs="EPSG:4326"
    )
    table.to_parquet(folder / "neighborhoods.parquet")
    incidents = _incidents(np.random.default_rng(7))
    incidents.to_parquet(folder / "incidents.parquet")
    kept = len(incidents)
    reasons = {"unparsable_time": 3, "no_coordinates": 41, "outside the <study> area": 12}
    quality = {"rows_read": kept + 56, "rows_kept": kept, "rows_quarantined": 56, "quarantined_by_reason": reasons}
    quality |= {"targets_quarantined_by_reason": {}}
    _json(folder / "quality.json", quality | {"targets_kept": int(incidents["is_target"].sum())} | DETAILS)
    _json(folder / "hews.json", _manifest("prepared", ["hews", "prepare", "my city.toml", "--out", "prepared"]))
    return folder


def _incidents(rng: np.random.Generator) -> pd.DataFrame:
    hours = np.arange(BEGIN_S, END_S, HOUR_S)
    times = np.repeat(hours, rng.poisson(_rate(hours)))
    times = np.sort(times + rng.integers(0, HOUR_S, len(times)))
    count = len(times)
    near = rng.random(count) < 0.4
    x = np.where(near, rng.normal(0.02, 0.006, count), rng.random(count) * 0.072).clip(1e-4, 0.0719)
    y = np.where(near, rng.normal(0.016, 0.005, count), rng.random(count) * 0.054).clip(1e-4, 0.0539)
    category = rng.choice(CATEGORIES, count, p=[0.5, 0.25, 0.2, 0.03, 0.02])
    target = np.isin(category, ["HOMICIDE", "SHOOTING"])
    area = (y // 0.018).astype(np.int16) * 3 + (x // 0.024).astype(np.int16)
    marked = pd.Series(np.where(rng.random(count) < 0.02, rng.integers(0, count, count), -1)).astype("Int64")
    marked = marked.mask(marked < 0)
    columns = {
        "time_s": times.astype(np.int64),
        "longitude": -76.6 + x,
        "latitude": 39.3 + y,
        "category": pd.Categorical(category),
        "neighborhood": pd.Categorical(np.array(NAMES)[area]),
        "neighborhood_id": area.astype(np.int16),
        "is_nearest": rng.random(count) < 0.01,
        "is_target": target,
        "source": pd.Categorical(["incidents.csv"] * count),
        "line": np.arange(2, count + 2),
        "row_id": np.arange(count),
        "duplicate_of": marked,
        "is_overlap": np.zeros(count, dtype=bool),
        "twin_of": marked.mask(target),
        "near_twin_of": marked.mask(target),
    }
    return pd.DataFrame(columns)


def _rate(time_s: np.ndarray) -> np.ndarray:
    """Incidents per hour."""
    return 1.5 + np.cos((time_s // HOUR_S % 24 - 21) / 24 * 2 * np.pi)


def write_run(folder: Path, prepared: Path, *, oracle: bool = False, judged: bool = True) -> Path:
    folder.mkdir(parents=True)
    shutil.copy(prepared / "city.toml", folder / "city.toml")
    fingerprint = open_prepared(prepared).fingerprint
    notes = {"prepared": str(prepared.absolute()), "data_fingerprint": fingerprint, "device": "cpu"}
    _json(folder / "hews.json", _manifest("run", ["hews", "train", "/home/somebody/prepared", "--out", "run"]) | notes)
    epochs = pd.DataFrame({"epoch": [0, 1, 2, 3], "train_loss": [0.45, 0.4, 0.37, 0.35]})
    epochs = epochs.assign(
        validation_log_loss=[0.44, 0.41, 0.405, 0.41],
        seconds=[0.0, 3.0, 3.2, 3.1],
        samples_per_s=[np.nan, 1400, 1410, 1390],
    )
    epochs.to_csv(folder / "history.csv", index=False)
    if judged:
        incidents = pd.read_parquet(prepared / "incidents.parquet")
        forecasts = stand_in(incidents, "2014-01-01", "2015-01-01", "2015-07-01", "2016-01-01", oracle=oracle)
        forecasts.to_parquet(folder / "forecasts.parquet")
        places = by_neighborhood(incidents, forecasts)
        places.to_parquet(folder / "forecasts_by_neighborhood.parquet")
        _json(folder / "metrics.json", metrics_of(forecasts, places))
    return folder


def stand_in(incidents: pd.DataFrame, *edges: str, oracle: bool = False) -> pd.DataFrame:
    """Forecasts of two-hour windows between `edges` (begin, validation, test, end) that know the hour of the day."""
    rng = np.random.default_rng(11)
    begin_s, validation_s, test_s, end_s = (int(np.datetime64(edge, "s").astype(np.int64)) for edge in edges)
    issue = np.arange(begin_s + 86_400, end_s - WINDOW_S + 1, WINDOW_S)
    times = incidents.loc[incidents["is_target"], "time_s"].to_numpy()
    y = np.searchsorted(times, issue + WINDOW_S) > np.searchsorted(times, issue)
    true = 1 - np.exp(-0.05 * (_rate(issue) + _rate(issue + HOUR_S)))
    table = pd.DataFrame({"issue_time": issue.astype("datetime64[s]"), "window_start": issue.astype("datetime64[s]")})
    table["window_end"] = (issue + WINDOW_S).astype("datetime64[s]")
    table["split"] = np.select([issue < validation_s, issue < test_s], ["train", "validation"], "test")
    table["p"] = (true * np.exp(rng.normal(0, 0.15, len(issue)))).clip(0.001, 0.9)
    table["p_base_rate"] = true.mean()
    table["p_climatology"] = (true * 0.6 + true.mean() * 0.4).clip(0.001, 0.9)
    table["p_level"] = (true * 0.7 + true.mean() * 0.3).clip(0.001, 0.9)
    table["y"] = y.astype(np.int8)
    return table.assign(p_oracle=true) if oracle else table


def by_neighborhood(incidents: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    """Test windows by neighborhood: the forecast knows who had more, the long-run rate spreads it a little."""
    test = forecasts[forecasts["split"] == "test"]
    begin_s = test["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    hits = incidents[incidents["is_target"] & (incidents["time_s"] >= begin_s[0])]
    counts = np.zeros((len(test), len(NAMES)), dtype=np.int64)
    window = (hits["time_s"].to_numpy() - begin_s[0]) // WINDOW_S
    np.add.at(counts, (window, hits["neighborhood_id"].to_numpy()), 1)
    past = incidents[incidents["is_target"] & (incidents["time_s"] < begin_s[0])]
    share = np.bincount(past["neighborhood_id"], minlength=len(NAMES)) / len(past)
    somewhere = -np.log1p(-test["p"].to_numpy())[:, None]
    columns = {
        "window_start": np.repeat(test["window_start"].to_numpy(), len(NAMES)),
        "neighborhood": pd.Categorical(NAMES * len(test)),
        "p": (1 - np.exp(-somewhere * share)).ravel(),
        "p_long_run": (1 - np.exp(-somewhere * (0.7 * share + 0.3 / len(NAMES)))).ravel(),
        "events": counts.ravel(),
    }
    return pd.DataFrame(columns)


def metrics_of(forecasts: pd.DataFrame, places: pd.DataFrame | None = None) -> dict:
    """What `hews evaluate` writes of such forecasts by a model that is called hewsnet."""
    parts, spans = {}, {}
    for name, rows in forecasts.groupby("split"):
        spans[name] = {"begin": str(rows["window_start"].min()), "end": str(rows["window_end"].max())}
        spans[name] |= {"windows": len(rows), "positives": int(rows["y"].sum())}
        y, p = rows["y"].to_numpy() == 1, rows["p"].to_numpy()
        parts[name] = spans[name] | {"log_loss_bits": float(log_loss_each_bits(y, p).mean()), "auc": roc_auc(y, p)}
    test = forecasts[forecasts["split"] == "test"]
    y, begin_s = test["y"].to_numpy() == 1, test["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    columns = {"base_rate": "p_base_rate", "climatology": "p_climatology", "level": "p_level", "hewsnet": "p"}
    judged = {}
    for name, column in columns.items():
        p = test[column].to_numpy()
        judged[name] = Judged(p=[p], warned={budget: [p >= np.quantile(p, 1 - budget / 84)] for budget in (3, 7, 14)})
    oracle = test["p_oracle"].to_numpy() if "p_oracle" in test else None
    fold = {"train": spans["train"], "calibration": spans["validation"], "test": spans["test"]}
    lengths = {"history_s": 86_400, "lead_s": 0, "horizon_s": WINDOW_S, "stride_s": WINDOW_S, "delay_s": 0, "gap_s": 0}
    return {
        "kind": "run",
        "model": "hewsnet",
        "windows": len(test),
        "positives": int(y.sum()),
        "base_rate": float(y.mean()),
        "protocol": {**lengths, "folds": [fold]},
        "forecasts": compare(y, begin_s, WINDOW_S, judged, oracle, draws=200),
        "parts": {name: parts[name] for name in ("train", "validation", "test")},
        **({} if places is None else {"places": _places(places)}),
    }


def _places(places: pd.DataFrame) -> dict:
    shape, area = (-1, len(NAMES)), np.full(len(NAMES), 4.13)
    counts, p, long_run = (places[name].to_numpy().reshape(shape) for name in ("events", "p", "p_long_run"))
    blocks = Blocks.drawn(len(counts), 84, draws=200)
    scores = {
        name: neighborhood_scores(counts, q, long_run, np.ones(len(p)), area, np.ones(len(NAMES)), blocks, WINDOW_S)
        for name, q in (("long_run", long_run), ("hewsnet", p))
    }
    cells = {
        name: {"hot_spots": hot_spot_curve(counts, q, area, (0.01, 0.05, 0.2), np.ones(len(NAMES)), blocks)}
        for name, q in (("long_run", long_run), ("hewsnet", p))
    }
    whole = {"neighborhoods": len(NAMES), "events": int(counts.sum()), "forecasts": scores}
    return {**whole, "cells": {"size_m": 250.0, "cells": len(NAMES), "forecasts": cells}}


def _manifest(kind: str, command: list[str]) -> dict:
    return {"kind": kind, "created": "2026-11-01T10:00:00+00:00", "version": "0.1.0", "command": command}


def _json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("toy") / "prepared")


@pytest.fixture(scope="session")
def run(tmp_path_factory, prepared) -> Path:
    return write_run(tmp_path_factory.mktemp("toy") / "run", prepared, oracle=True)


@pytest.fixture(scope="session")
def committed() -> dict:
    return few_methods()


@pytest.fixture
def results(committed) -> dict:
    """Results of two sources, to be changed at will."""
    return copy.deepcopy(committed)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on PATH to look at the report with")
    chromium = Browser(program, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()
