"""Small maps with everything awkward about them: the cases on which every engine must give the same bits.

Few enough threads and windows for the CUDA simulator, which takes milliseconds for each thread. The hashes of what the
NumPy reference makes of the cases are kept in tests/kernels/golden.json, so that a GPU can be checked without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.output import Values
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import FULL_DISC, disc_stamps

__all__ = ["CASES", "Case", "SmallCase", "hash_of"]

BOX: dict[str, Any] = {"west": 0.0, "south": 0.0, "east": 1.0, "north": 1.0}
AREAS = 20
EVENTS = 300


@dataclass(frozen=True)
class Case:
    """What is drawn, and how it is written."""

    height: int = 40
    width: int = 36
    steps: int = 0
    """0: reference style."""
    is_discs: bool = False
    """Whether steps hold discs instead of counts."""
    owners: int = 3
    """Areas whose outlines meet in a pixel at most."""
    radius_px: float = 3.5
    areas: int = AREAS
    values: str = "plain"
    offset: int = 0
    """Values between the start of an aligned memory and the batch."""


CASES: dict[str, Case] = {
    "typical": Case(),
    "nothing whole": Case(height=23, width=19),
    "many owners": Case(owners=9, height=22, width=40),  # one of its pixels lies in two tiles
    "broad discs": Case(radius_px=15.0, height=16, width=12),
    "tiny discs": Case(radius_px=0.5, height=24, width=20),
    "no areas": Case(areas=0, height=24, width=20),
    "float32": Case(values="unit float32", height=24, width=20),
    "float16": Case(values="normalized float16", height=24, width=20),
    "bfloat16": Case(values="normalized bfloat16", height=24, width=20),
    "float32, nothing whole": Case(values="unit float32", height=23, width=19),
    "bytes through a table": Case(values="log uint8", height=24, width=20),
    "unaligned": Case(offset=3, height=24, width=20),
    "many discs on each other": Case(radius_px=7.0, height=12, width=10),
    "counts": Case(steps=3, height=12, width=10),
    "counts that saturate": Case(steps=2, height=2, width=4),
    "log counts": Case(steps=3, height=16, width=6, values="log float16"),
    "log counts as bytes": Case(steps=2, height=12, width=8, values="log uint8"),
    "added discs": Case(steps=3, is_discs=True, height=12, width=10, radius_px=1.0),
    "added discs that saturate": Case(steps=1, is_discs=True, height=5, width=7, radius_px=4.0),
    "broad added discs, log": Case(steps=2, is_discs=True, height=16, width=6, radius_px=15.0, values="log float16"),
    "added discs of more steps than warps": Case(steps=9, is_discs=True, height=12, width=8, radius_px=0.5),
}


class SmallCase:
    """The inputs of a case, made from its name alone.

    Attributes:
        pairs: int64[B, 2] or int64[B, T, 2]: none, one, many and all incidents.
        shape: of the batch that it is written to.
    """

    def __init__(self, name: str) -> None:
        self.case = CASES[name]
        self.random = np.random.default_rng(list(CASES).index(name))
        make = self._discs if self.case.is_discs else self._counts if self.case.steps else self._reference
        self.tables: ReferenceTables | ChannelsTables | DiscsTables = make()
        first = self.random.integers(0, EVENTS - 40, (4, max(self.case.steps, 1)))
        pairs = np.stack([first, first + self.random.integers(0, 40, first.shape)], axis=2)
        pairs[0], pairs[1] = [EVENTS, EVENTS], [0, EVENTS]
        self.pairs: NDArray[np.int64] = pairs if self.case.steps else pairs[:, 0]
        kind, _, dtype = self.case.values.partition(" ")
        makers: dict[str, Callable[[], Values]] = {
            "plain": Values.plain,
            "unit": lambda: Values.unit(dtype),  # type: ignore[arg-type]
            "normalized": lambda: Values.normalized(190.0, 60.0, dtype),  # type: ignore[arg-type]
            "log": lambda: Values.log_counts(dtype),  # type: ignore[arg-type]
        }
        self.values = makers[kind]()

    def rasterizer(self, backend: Backend) -> Rasterizer:
        """What draws the case."""
        channels = self.tables.base.shape[2]
        geometry = MapGeometry(**BOX, height=self.case.height, width=self.case.width)
        names = [f"channel {c}" for c in range(channels)]
        one = Rasterizer(
            self.tables,
            geometry,
            names,
            neighborhoods=0 if self.case.steps else self.case.areas,
            steps=self.case.steps,
            backend=backend,
        )
        return one.writing(self.values)

    @property
    def begin(self) -> int:
        """Where the batch begins in its memory, in values."""
        return 16 + self.case.offset

    def batch(self, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Memory full of garbage, flat and with room on both sides, and the batch in it."""
        channels = self.tables.base.shape[2]
        shape = (len(self.pairs), self.case.height, self.case.width, channels)
        count = int(np.prod(shape))
        memory = np.random.default_rng(seed).integers(0, 256, (count + 64) * self.values.codes.itemsize, np.uint8)
        memory = memory.view(self.values.codes.dtype)
        dtype = "u2" if self.values.dtype == "bfloat16" else self.values.dtype
        return memory, memory[self.begin : self.begin + count].view(dtype).reshape(shape)

    def _reference(self) -> ReferenceTables:
        """A gray ground, outlines met by up to `owners` areas, and incidents inside, outside and far away."""
        case, random = self.case, self.random
        pixels = np.flatnonzero(random.random(case.height * case.width) < (0.3 if case.areas else 0.0))
        counts = random.integers(1, case.owners + 1, len(pixels))
        owners = [np.sort(random.choice(case.areas, count, replace=False)) for count in counts]
        x, y = self._positions()
        return ReferenceTables(
            base=random.integers(0, 256, (case.height, case.width, 3), np.uint8),
            pixel=pixels.astype(np.int32),
            start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            owner=np.concatenate([np.zeros(0, np.int32), *owners]).astype(np.int32),
            coverage=random.integers(1, 256, int(counts.sum())).astype(np.uint8),
            lit_color=np.array([255, 0, 0], np.uint8),
            x=x,
            y=y,
            color=random.integers(0, 5, EVENTS).astype(np.uint8),
            neighborhood=(random.integers(-1, case.areas, EVENTS)).astype(np.int16),
            palette=random.integers(0, 256, (5, 3), np.uint8),
            stamp=disc_stamps(case.radius_px, 0.7),
        )

    def _positions(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Incidents inside, outside and far away, some in the place of another."""
        position = self.random.integers(-160, 16 * max(self.case.height, self.case.width) + 160, (2, EVENTS))
        position[:, ::17] = -1024 * 16
        position[:, 1::13] = position[:, ::13][:, : len(position[0, 1::13])]
        return position[0].astype(np.int32), position[1].astype(np.int32)

    def _discs(self) -> DiscsTables:
        """Discs in two groups, and a channel that no incident changes."""
        counts, (x, y) = self._counts(), self._positions()
        stamp = disc_stamps(self.case.radius_px, FULL_DISC / 255)
        return DiscsTables(x=x, y=y, group=counts.group, groups=2, base=counts.base, stamp=stamp)

    def _counts(self) -> ChannelsTables:
        """Counts in two groups, and a channel that no incident changes."""
        case, random = self.case, self.random
        base = np.zeros((case.height, case.width, 2 * case.steps + 1), np.uint8)
        base[..., -1] = random.integers(0, 256, base.shape[:2])
        cells = case.height * case.width
        cell = random.integers(-1, cells, EVENTS)
        cell[::3] = 0 if cells < 10 else cell[::3]
        group = random.integers(0, 2, EVENTS)
        if cells < 10:
            cell[:], group[:] = 5, random.random(EVENTS) < 0.1  # 270 of 300 in one place
        return ChannelsTables(cell=cell.astype(np.int32), group=group.astype(np.uint8), groups=2, base=base)


def hash_of(batch: NDArray[Any]) -> str:
    """SHA-256 of a batch's values in the order of its dimensions."""
    return hashlib.sha256(np.ascontiguousarray(batch).tobytes()).hexdigest()
