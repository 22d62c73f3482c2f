"""A toy city for feeds: 80 incidents in four days, in eight areas; 48 windows of two hours, some of them empty."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.data.events import open_prepared
from hews_gpu.feed.batch import MapSource
from hews_gpu.feed.maps import all_windows
from hews_gpu.files import new_folder
from hews_gpu.raster.output import Values
from hews_gpu.raster.rasterizer import channels_rasterizer, reference_rasterizer
from tests.inputs.random_city import CATEGORIES, random_city

STEPS = 3
VALUES = {
    "uint8": Values.plain(),
    "uint8-log": Values.log_counts("uint8"),
    "float32": Values.unit("float32"),
    "bfloat16": Values.normalized(30.0, 50.0, "bfloat16"),
    "float16": Values.log_counts("float16"),
}
HOUR_S = 3600
CITY = """
[city]
name = "Toy"
timezone = "UTC"
[incidents]
files = ["none.csv"]
targets = ["SHOOTING"]
[neighborhoods]
file = "none.geojson"
name = "name"
[map]
height = 30
width = 24
[channels]
height = 6
width = 5
[channels.groups]
property = ["BURGLARY", "LARCENY"]
[splits]
train = ["2020-01-01", "2020-01-03"]
validation = ["2020-01-03", "2020-01-04"]
test = ["2020-01-04", "2020-01-05"]
"""
BEGIN_S = 1_577_836_800  # 2020-01-01


def write_prepared(folder: Path, *, hours=(0, 96), events=80) -> Path:
    """A PREPARED folder of a random city whose incidents lie between two hours after the first split's begin."""
    city = random_city(2, neighborhoods=8, events=events)
    random = np.random.default_rng(5)
    shown = city.places.neighborhood >= 0
    count = int(shown.sum())
    time_s = np.sort(BEGIN_S + random.integers(hours[0] * HOUR_S, hours[1] * HOUR_S, count))
    nothing = pa.nulls(count, pa.int64())
    category = [CATEGORIES[c] for c in city.places.category[shown]]
    columns = {
        "time_s": time_s,
        "longitude": city.places.longitude[shown],
        "latitude": city.places.latitude[shown],
        "category": pa.array(category).dictionary_encode(),
        "neighborhood_id": city.places.neighborhood[shown],
        "is_target": np.array(category) == "SHOOTING",
        "duplicate_of": nothing,
        "is_overlap": np.zeros(count, dtype=bool),
        "twin_of": nothing,
        "near_twin_of": nothing,
    }
    with new_folder(folder, kind="prepared") as made:
        pq.write_table(pa.table(columns), made / "incidents.parquet")
        city.neighborhoods.to_parquet(made / "neighborhoods.parquet")
        (made / "city.toml").write_text(CITY, encoding="utf-8")
    return folder


def toy_source(prepared: Path, style="reference", values="uint8", **options) -> MapSource:
    """All windows of the reference style (30 x 24 x 3), or of counts over 3 steps of 2 groups (6 x 5 x 6)."""
    opened = open_prepared(prepared)
    windows = all_windows(opened, style)
    y = np.random.default_rng(2).random(len(windows)) < 0.3
    if style == "reference":
        return MapSource.of_maps(reference_rasterizer(opened, **options).writing(VALUES[values]), windows.pairs, y)
    random = np.random.default_rng(3)
    samples = len(windows) - STEPS + 1
    return MapSource(
        rasterizer=channels_rasterizer(opened, steps=STEPS, **options).writing(VALUES[values]),
        pairs=np.stack([windows.pairs[t : t + samples] for t in range(STEPS)], axis=1),
        y=y[:samples].astype(np.float32),
        calendar=random.random((samples, 4)).astype(np.float32),
        climatology=random.random(samples).astype(np.float32),
    )
