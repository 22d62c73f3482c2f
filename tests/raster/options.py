"""Every option of drawing, and combinations of them: what all engines must agree on to the bit.

A drawing is one choice of each of OPTIONS. The city is random, with incidents outside, on borders and on each other;
windows are empty, hold hundreds, and begin and end anywhere.
"""

from itertools import combinations

import numpy as np

from hews_gpu.data.events import Events
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.output import Values
from hews_gpu.raster.places import Places
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle, ReferenceStyle
from tests.inputs.random_city import BOX, CATEGORIES, outlines_of, random_city

OPTIONS = {
    "style": ("reference", "fine lines, broad discs", "counts", "3 steps of counts", "discs", "9 steps of broad discs"),
    "dtype": ("uint8", "float16", "bfloat16", "float32"),
    "values": ("plain", "unit", "normalized", "log"),
    "without": ((), ("targets",), ("twins",), ("targets", "twins", "duplicates")),
    "size": ((16, 12), (13, 11)),
    "offset": (0, 3),
}
EVENTS = 400
LARGE = random_city(31, neighborhoods=9, events=EVENTS)


def drawing(*choices):
    """A drawing by the places of its choices in OPTIONS."""
    return {name: known[i % len(known)] for (name, known), i in zip(OPTIONS.items(), choices, strict=True)}


def pairwise(seed=0):
    """Drawings among which every two choices of different options meet, found greedily."""
    random = np.random.default_rng(seed)
    names = list(OPTIONS)
    missing = {
        (a, i, b, j)
        for a, b in combinations(range(len(names)), 2)
        for i in range(len(OPTIONS[names[a]]))
        for j in range(len(OPTIONS[names[b]]))
    }
    found = []
    while missing:
        tried = [[int(random.integers(len(known))) for known in OPTIONS.values()] for _ in range(60)]
        a, i, b, j = min(missing)
        for one in tried:
            one[a], one[b] = i, j
        best = max(tried, key=lambda one: len(met(one) & missing))
        missing -= met(best)
        found.append(drawing(*best))
    return found


def met(choices):
    """The pairs of choices that a drawing holds."""
    return {(a, choices[a], b, choices[b]) for a, b in combinations(range(len(choices)), 2)}


def marked():
    """The city's incidents with marks; SHOOTING is the target."""
    places, random = LARGE.places, np.random.default_rng(32)
    return Events(
        time_s=np.arange(EVENTS),
        longitude=places.longitude,
        latitude=places.latitude,
        category=places.category,
        neighborhood=places.neighborhood,
        is_target=places.category == CATEGORIES.index("SHOOTING"),
        is_duplicate=random.random(EVENTS) < 0.1,
        is_twin=random.random(EVENTS) < 0.3,
        categories=CATEGORIES,
    )


def rasterizer_of(chosen, backend, places=None):
    """What draws it with `backend`."""
    height, width = chosen["size"]
    geometry = MapGeometry.around(BOX, "auto", height=height, width=width)
    places = places or Places.of(marked(), without=chosen["without"])
    kind = chosen["style"].split()[-1]
    if chosen["style"] not in OPTIONS["style"][:2]:
        groups = {"violent": ("ASSAULT", "ROBBERY"), "targets": ("SHOOTING",)}
        style = ChannelsStyle(groups=groups, draw=kind, disc_radius_px=4.25 if "broad" in chosen["style"] else 1.0)
        steps = {"3": 3, "9": 9}.get(chosen["style"][0], 1)
        made = Rasterizer.channels(geometry, style, places, steps=steps, backend=backend)
    else:
        changes = {} if chosen["style"] == "reference" else {"line_width_px": 0.4, "disc_radius_px": 6.5}
        style = ReferenceStyle(**changes)
        basemap = Basemap.build(outlines_of(LARGE.neighborhoods), geometry, style)
        made = Rasterizer.reference(basemap, style, places, backend=backend)
    return made.writing(values_of(chosen))


def values_of(chosen):
    dtype = chosen["dtype"]
    if chosen["values"] == "normalized":
        return Values.normalized(100.0, 60.0, dtype)
    return {"plain": Values.plain, "unit": Values.unit, "log": Values.log_counts}[chosen["values"]](dtype)


def windows_of(rasterizer, count, most=EVENTS):
    """Pairs of `count` windows: one of the first `most` incidents, one of none, others of a few.

    The last has a few only, so that no more areas than hold one of them are lit; of two windows none is empty.
    """
    random = np.random.default_rng(count)
    shape = (count, max(rasterizer.steps, 1))
    first = random.integers(0, EVENTS, shape)
    last = np.minimum(first + random.integers(0, 30, shape), EVENTS)
    last[-1] = np.minimum(first[-1] + random.integers(2, 6, shape[1]), EVENTS)
    pairs = np.stack([first, last], axis=-1)
    pairs[0] = [0, most]
    if count > 2:
        pairs[1] = [EVENTS, EVENTS]
    return pairs if rasterizer.steps else pairs[:, 0]


def batch_of(chosen, rasterizer, count):
    """Memory full of garbage, and the batch in it, at the offset chosen."""
    dtype = np.dtype("uint16" if chosen["dtype"] == "bfloat16" else chosen["dtype"])
    shape = (count, *rasterizer.shape)
    size = int(np.prod(shape))
    memory = np.random.default_rng(1).integers(0, 256, (size + 64) * dtype.itemsize, np.uint8)
    return memory, memory.view(dtype)[16 + chosen["offset"] :][:size].reshape(shape)


def drawn(chosen, rasterizer, count, most=EVENTS, fill=None):
    """All of the memory after drawing `count` windows, so that what lies around the batch is compared, too."""
    memory, batch = batch_of(chosen, rasterizer, count)
    (fill or rasterizer.fill)(windows_of(rasterizer, count, most), batch)
    return memory
