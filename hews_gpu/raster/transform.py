"""Affine transforms of a map in pixels: what augmentation does to outlines and incidents, before anything is drawn.

A picture that is turned or sheared blurs. Polygons and points that are turned and then drawn stay crisp: lines keep
their width, discs their radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Transform", "random_transforms"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Where column x and row y (real numbers, in pixels from the north-west corner) go.

    `(column_x * x + column_y * y + column_0, row_x * x + row_y * y + row_0)`.
    """

    column_x: float = 1.0
    column_y: float = 0.0
    column_0: float = 0.0
    row_x: float = 0.0
    row_y: float = 1.0
    row_0: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.column_x, self.column_y, self.column_0, self.row_x, self.row_y, self.row_0)
        if not np.isfinite(numbers).all() or abs(self.column_x * self.row_y - self.column_y * self.row_x) < 1e-6:
            raise ValueError(f"transform = {numbers}: must be six finite numbers that do not flatten the map")

    @classmethod
    def about_middle(
        cls,
        height: int,
        width: int,
        *,
        rotation_deg: float = 0.0,
        right_px: float = 0.0,
        down_px: float = 0.0,
        zoom: float | tuple[float, float] = 1.0,
        shear_deg: float = 0.0,
        left_right: bool = False,
        up_down: bool = False,
    ) -> Transform:
        """Mirror, shear, zoom and turn a map of this size about its middle, in this order, then move it.

        Args:
            height: H, rows.
            width: X, columns.
            rotation_deg: clockwise, as seen on the map; quarter turns are exact.
            right_px: columns to the east.
            down_px: rows to the south.
            zoom: larger than 1 enlarges; a pair for columns and rows.
            shear_deg: how far an upright line leans to the west at its southern end; less than 90 either way.
            left_right: exchange west and east.
            up_down: exchange north and south.

        Raises:
            ValueError: numbers that are not finite, or that leave nothing of the map.
        """
        if not abs(shear_deg) < 90:
            raise ValueError(f"shear_deg = {shear_deg}: must be less than 90 either way")
        across, down = zoom if isinstance(zoom, tuple) else (zoom, zoom)
        if not (across > 0 and down > 0):
            raise ValueError(f"zoom = {zoom}: must be positive")
        mirror = np.diag([-1.0 if left_right else 1.0, -1.0 if up_down else 1.0])
        shear = np.array([[1.0, -np.tan(np.radians(shear_deg))], [0.0, 1.0]])
        matrix = _turn(rotation_deg) @ np.diag([across, down]) @ shear @ mirror
        middle = np.array([width / 2, height / 2])
        moved = middle - matrix @ middle + (right_px, down_px)
        (column_x, column_y), (row_x, row_y) = matrix.tolist()
        column_0, row_0 = moved.tolist()
        return cls(column_x=column_x, column_y=column_y, column_0=column_0, row_x=row_x, row_y=row_y, row_0=row_0)

    def __call__(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Where points go; what is not finite stays so."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (
                self.column_x * x + self.column_y * y + self.column_0,
                self.row_x * x + self.row_y * y + self.row_0,
            )


def random_transforms(
    count: int,
    seed: int,
    *,
    height: int,
    width: int,
    rotation_deg: float = 0.0,
    shift: float = 0.0,
    zoom: float = 0.0,
    shear_deg: float = 0.0,
    left_right: bool = False,
    up_down: bool = False,
) -> list[Transform]:
    """Transforms for a bank: a pure function of the seed, number k the same however many are asked for.

    Args:
        count: how many.
        seed: of the draw.
        height: H, rows.
        width: X, columns.
        rotation_deg: at most, either way.
        shift: at most, either way, as a share of width and height.
        zoom: by 1 - zoom to 1 + zoom, columns and rows each for itself; less than 1.
        shear_deg: at most, either way.
        left_right: mirror every other one, by chance.
        up_down: likewise.
    """
    made = []
    for k in range(count):
        draw = np.random.default_rng((seed, k)).uniform(-1, 1, 8)
        made.append(
            Transform.about_middle(
                height,
                width,
                rotation_deg=draw[0] * rotation_deg,
                right_px=draw[1] * shift * width,
                down_px=draw[2] * shift * height,
                zoom=(1 + draw[3] * zoom, 1 + draw[4] * zoom),
                shear_deg=draw[5] * shear_deg,
                left_right=left_right and draw[6] < 0,
                up_down=up_down and draw[7] < 0,
            )
        )
    return made


def _turn(degrees: float) -> Floats:
    """A clockwise turn, where y points down."""
    quarters, rest = divmod(degrees, 90.0)
    if rest == 0.0:
        cosine, sine = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    else:
        cosine, sine = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    return np.array([[cosine, -sine], [sine, cosine]])
