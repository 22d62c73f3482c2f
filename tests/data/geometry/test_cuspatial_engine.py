"""The cuSpatial adapter: its guards against planted faults, and the contract with the library where there is one.

cuSpatial could not be installed where these tests were written; the contract was never run by us.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.inputs.polygons import points_near, random_points
from hews_gpu.data.geometry.point_in_polygon import (
    MOST_POLYGONS,
    SEVERAL,
    Areas,
    _holds_each_once,
    find_in_grid,
    find_with_cuspatial,
    guarded,
)
from tests.inputs.polygon_cases import CASES


def areas_of(case: str) -> Areas:
    return Areas(rings=CASES[case]())


@pytest.fixture(scope="module")
def lattice() -> tuple[Areas, np.ndarray, np.ndarray, np.ndarray]:
    """More polygons than one call may have, points in them, and the right answers."""
    areas = areas_of("plain lattice")
    assert int(areas.rings[2].max()) + 1 > 2 * MOST_POLYGONS
    x, y = random_points(areas.rings[0], 5000)
    return areas, x, y, find_in_grid(areas.grid, x, y)


def test_right_answers_are_taken_as_they_are(lattice, recwarn) -> None:
    areas, x, y, right = lattice
    assert np.array_equal(guarded(right, areas, x, y), right)
    assert not recwarn.list


def test_points_in_no_polygon_or_in_several_are_looked_up_again(lattice, recwarn) -> None:
    areas, x, y, right = lattice
    found = right.copy()
    found[::3], found[1::3] = -1, SEVERAL
    assert np.array_equal(guarded(found, areas, x, y), right)
    assert not recwarn.list


def test_points_on_a_side_of_a_polygons_box_are_looked_up_again(recwarn) -> None:
    areas = areas_of("slivers")  # upright and level edges
    x = np.array([-76.71 + 0.25, -76.71 + 0.5, -76.71 + 0.3])
    y = np.array([39.2 + 0.4, 39.2 + 0.4, 39.2 + 0.25])
    right = find_in_grid(areas.grid, x, y)
    assert right.tolist() == [2, 2, 2]
    wrong = np.array([2, 3, 2], np.int32)  # on the edge that 2 and 3 share: the first one in the file has it
    assert np.array_equal(guarded(wrong, areas, x, y), right)
    assert not recwarn.list


def test_wrong_answers_are_counted_in_a_warning_and_all_looked_up_again(lattice) -> None:
    areas, x, y, right = lattice
    settled = np.flatnonzero(right >= 0)[:7]
    wrong = right.copy()
    wrong[settled] = (right[settled] + 1) % 140
    with pytest.warns(RuntimeWarning, match=r"differ for 7 of \d+ points; all are looked up again"):
        assert np.array_equal(guarded(wrong, areas, x, y), right)


def test_a_tree_that_lost_points_is_not_used() -> None:
    pandas = pytest.importorskip("pandas")  # a tree is a frame; these are its columns
    tree = pandas.DataFrame({"is_internal_node": [True, False, False], "length": [2, 3, 4]})
    order = pandas.Series(np.random.default_rng(0).permutation(7))
    assert _holds_each_once(order, tree, 7)
    assert not _holds_each_once(order, tree, 8)
    assert not _holds_each_once(order.where(order != 3, 4), tree, 7)


@pytest.mark.gpu
@pytest.mark.cuspatial
@pytest.mark.parametrize("case", CASES)
def test_the_contract_with_the_library(case: str) -> None:
    """quadtree_on_points, polygon_bounding_boxes, join_quadtree_and_bounding_boxes, quadtree_point_in_polygon."""
    pytest.importorskip("cuspatial", reason="cuSpatial is not installed: its last release, 25.04, is not on PyPI")
    areas = areas_of(case)
    near, anywhere = points_near(areas.rings), random_points(areas.rings[0], 20_000)
    x, y = (np.concatenate(pair) for pair in zip(near, anywhere, strict=True))
    assert np.array_equal(find_with_cuspatial(areas, x, y), find_in_grid(areas.grid, x, y))
