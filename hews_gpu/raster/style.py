"""What a map looks like: colors, alphas and line widths of the reference style, groups of the channels style.

A style knows category names; kernels get tables by category number. Colors not given by the city come from the
category's name alone, so that they are the same in every run and for every table that holds the category.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hews_gpu.arrays import UInt8
from hews_gpu.config import ChannelsConfig, MapConfig, normal_category
from hews_gpu.kernels.scalars import FIXED_ONE

__all__ = ["FULL_DISC", "QUALITATIVE", "ChannelsStyle", "ReferenceStyle", "disc_stamps", "rgb", "stable_color"]

QUALITATIVE = (
    "#4E79A7 #F28E2B #59A14F #B07AA1 #9C755F #EDC948 #76B7B2 #FF9DA7 "
    "#1B9E77 #7570B3 #66A61E #E6AB02 #A6761D #1F78B4 #6A3D9A #B15928"
).split()
"""Colors that tell apart on white and are not the red of a lit outline (Tableau 10 and ColorBrewer Dark2/Paired)."""
FULL_DISC = 32
"""What a disc of the channels style adds to a pixel that it covers whole: eight of them on each other are 255, and the
rim still has 32 shades."""
STRIPS = 64
"""Strips per pixel when a disc's coverage is integrated: the error stays below 1/500 of a pixel."""


def stable_color(category: str) -> str:
    """Return a color such as #4E79A7 that depends on nothing but the category's name."""
    digest = hashlib.sha256(category.encode("utf-8")).digest()
    return QUALITATIVE[int.from_bytes(digest[:4], "big") % len(QUALITATIVE)]


@dataclass(frozen=True, kw_only=True)
class ReferenceStyle:
    """RGB maps as geopandas and matplotlib draw them at 72 dpi: outlines, lit outlines, a disc per incident."""

    palette: Mapping[str, str] = field(default_factory=dict)
    """Color per category; others get `stable_color`."""
    disc_radius_px: float = 3.5
    """A matplotlib marker of size 50 has a radius of 3.5 px."""
    disc_alpha: float = 0.7
    """Opacity of a disc."""
    line_width_px: float = 1.0
    """Of every outline; matplotlib's default is one point, a pixel at 72 dpi."""
    line_alpha: float = 0.5
    """Opacity of the black outlines."""
    lit_color: str = "#FF0000"
    """Of the opaque outline of a neighborhood that holds an incident; matplotlib's red."""

    @classmethod
    def from_config(cls, config: MapConfig) -> ReferenceStyle:
        """Return the style that a city's `[map]` section asks for."""
        return cls(palette=config.palette, disc_radius_px=config.disc_radius_px, line_width_px=config.line_width_px)

    def color(self, category: str) -> str:
        """Return the color of one category, such as #CC7722."""
        return self.palette.get(category) or stable_color(category)

    def colors(self, categories: Sequence[str]) -> UInt8:
        """Return uint8[K, 3], a row per category."""
        rows = [rgb(self.color(category)) for category in categories]
        return np.array(rows, np.uint8).reshape(len(categories), 3)


@dataclass(frozen=True, kw_only=True)
class ChannelsStyle:
    """Counts, or sums of discs, per cell and category group."""

    groups: Mapping[str, tuple[str, ...]]
    """Name of each channel and its categories; a last channel, `other`, takes all that are not listed."""
    draw: Literal["counts", "discs"] = "counts"
    """What an incident adds: 1 to its cell, or a disc with soft edges, `FULL_DISC` where it covers a cell whole."""
    disc_radius_px: float = 1.0
    """Of discs, in cells."""
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of each layer and its categories, such as `calls: SHOTS`, which its channel takes unless a group does."""

    @classmethod
    def from_config(cls, config: ChannelsConfig, layers: Mapping[str, tuple[str, ...]] | None = None) -> ChannelsStyle:
        """Return the style that a city's `[channels]` section asks for, with its layers."""
        radius_px = config.disc_radius_px
        return cls(groups=config.groups, draw=config.draw, disc_radius_px=radius_px, layers=layers or {})

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names in order, `other` after the groups, layers last."""
        return (*self.groups, "other", *self.layers)

    @property
    def spacing(self) -> int:
        """Of cells that fill an area: with discs so many that they touch."""
        return int(np.ceil(2 * self.disc_radius_px)) if self.draw == "discs" else 1

    def group_of(self, categories: Sequence[str]) -> UInt8:
        """Return uint8[K], the channel of each category."""
        of_layers = {name: g for g, each in enumerate(self.layers.values(), len(self.groups) + 1) for name in each}
        known = {category: g for g, members in enumerate(self.groups.values()) for category in members}
        known = {name: known.get(normal_category(name), g) for name, g in of_layers.items()} | known
        return np.array([known.get(category, len(self.groups)) for category in categories], np.uint8)


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green, blue of a color such as #CC7722."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def disc_stamps(radius_px: float, alpha: float) -> UInt8:
    """Compute alpha of every pixel near a disc, for each of the 16 x 16 positions of its center within a pixel.

    Coverage is the exact area that pixel and disc share: along y in closed form, along x by `STRIPS` midpoints.

    Returns:
        uint8[16, 16, D, D], indexed [fraction y, fraction x, row, column]; D = 2 * ceil(radius) + 1, and the center
        lies in the middle pixel.
    """
    reach = int(np.ceil(radius_px))
    side = 2 * reach + 1
    edge = np.arange(side)[None, :] - reach - np.arange(FIXED_ONE)[:, None] / FIXED_ONE  # [16, D] from the center
    strip = edge[:, :, None] + (np.arange(STRIPS) + 0.5) / STRIPS  # [16, D, S] the strips' middles
    half = np.sqrt(np.maximum(radius_px**2 - strip**2, 0.0))[None, None]  # [1, 1, 16, D, S] half a chord
    low = edge[:, :, None, None, None]  # [16, D, 1, 1, 1] the rows' upper edges
    covered = np.empty((FIXED_ONE, FIXED_ONE, side, side))
    for fraction in range(FIXED_ONE):  # one row of centers at a time keeps a radius of 15 below 100 MB
        top = low[fraction : fraction + 1]
        shared = np.clip(np.minimum(half, top + 1) - np.maximum(-half, top), 0, 1).mean(axis=-1)  # [1, D, 16, D]
        covered[fraction] = shared[0].transpose(1, 0, 2)
    covered = (covered + covered.transpose(1, 0, 3, 2)) / 2  # a disc has no preferred axis; halves the error, too
    return np.floor(covered * alpha * 255 + 0.5).astype(np.uint8)
