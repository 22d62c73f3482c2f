"""Transforms of positions, against turns and moves that NumPy makes of a whole picture."""

import numpy as np
import pytest

from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.transform import Transform, random_transforms

POINTS = np.array([[0.0, 0.0], [8.0, 0.0], [4.0, 3.0], [1.5, 5.0]])  # x, y on a map of 6 rows and 8 columns


def moved(**change):
    x, y = Transform.about_middle(6, 8, **change)(POINTS[:, 0], POINTS[:, 1])
    return np.column_stack([x, y]).tolist()


def test_each_change_alone():
    assert moved() == POINTS.tolist()
    assert moved(right_px=2, down_px=-1) == (POINTS + np.array([2, -1])).tolist()
    assert moved(left_right=True) == [[8, 0], [0, 0], [4, 3], [6.5, 5]]
    assert moved(up_down=True) == [[0, 6], [8, 6], [4, 3], [1.5, 1]]
    assert moved(rotation_deg=90) == [[7, -1], [7, 7], [4, 3], [2, 0.5]]  # north goes east
    assert moved(zoom=2.0) == [[-4, -3], [12, -3], [4, 3], [-1, 7]]
    assert moved(zoom=(0.5, 1.0)) == [[2, 0], [6, 0], [4, 3], [2.75, 5]]
    assert np.allclose(moved(shear_deg=45), [[3, 0], [11, 0], [4, 3], [-0.5, 5]])


def test_a_full_turn_and_four_quarters_are_nothing_exactly():
    assert moved(rotation_deg=360) == moved(rotation_deg=-720) == POINTS.tolist()
    assert moved(rotation_deg=-90) == moved(rotation_deg=270)


def test_changes_come_in_the_order_that_is_told():
    """Mirrored, then turned, then moved: any other order would end elsewhere."""
    x, y = Transform.about_middle(6, 8, left_right=True, rotation_deg=90, right_px=1)(np.array([0.0]), np.array([0.0]))
    assert (x[0], y[0]) == (8, 7)


@pytest.mark.parametrize("change", [{"zoom": 0.0}, {"zoom": -1.0}, {"shear_deg": 90.0}, {"rotation_deg": np.nan}])
def test_what_leaves_nothing_of_the_map_is_refused(change):
    with pytest.raises(ValueError, match=r"zoom|shear_deg|transform"):
        Transform.about_middle(6, 8, **change)


def test_random_ones_are_a_function_of_seed_and_number_within_their_limits():
    limits = {"rotation_deg": 30.0, "shift": 0.1, "zoom": 0.2, "shear_deg": 10.0, "left_right": True, "up_down": True}
    many, few = (random_transforms(n, 7, height=6, width=8, **limits) for n in (400, 3))
    assert many[:3] == few and len({(t.column_x, t.row_0) for t in many}) == 400
    assert random_transforms(3, 8, height=6, width=8, **limits) != few
    shifted = random_transforms(400, 7, height=6, width=8, shift=0.1)
    right, down = np.array([(t.column_0, t.row_0) for t in shifted]).T
    assert 0.7 < right.max() <= 0.8 and -0.8 <= right.min() < -0.7 and 0.5 < down.max() <= 0.6
    turned = random_transforms(400, 7, height=6, width=8, rotation_deg=30.0)
    assert np.degrees(np.arccos([t.column_x for t in turned])).max() <= 30.0
    mirrored = [t.column_x < 0 for t in random_transforms(400, 7, height=6, width=8, left_right=True)]
    assert 150 < sum(mirrored) < 250
    assert random_transforms(2, 7, height=6, width=8) == [Transform()] * 2


def test_a_transformed_geometry_puts_points_and_cells_elsewhere_and_nowhere_stays_nowhere():
    plain = MapGeometry(west=0, south=0, east=8, north=6, height=6, width=8)
    turned = plain.transformed(Transform.about_middle(6, 8, right_px=1))
    longitude, latitude = np.array([0.5, 7.5, np.nan, 1e308]), np.array([5.5, 0.5, 1.0, 1e308])
    assert turned.to_cells(longitude, latitude).tolist() == [1, -1, -1, -1]
    assert turned.to_fixed(longitude, latitude)[0][:2].tolist() == [24, 136]
    assert turned.bounds == plain.bounds and turned.transformed(Transform()).to_cells(longitude, latitude)[0] == 0
