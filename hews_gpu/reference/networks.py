"""The two CNNs of the reference system, layer by layer, as torch modules, and a small one of their kind.

They look at one reference map and say how likely it is that its window holds a target. Both are plain stacks:
convolution, ReLU, max pooling, then dense layers. What follows Keras, in which the reference was written: weights are
Glorot uniform and biases zero at the start, convolutions are unpadded ("valid") unless said, pooling drops what does
not fill a cell, and the flattened features are in the order row, column, channel.

model 1, maps of 172 x 216: conv 128 3x3 padded, pool 2 | conv 64 3x3, pool 3 | conv 64 2x2, pool 3 | dense 64, 32, 1
model 2, maps of 150 x 150: conv 32, 64, 128, 128, all 3x3 with pool 2                              | dense 512, 1
small, maps of 48 x 40:      conv 8, 16, 32, all 3x3 with pool 2                                     | dense 32, 1

The small one is ours: for questions about the protocol, on a CPU, where the others would take hours.
The last layer gives log-odds, where Keras has a sigmoid: the loss is then computed without loss of precision.

Shapes: B batch, C channels, H rows, X columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = [
    "CHANNELS",
    "CONVS",
    "Conv",
    "Normalization",
    "ReferenceCnn",
    "ReferenceSettings",
    "normalize",
    "reference_settings",
]

CHANNELS = 3  # red, green, blue
Normalization = Literal["unit", "l2"]


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution with ReLU and max pooling after it."""

    filters: int
    """Output channels."""
    kernel: int = 3
    """Rows and columns that it sees."""
    pool: int = 2
    """Rows and columns that become one."""
    padded: bool = False
    """Whether the map keeps its size, with zeros around it ("same" in Keras)."""

    def size(self, length: int) -> int:
        """Return the rows (or columns) that are left of `length`."""
        return (length if self.padded else length - self.kernel + 1) // self.pool


CONVS = {
    "reference1": (Conv(filters=128, padded=True), Conv(filters=64, pool=3), Conv(filters=64, kernel=2, pool=3)),
    "reference2": (Conv(filters=32), Conv(filters=64), Conv(filters=128), Conv(filters=128)),
    "reference_small": (Conv(filters=8), Conv(filters=16), Conv(filters=32)),
}
DENSE = {
    "reference1": (64, 32),
    "reference2": (512,),
    "reference_small": (32,),
}  # widths between the convolutions and the one output


@dataclass(frozen=True, kw_only=True)
class ReferenceSettings:
    """Everything needed to build the model again around its weights."""

    name: Literal["reference1", "reference2", "reference_small"]
    """Which of them."""
    height: int
    """H, rows of a map."""
    width: int
    """X, columns of a map."""
    normalization: Normalization
    """What is done to a map's bytes; see `normalize`."""

    def __post_init__(self) -> None:
        if self.name not in CONVS:
            raise ValueError(f"name = {self.name!r} must be one of {', '.join(CONVS)}")
        if min(self.last_size) < 1:
            raise ValueError(f"height, width = {self.height}, {self.width}: too small for the layers of {self.name}")

    @property
    def last_size(self) -> tuple[int, int]:
        """Rows and columns after the last pooling."""
        height, width = self.height, self.width
        for conv in CONVS[self.name]:
            height, width = conv.size(height), conv.size(width)
        return height, width


def reference_settings(name: Literal["reference1", "reference2"]) -> ReferenceSettings:
    """Return the settings of a model as it was: the size of its maps and what is done to their bytes."""
    if name == "reference1":
        return ReferenceSettings(name=name, height=216, width=172, normalization="l2")
    return ReferenceSettings(name=name, height=150, width=150, normalization="unit")


class ReferenceCnn(nn.Module):
    """Log-odds that a map shows a window with a target.

    Args:
        settings: which model, and for which maps.
        seed: of the initial weights, which depend on nothing else.
    """

    def __init__(self, settings: ReferenceSettings, seed: int = 0) -> None:
        super().__init__()
        self.settings = settings
        layers: list[nn.Module] = []
        channels = CHANNELS
        for conv in CONVS[settings.name]:
            padding = "same" if conv.padded else "valid"
            layers += [nn.Conv2d(channels, conv.filters, conv.kernel, padding=padding), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(conv.pool))
            channels = conv.filters
        self.features = nn.Sequential(*layers)
        rows, columns = settings.last_size
        widths = (rows * columns * channels, *DENSE[settings.name])
        dense: list[nn.Module] = []
        for before, after in pairwise(widths):
            dense += [nn.Linear(before, after), nn.ReLU()]
        self.head = nn.Sequential(*dense, nn.Linear(widths[-1], 1))
        self._draw(seed)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, maps: Tensor) -> Tensor:
        """Return log-odds [B].

        Args:
            maps: bytes 0..255, uint8 or float [B, 3, H, X]; channels-last memory is fastest.
        """
        weights = self.head[-1].weight
        assert isinstance(weights, Tensor)
        features = self.features(normalize(maps, self.settings.normalization, weights.dtype))
        flat = features.permute(0, 2, 3, 1).flatten(1)  # no copy where memory is channels-last
        logit: Tensor = self.head(flat)
        return logit[:, 0]

    @torch.no_grad()
    def _draw(self, seed: int) -> None:
        """Draw initial weights as Keras does: Glorot uniform (Glorot & Bengio, 2010), biases zero."""
        generator = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                assert layer.bias is not None
                layer.bias.zero_()


def normalize(maps: Tensor, how: Normalization, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert a map's bytes to what a model reads.

    Args:
        maps: [B, C, H, X] of 0..255.
        how: "unit" divides by 255; "l2" makes each pixel's channels a vector of length 1 (black stays 0), as
            `keras.utils.normalize` does over the last axis. It keeps hue and loses brightness: white and grey are one.
        dtype: of the result.
    """
    values = maps.to(dtype)
    if how == "unit":
        return values / 255
    length = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return values / torch.where(length > 0, length, 1.0)
