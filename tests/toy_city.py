"""A toy city as a PREPARED folder, written by hand: nothing of `hews prepare` is needed.

Eighteen weeks from Monday 2024-01-01 in a square of 0.1 by 0.1 degrees, cut into two areas. Robberies come at
random, about one in two hours. A shooting follows a robbery after about two hours with high probability, at any place::

    train 10 weeks | validation 4 weeks | test 4 weeks
"""

import fcntl
import json
import os
import shutil
from functools import cache
from types import SimpleNamespace

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely.geometry import box

BEGIN_S = 1_704_067_200  # 2024-01-01T00:00, a Monday
WEEK_S = 604_800
WEEKS = 18

TOML = """
[city]
name = "Toy"
timezone = "America/New_York"
[incidents]
files = ["none.csv"]
targets = ["SHOOTING"]
[neighborhoods]
file = "none.geojson"
name = "name"
[channels]
height = {cells}
width = {cells}
[channels.groups]
targets = ["SHOOTING"]
robbery = ["ROBBERY"]
[windows]
anchor = "2024-01-01"
[task]
lead_s = 0
[splits]
train = ["2024-01-01", "2024-03-11"]
validation = ["2024-03-11", "2024-04-08"]
test = ["2024-04-08", "2024-05-06"]
[training]
epochs = {epochs}
batch_size = 64
learning_rate = {learning_rate}
weight_decay = 0.1
seed = {seed}
"""


def incidents(seed=0, contagion=0.8):
    """The table as a frame, sorted by time."""
    rng = np.random.default_rng(seed)
    robberies = np.sort(rng.integers(0, WEEKS * WEEK_S, 6 * 7 * WEEKS))
    followed = rng.random(len(robberies)) < contagion
    shootings = robberies[followed] + rng.integers(
        5400, 9000, followed.sum()
    )  # rows of the last half hour are left alone
    alone = rng.integers(0, WEEKS * WEEK_S, 7 * WEEKS)
    thefts = rng.integers(0, WEEKS * WEEK_S, 40 * 7 * WEEKS)
    parts = [("ROBBERY", robberies), ("SHOOTING", shootings), ("SHOOTING", alone), ("THEFT", thefts)]
    frame = pd.concat([pd.DataFrame({"time_s": BEGIN_S + t, "category": name}) for name, t in parts])
    frame = frame[frame["time_s"] < BEGIN_S + WEEKS * WEEK_S].sort_values("time_s", kind="stable", ignore_index=True)
    frame["longitude"] = -76.6 + 0.1 * rng.random(len(frame))
    frame["latitude"] = 39.3 + 0.1 * rng.random(len(frame))
    return frame


def write_prepared(folder, frame, *, cells=8, epochs=3, seed=0, learning_rate=0.01, extra=None, charts=True):
    """Write the folder; `extra` columns go into incidents.parquet too."""
    folder.mkdir(parents=True)
    east = frame["longitude"].to_numpy() > -76.55
    table = {
        "time_s": pa.array(frame["time_s"].to_numpy(np.int64)),
        "longitude": frame["longitude"].to_numpy(),
        "latitude": frame["latitude"].to_numpy(),
        "category": pa.array(frame["category"]).dictionary_encode(),
        "neighborhood": pa.array(np.where(east, "East", "West")).dictionary_encode(),
        "neighborhood_id": pa.array(east.astype(np.int16)),
        "is_nearest": np.zeros(len(frame), dtype=bool),
        "is_target": (frame["category"] == "SHOOTING").to_numpy(),
        "source": pa.array(["toy.csv"] * len(frame)).dictionary_encode(),
        "line": np.arange(2, len(frame) + 2),
        "row_id": np.arange(len(frame)),
        **{name: pa.nulls(len(frame), pa.int64()) for name in ("duplicate_of", "twin_of", "near_twin_of")},
        "is_overlap": np.zeros(len(frame), dtype=bool),
        **(extra or {}),
    }
    pq.write_table(pa.table(table), folder / "incidents.parquet")
    if charts:
        premise = np.where(frame["category"] == "SHOOTING", "Street", "STREET")  # the label, given away by spelling
        pq.write_table(pa.table({"row_id": table["row_id"], "Premise": premise}), folder / "charts_only.parquet")
    squares = [box(-76.6, 39.3, -76.55, 39.4), box(-76.55, 39.3, -76.5, 39.4)]
    polygons = {"name": ["West", "East"], "was_repaired": [False, False]}
    geopandas.GeoDataFrame(polygons, geometry=squares, crs=4326).to_parquet(folder / "neighborhoods.parquet")
    toml = TOML.format(cells=cells, epochs=epochs, seed=seed, learning_rate=learning_rate)
    (folder / "city.toml").write_text(toml, encoding="utf-8")
    (folder / "hews.json").write_text(json.dumps({"kind": "prepared"}), encoding="utf-8")
    return folder


def once(tmp_path_factory, name, make):
    """Return a folder that is made once in a session: of its processes the first to ask makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = base / name, base / f"{name}.made"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny tensors: threads that wait for each other would cost more than they bring."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def toy():
    """The makers above, and the toy's clock."""
    return SimpleNamespace(incidents=incidents, write=write_prepared, begin_s=BEGIN_S, week_s=WEEK_S)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """The toy city; not to be written to."""
    return once(tmp_path_factory, "toy-prepared", lambda folder: write_prepared(folder, incidents()))


@pytest.fixture(scope="session")
def trained(prepared, tmp_path_factory):
    """A function that trains a model on the toy city, once, and gives the run's folder; not to be written to."""
    from hews_gpu.runs.train import train

    @cache
    def run_of(model):
        name = f"toy-{model}"
        return once(tmp_path_factory, name, lambda folder: train(prepared, folder, model=model, device="cpu"))

    return run_of


@pytest.fixture(scope="session")
def run(trained):
    """A run of the network on maps on the toy city, trained to its end; not to be written to."""
    return trained("cnn")
