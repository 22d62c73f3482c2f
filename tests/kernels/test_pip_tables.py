"""The grid itself: what it promises of its cells, of its size, and of odd cities."""

import time

import numpy as np
import pytest
import shapely

from hews_gpu.data.geometry.point_in_polygon import flat_rings, grid_of
from hews_gpu.kernels.pip_tables import FEW_PAIRS, MOST_CELLS, PAIRS_PER_EDGE, build_tables
from tests.kernels.pip_cases import CASES, combs, patchwork
from tests.kernels.pip_reference import find_by_rays


def edge_pairs(tables):
    return int((tables.run[:, 3] - tables.run[:, 2]).sum())


@pytest.mark.parametrize("case", CASES)
def test_memory_is_in_proportion_to_the_edges(case):
    polygons = CASES[case]()
    tables = grid_of(polygons)
    assert len(tables.cell) == np.prod(tables.shape) <= MOST_CELLS
    assert edge_pairs(tables) <= 2 * max(PAIRS_PER_EDGE * len(tables.vertex), FEW_PAIRS)
    assert {tables.cell.dtype, tables.run.dtype, tables.run_start.dtype} == {np.dtype(np.int32)}


def test_long_edges_make_the_grid_coarser():
    fine, coarse = grid_of(patchwork(1, cells=400)), grid_of(combs(8000))
    assert len(fine.cell) > 7 * len(fine.vertex)
    assert len(coarse.cell) < len(coarse.vertex)
    assert edge_pairs(coarse) <= PAIRS_PER_EDGE * len(coarse.vertex)


@pytest.mark.parametrize("case", CASES)
def test_every_edge_is_listed_in_every_cell_that_it_touches(case):
    """Points along each edge fall into cells that list it."""
    polygons = CASES[case]()
    tables = grid_of(polygons)
    vertex, starts, _ = flat_rings(polygons)
    last = set((starts[1:] - 1).tolist())
    first = np.array([v for v in range(len(vertex)) if v not in last])[:300]
    for share in np.linspace(0, 1, 101):
        x, y = (vertex[first] + share * (vertex[first + 1] - vertex[first])).T
        column = np.minimum((x - tables.bounds[0]) * tables.cells_per_unit[0], tables.shape[1] - 1).astype(int)
        row = np.minimum((y - tables.bounds[1]) * tables.cells_per_unit[1], tables.shape[0] - 1).astype(int)
        k = -2 - tables.cell[row * tables.shape[1] + column]
        assert (k >= 0).all()
        for edge, cell in zip(first, k, strict=True):
            runs = tables.run[tables.run_start[cell] : tables.run_start[cell + 1]]
            assert ((runs[:, 2] <= edge) & (edge < runs[:, 3])).any()


@pytest.mark.parametrize("case", ["patchwork", "overlapping stars", "slivers", "combs"])
def test_an_anchor_lies_in_its_cell_on_no_edge_and_its_polygons_are_known(case):
    polygons = CASES[case]()
    tables = grid_of(polygons)
    rows, columns = tables.shape
    cells = np.flatnonzero(tables.cell < -1)
    assert np.array_equal(-2 - tables.cell[cells], np.arange(len(cells)))
    at = ((tables.anchor - tables.bounds[:2]) * tables.cells_per_unit).astype(int)
    if rows > 1 and columns > 1:
        assert np.array_equal(at[:, 1] * columns + at[:, 0], cells)
    for n, polygon in enumerate(polygons):
        assert not np.any(find_by_rays(*flat_rings(shapely.get_rings(polygon)), *tables.anchor.T) >= 0)  # on no edge
        inside = shapely.contains_xy(polygon, *tables.anchor.T)
        first = np.repeat(np.arange(len(cells)), np.diff(tables.run_start)), tables.run
        mine = first[1][:, 0] == n
        said = np.zeros(len(cells), int)
        np.add.at(said, first[0][mine], first[1][mine, 1])
        listed = np.isin(np.arange(len(cells)), first[0][mine])
        assert np.array_equal(said[listed] == 1, inside[listed])


def test_anchors_move_away_from_edges_and_corners():
    """Corners and edges put exactly where the anchors of an earlier grid were."""
    box = shapely.box(0, 0, 1, 1)
    tables = grid_of(np.array([box, shapely.box(0.2, 0.2, 0.8, 0.8)], object))
    x, y = np.unique(tables.anchor[:, 0]), np.unique(tables.anchor[:, 1])
    needles = [shapely.Polygon([(x[0], b), (x[-1], b), (x[-1], b + 1e-3)]) for b in y if b + 1e-3 < 1]
    polygons = np.array([box, shapely.box(0.2, 0.2, 0.8, 0.8), *needles], object)
    vertex, starts, owner = flat_rings(polygons)
    moved = build_tables(vertex, starts, owner)
    assert not np.isin(moved.anchor[:, 1], vertex[:, 1]).any()


def test_a_hundred_thousand_vertices_are_laid_out_in_a_fraction_of_a_second():
    polygons = shapely.segmentize(patchwork(6, cells=250, holes=False), 0.001)
    rings = flat_rings(polygons)
    assert 50_000 < len(rings[0]) < 200_000
    begin = time.thread_time()
    build_tables(*rings)
    assert time.thread_time() - begin < 0.5  # 0.05 where this was written
