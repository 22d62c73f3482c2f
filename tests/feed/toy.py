"""A toy city for feeds: 300 incidents of three categories in eight areas; 37 samples, a few of them empty."""

import numpy as np

from benchmarks.inputs.random_city import random_city, random_pairs
from hews_gpu.config import MapConfig
from hews_gpu.feed.batch import Source
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle
from hews_gpu.raster.values import Values

SAMPLES, EVENTS, STEPS = 37, 300, 3
VALUES = {
    "uint8": Values.plain(),
    "uint8-log": Values.log_counts("uint8"),
    "float32": Values.unit("float32"),
    "bfloat16": Values.normalized(30.0, 50.0, "bfloat16"),
    "float16": Values.log_counts("float16"),
}


def toy_source(style="reference", values="uint8", samples=SAMPLES):
    """Samples of the reference style (30 x 24 x 3), or of counts (6 x 5, 3 steps of 2 groups)."""
    city = random_city(2, neighborhoods=8, events=EVENTS)
    pairs = random_pairs(0, len(city.places), samples, mean_incidents=6.0)
    pairs[::9, 1] = pairs[::9, 0]
    y = np.random.default_rng(2).random(samples) < 0.3
    if style == "reference":
        rasterizer = city.reference(MapConfig(height=30, width=24))
        return Source.of_maps(rasterizer.writing(VALUES[values]), pairs, y)
    geometry = MapGeometry.around(city.neighborhoods.total_bounds, "auto", height=6, width=5)
    groups = {"first": (city.places.categories[0],)}
    rasterizer = Rasterizer.channels(geometry, ChannelsStyle(groups=groups), city.places, steps=STEPS)
    stacks = np.stack([np.roll(pairs, t, axis=0) for t in range(STEPS)], axis=1)
    random = np.random.default_rng(3)
    return Source(
        rasterizer=rasterizer.writing(VALUES[values]),
        pairs=stacks,
        y=y.astype(np.float32),
        calendar=random.random((samples, 4)).astype(np.float32),
        climatology=random.random(samples).astype(np.float32),
    )
