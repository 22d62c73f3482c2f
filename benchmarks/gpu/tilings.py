"""Maps per second by how a map is cut into tiles, their threads and shared memory, and by how tiles are copied.

Fewer, larger tiles repeat less of what each block does for itself, and leave fewer blocks beside each other to hide how
long memory takes: which wins, only a GPU tells.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.raster import LARGE, STYLES, TINY, Gpu, Simulated, measure
from hews_gpu.raster.output import Values

TILINGS = (
    (256, 16_384, True),
    (256, 16_384, False),
    (128, 16_384, True),
    (256, 22_528, True),
    (128, 22_528, True),
    (256, 28_672, True),
    (128, 28_672, True),
    (128, 28_672, False),
)
"""Threads, bytes, and whether tiles are copied in bulk: where the device can. Two are measured both ways."""


def run(*, tiny: bool) -> list[dict[str, Any]]:
    """Measure each with 55 and 278 areas."""
    from hews_gpu.kernels._shim_cuda import has_bulk_copies

    rows = []
    for work in ("reference, 55 areas", "reference, 278 areas"):
        for threads, room, is_bulk in ((64, 512, True),) if tiny else TILINGS:
            row = {"work": work, "threads": threads, "tile_bytes": room}
            one = measure(
                Simulated() if tiny else Gpu(),
                TINY["reference, 5 areas"][1] if tiny else STYLES[work][1],
                Values.plain(),
                1 if tiny else LARGE,
                rounds=3 if tiny else 7,
                calls=1 if tiny else 5,
                tiling=(threads, room, is_bulk),
            )
            rows.append({**row, "in_bulk": is_bulk and has_bulk_copies(), **one})
    return rows
