"""A small CNN that corrects the climatology with what the maps of the past hours show.

Its output is the climatology's log-odds plus a correction. The correction's last layer starts at zero, so an untrained
model is the climatology, and all that training can do is move away from it for a reason.

Few windows hold a target and there are only some ten thousand of them, so the correction is factorized instead of
deep. A plain CNN over the 72 stacked channels learns nothing from this little.

1. Filters, each the product of a weight per history step and one per category, look at one cell at a time: "robberies,
   weighted by how recent they are". Each starts out on one category and one speed of forgetting, and may move.
2. Their sums over the city are the first kind of feature: how busy the last hours were.
3. A 3 x 3 convolution with a ReLU mixes the filters where they see something close together; its means over blocks of
   cells (areas) are the second kind: what happened where.
4. Both, with the calendar, go through one linear map and a small perceptron.

Shapes: B batch, T history steps, G categories (map channels per step), H rows, X columns, K filters, F calendar
features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Layers", "SmallCnn", "SmallCnnSettings", "dense_layers"]

Layers: TypeAlias = "Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]"
"""Takes and returns what `dense_layers` does."""

HALF_LIVES = (1.5, 6.0)  # in steps: where the memories of a category's filters start out, the last hours and all day
OFF_TRACK = 0.1  # of a filter's weight on its own category: how much it sees of the others at first, to learn from them


@dataclass(frozen=True, kw_only=True)
class SmallCnnSettings:
    """Everything needed to build the model again around its weights."""

    steps: int
    """T, history steps."""
    groups: int
    """G, channels of one step."""
    height: int
    """H, rows of cells."""
    width: int
    """X, columns of cells."""
    calendar: int
    """F, calendar features."""
    filters_per_group: int = 2
    """K / G: filters that start out on one category."""
    area_cells: int = 6
    """An area is a block of this many by this many cells."""
    hidden: int = 8
    """Width of the perceptron."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be 1 or more")

    @property
    def filters(self) -> int:
        """K."""
        return self.filters_per_group * self.groups


def dense_layers(
    maps: Tensor, kernel: Tensor, near: Tensor, near_bias: Tensor, area_cells: int
) -> tuple[Tensor, Tensor]:
    """Look at every cell of the maps.

    Args:
        maps: counts, uint8 or float [B, T * G, H, X], step-major, oldest step first; channels-last memory.
        kernel: of the filters [K, T * G].
        near: of the 3 x 3 convolution [K, K, 3, 3].
        near_bias: [K].
        area_cells: an area is a block of this many by this many cells.

    Returns:
        The sums of the logarithms of the counts over the city [B, T * G], and the means over areas of what the
        convolution sees, times `area_cells`, [B, K * areas].
    """
    counts = torch.log1p(maps.to(near_bias.dtype))  # one address with 129 rows in a minute is not 129 times as bad
    cells = functional.conv2d(counts, kernel[:, :, None, None])  # [B, K, H, X]
    seen = functional.relu(functional.conv2d(cells, near, near_bias, padding=1))
    seen = seen - functional.relu(near_bias)[:, None, None]  # where nothing happened there is nothing
    areas = functional.avg_pool2d(seen, area_cells, ceil_mode=True, count_include_pad=False) * area_cells
    return counts.sum(dim=(2, 3)), areas.flatten(1)


class SmallCnn(nn.Module):
    """Log-odds of a target from maps, calendar and climatology.

    Args:
        settings: sizes.
        seed: of the initial weights, which depend on nothing else.
        layers: how maps are looked at; decides how results are rounded, and nothing else.
    """

    def __init__(self, settings: SmallCnnSettings, seed: int = 0, layers: Layers = dense_layers) -> None:
        super().__init__()
        self.settings, self.layers = (s := settings), layers
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) * scale)

        self.lag = nn.Parameter(_decays(s))  # [K, T]
        own = torch.eye(s.groups).repeat(s.filters_per_group, 1)
        self.mix = nn.Parameter(own + normal(s.filters, s.groups, scale=OFF_TRACK))  # [K, G]
        self.near = normal(s.filters, s.filters, 3, 3, scale=(9 * s.filters) ** -0.5)  # [K, K, 3, 3]
        self.near_bias = nn.Parameter(torch.zeros(s.filters))  # [K]
        features = s.filters + s.calendar
        areas = s.filters * -(-s.height // s.area_cells) * -(-s.width // s.area_cells)
        self.hidden = normal(s.hidden, features, scale=features**-0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(s.hidden))
        self.linear = nn.Parameter(torch.zeros(features + areas + s.hidden))
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("city_mean", torch.zeros(s.steps * s.groups))  # [T * G]
        self.register_buffer("city_scale", torch.ones(s.steps * s.groups))  # [T * G]

    city_mean: Tensor
    city_scale: Tensor

    def forward(self, maps: Tensor, calendar: Tensor, climatology: Tensor) -> Tensor:
        """Log-odds [B]; see `correction` for the first two arguments, `climatology` holds its log-odds [B]."""
        return climatology + self.correction(maps, calendar)

    def correction(self, maps: Tensor, calendar: Tensor) -> Tensor:
        """What is added to the climatology's log-odds.

        Args:
            maps: counts [B, T * G, H, X], as `layers` take them.
            calendar: float [B, F].

        Returns:
            float [B].
        """
        kernel = self._kernel()
        totals, areas = self.layers(maps, kernel, self.near, self.near_bias, self.settings.area_cells)
        city = ((totals - self.city_mean) / self.city_scale) @ kernel.T  # [B, K]
        features = torch.cat([city, calendar], dim=1)
        hidden = torch.tanh(functional.linear(features, self.hidden, self.hidden_bias))
        return torch.cat([features, areas, hidden], dim=1) @ self.linear + self.bias

    def _kernel(self) -> Tensor:
        """Weights of the filters [K, T * G]."""
        return (self.lag[:, :, None] * self.mix[:, None, :]).flatten(1)

    @torch.no_grad()
    def fit_scale(self, maps: Iterable[Tensor]) -> None:
        """Learn how busy a usual step is, channel by channel, from training maps (each [B, T * G, H, X])."""
        layers, weights = self.layers, (self._kernel(), self.near, self.near_bias, self.settings.area_cells)
        totals = torch.cat([layers(part, *weights)[0] for part in maps])  # [S, T * G]
        self.city_mean.copy_(totals.mean(dim=0))
        spread = totals.std(dim=0, correction=0)
        self.city_scale.copy_(torch.where(spread > 0, spread, 1.0))


def _decays(settings: SmallCnnSettings) -> Tensor:
    """Weights by step, newest last: exponential decays of unit length, one half-life after the other; [K, T]."""
    age = torch.arange(settings.steps - 1, -1, -1, dtype=torch.float32)
    half_life = torch.tensor([HALF_LIVES[k // settings.groups % len(HALF_LIVES)] for k in range(settings.filters)])
    weights = 0.5 ** (age / half_life[:, None])
    scaled: Tensor = weights / torch.linalg.vector_norm(weights, dim=1, keepdim=True)
    return scaled
