"""Polygons and points that are hard to place, for the tests of the search in a grid.

Shapes: P points.
"""

import numpy as np
import shapely
from shapely.affinity import translate

CITY = (-76.71, 39.20)  # differences of such numbers lose no bit, but their products do


def star(seed, *, corners=40, center=(0.0, 0.0), size=1.0):
    """A ring with spikes, as one polygon."""
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, corners))
    radius = size * random.uniform(0.1, 1, corners)
    xy = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None] + center
    return shapely.make_valid(shapely.Polygon(xy), method="structure", keep_collapsed=False)


def patchwork(seed, *, cells=30, holes=True):
    """A box cut along shared edges, some pieces with holes and islands in them, in random order."""
    random = np.random.default_rng(seed)
    seeds = shapely.multipoints(random.uniform(0, 1, (cells, 2)) + CITY)
    box = shapely.box(*CITY, CITY[0] + 1, CITY[1] + 1)
    pieces = shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=box)), box)
    if holes:
        for n in range(0, len(pieces), 4):
            c = pieces[n].centroid
            pieces[n] = pieces[n].difference(c.buffer(0.02)).union(c.buffer(0.01))
    return random.permutation(pieces)


def overlapping(seed, *, count=12):
    """Stars on top of one another, one of them in several parts, with holes."""
    random = np.random.default_rng(seed)
    stars = [star(seed * 100 + n, center=random.uniform(-1, 1, 2) + CITY) for n in range(count)]
    stars[3] = stars[3].union(star(seed * 100 + 99, center=(4 + CITY[0], CITY[1]))).difference(stars[5])
    return np.array([one for one in stars if not one.is_empty], object)


def slivers():
    """Needles, upright and level edges, a polygon one float64 step wide, corners on one another's edges."""
    x, y = CITY
    step = np.spacing(x)
    return np.array(
        [
            shapely.Polygon([(x, y), (x + 1, y + 1e-9), (x + 1, y + 2e-9)]),
            shapely.Polygon([(x, y), (x + step, y + 1), (x, y + 1)]),
            shapely.box(x + 0.25, y + 0.25, x + 0.5, y + 0.75),
            shapely.box(x + 0.5, y + 0.25, x + 0.75, y + 0.5),
            shapely.Polygon([(x + 0.5, y + 0.5), (x + 0.75, y + 0.5), (x + 0.625, y + 0.75)]),
            shapely.Polygon([(x + 0.1, y + 0.1), (x + 0.9, y + 0.1 + 1e-15), (x + 0.5, y + 0.9)]),
        ],
        object,
    )


def thin_city():
    """A row of boxes so low that rows of cells would be finer than float64."""
    x, y = CITY
    return np.array([shapely.box(x + n / 8, y, x + (n + 1) / 8, y + 3 * np.spacing(y)) for n in range(8)], object)


def tiny_city():
    """Two triangles in a box of 4 x 4 float64 steps."""
    x, y = CITY
    dx, dy = 4 * np.spacing(x), 4 * np.spacing(y)
    corners = [[(x, y), (x + dx, y), (x + dx, y + dy)], [(x, y), (x + dx, y + dy), (x, y + dy)]]
    return np.array([shapely.Polygon(corner) for corner in corners], object)


def combs(count=400):
    """Teeth across the whole box both ways: every edge is long, so that a fine grid would list them very often."""
    x, y = CITY
    teeth = np.arange(count)
    up = np.column_stack([teeth / count, teeth % 2])
    ring = np.concatenate([up, [[1.0, 2.0], [0.0, 2.0]]])
    return np.array(
        [shapely.Polygon(ring + np.array([x, y])), shapely.Polygon(ring[:, ::-1] + np.array([x, y]))], object
    )


def begun_on_a_side():
    """Rings whose first vertex, and others, lie on the straight line between their neighbors; either way round."""
    ring = np.array([(1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1), (0, 0)], float)
    hole = np.array([(1, 0.5), (1.5, 0.5), (1.5, 1.5), (0.5, 1.5), (0.5, 0.5)])
    whole, turned = shapely.Polygon(ring, [hole]), shapely.Polygon(ring[::-1], [hole[::-1]])
    third = shapely.Polygon(np.roll(ring, 3, axis=0) / 3)
    return np.array([whole, translate(turned, xoff=2), translate(third, xoff=1, yoff=2)], object)


CASES = {
    "patchwork": lambda: patchwork(0),
    "many small pieces": lambda: patchwork(1, cells=400),
    "overlapping stars": lambda: overlapping(2),
    "more overlapping stars": lambda: overlapping(3, count=40),
    "slivers": slivers,
    "thin city": thin_city,
    "tiny city": tiny_city,
    "combs": combs,
    "one triangle": lambda: np.array([shapely.Polygon([(0, 0), (3, 1), (1, 2)])], object),
    "begun on a side": begun_on_a_side,
    "around zero": lambda: np.array([star(4), star(5), star(6)], object),
}


def points_of(polygons, seed=0, random_points=2000):
    """(x[P], y[P]): anywhere, corners, points on and next to edges, level with corners, on lattices, and no numbers."""
    random = np.random.default_rng(seed)
    west, south, east, north = shapely.total_bounds(polygons)
    margin = np.array([east - west, north - south]) * 0.05
    low, high = np.array([west, south]) - margin, np.array([east, north]) + margin
    anywhere = random.uniform(low, high, (random_points, 2))
    corners = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(polygons)))
    picked = random.integers(0, len(corners) - 1, 500)
    share = random.uniform(-0.5, 1.5, (500, 1))
    on_line = corners[picked] + share * (corners[picked + 1] - corners[picked])
    middle = (corners[picked] + corners[picked + 1]) / 2
    level = np.column_stack([anywhere[:500, 0], corners[picked, 1]])
    above = np.column_stack([corners[picked, 0], anywhere[:500, 1]])
    exact = np.concatenate([corners[:2000], on_line, middle, level, above])
    steps = np.spacing(np.maximum(np.abs(exact), 1e-3))  # GEOS has 106 bits, so much finer steps are lost on it
    nudged = exact + random.integers(-2, 3, exact.shape) * steps
    lattice = [np.unique(anywhere.round(decimals), axis=0)[:2000] for decimals in (2, 3, 4)]
    strange = np.array([[np.nan, south], [west, np.nan], [np.inf, south], [-np.inf, north], [west, np.inf], [1e300, 0]])
    edge = [[west, south], [east, north], [np.nextafter(east, np.inf), north], [west, np.nextafter(south, -np.inf)]]
    xy = np.concatenate([anywhere, exact, nudged, *lattice, strange, edge])
    return xy[:, 0].copy(), xy[:, 1].copy()
