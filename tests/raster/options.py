"""Every option of drawing, and combinations of them: what all engines must agree on to the bit.

A drawing is one choice of each of OPTIONS. The city is random, with incidents outside, on borders and on each other;
windows are empty, hold hundreds, and begin and end anywhere.
"""

from itertools import combinations

import numpy as np

from benchmarks.inputs.random_city import BOX, CATEGORIES, random_city
from hews_gpu.data.events import Events
from hews_gpu.raster.bank import channels_bank, reference_bank
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.layers import density_layer
from hews_gpu.raster.rasterizer import Places
from hews_gpu.raster.style import ChannelsStyle, ReferenceStyle
from hews_gpu.raster.transform import random_transforms
from hews_gpu.raster.values import Values

OPTIONS = {
    "style": ("reference", "fine lines, broad discs", "counts", "3 steps of counts", "discs", "9 steps of broad discs"),
    "dtype": ("uint8", "float16", "bfloat16", "float32"),
    "values": ("plain", "unit", "normalized", "log"),
    "layout": ("channels-last", "view", "planes"),
    "bank": ("none", "mirrored", "transformed"),
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
    """What draws it: `backend`, over a bank if there is one."""
    height, width = chosen["size"]
    geometry = MapGeometry.around(BOX, "auto", height=height, width=width)
    places = places or Places.of(marked(), without=chosen["without"])
    wild = {"rotation_deg": 180, "shift": 0.3, "zoom": 0.5, "shear_deg": 40, "left_right": True, "up_down": True}
    transforms = random_transforms(2, 5, height=height, width=width, **wild) if chosen["bank"] == "transformed" else []
    kind = chosen["style"].split()[-1]
    if chosen["style"] not in OPTIONS["style"][:2]:
        groups = {"violent": ("ASSAULT", "ROBBERY"), "targets": ("SHOOTING",)}
        style = ChannelsStyle(groups=groups, draw=kind, disc_radius_px=4.25 if "broad" in chosen["style"] else 1.0)
        steps = {"3": 3, "9": 9}.get(chosen["style"][0], 1)

        def layers(shown):
            return {"calls": density_layer(shown, LARGE.places.longitude[::7], LARGE.places.latitude[::7])}

        made = channels_bank(geometry, style, places, transforms, steps=steps, layers=layers, backend=backend)
    else:
        changes = {} if chosen["style"] == "reference" else {"line_width_px": 0.4, "disc_radius_px": 6.5}
        style = ReferenceStyle(**changes)
        made = reference_bank(LARGE.neighborhoods, geometry, style, places, transforms, backend=backend)
    if chosen["bank"] == "mirrored":
        made = made.with_variants([made.flipped(left_right=True), made.flipped(up_down=True)])
    return made.writing(values_of(chosen))


def values_of(chosen):
    dtype = chosen["dtype"]
    if chosen["values"] == "normalized":
        return Values.normalized(100.0, 60.0, dtype)
    return {"plain": Values.plain, "unit": Values.unit, "log": Values.log_counts}[chosen["values"]](dtype)


def windows_of(rasterizer, count, most=EVENTS):
    """Pairs and variants of `count` windows: one of the first `most` incidents, one of none, others of a few.

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
    variants = None if len(rasterizer.bank) == 1 else (np.arange(count) % len(rasterizer.bank)).astype(np.int32)
    return (pairs if rasterizer.steps else pairs[:, 0]), variants


def batch_of(chosen, rasterizer, count):
    """Memory full of garbage, and the batch in it, in the layout and at the offset chosen."""
    height, width, channels = rasterizer.shape
    dtype = np.dtype("uint16" if chosen["dtype"] == "bfloat16" else chosen["dtype"])
    size = count * height * width * channels
    memory = np.random.default_rng(1).integers(0, 256, (size + 64) * dtype.itemsize, np.uint8)
    flat = memory.view(dtype)[16 + chosen["offset"] :][:size]
    if chosen["layout"] == "planes":
        return memory, flat.reshape(count, channels, height, width)
    packed = flat.reshape(count, height, width, channels)
    return memory, packed.transpose(0, 3, 1, 2) if chosen["layout"] == "view" else packed


def drawn(chosen, rasterizer, count, most=EVENTS, fill=None):
    """All of the memory after drawing `count` windows, so that what lies around the batch is compared, too."""
    pairs, variants = windows_of(rasterizer, count, most)
    memory, batch = batch_of(chosen, rasterizer, count)
    if fill:
        fill(pairs, batch, variants)
    else:
        rasterizer.fill(pairs, batch, variants=variants)
    return memory
