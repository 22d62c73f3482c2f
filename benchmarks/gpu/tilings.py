"""Maps per second by how a map is cut into tiles: threads of a block and shared memory of a tile.

Fewer, larger tiles repeat less of what each block does for itself, and leave fewer blocks beside each other to hide how
long memory takes: which wins, only a GPU tells.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.raster import LARGE, STYLES, TINY, Gpu, Simulated, measure
from hews_gpu.raster.output import Values

TILINGS = ((256, 16_384), (128, 16_384), (256, 22_528), (128, 22_528), (256, 28_672), (128, 28_672))


def run(*, tiny: bool) -> list[dict[str, Any]]:
    """Measure each with 55 and 278 areas."""
    rows = []
    for work in ("reference, 55 areas", "reference, 278 areas"):
        for threads, room in ((64, 512),) if tiny else TILINGS:
            row = {"work": work, "threads": threads, "tile_bytes": room}
            one = measure(
                Simulated() if tiny else Gpu(),
                TINY["reference, 5 areas"][1] if tiny else STYLES[work][1],
                Values.plain(),
                1 if tiny else LARGE,
                rounds=3 if tiny else 7,
                calls=1 if tiny else 5,
                tiling=(threads, room),
            )
            rows.append({**row, **one})
    return rows
