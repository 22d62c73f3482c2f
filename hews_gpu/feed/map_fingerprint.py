"""What decides the look of stored maps, written beside them and compared before they are read again."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from hews_gpu.raster.rasterizer import Rasterizer

__all__ = ["drawing_of"]


def drawing_of(rasterizer: Rasterizer) -> dict[str, Any]:
    """Everything that decides what a rasterizer makes of a window, but for how many windows one map holds.

    `tables` is a digest of what the kernels read: places and colors of the incidents, outlines, discs.
    """
    tables, digest = rasterizer.tables, hashlib.sha256()
    for name, table in zip(tables._fields, tables, strict=True):
        if not (rasterizer.steps and name == "base"):  # counts start from zeros, as many as there are steps
            array = np.asarray(table)
            digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    height, width, channels = rasterizer.shape
    return {
        "style": "channels" if rasterizer.steps else "reference",
        "height": height,
        "width": width,
        "channels": channels // max(rasterizer.steps, 1),
        "bounds": [float(bound) for bound in rasterizer.geometry.bounds],
        "incidents": rasterizer.events,
        "tables": digest.hexdigest(),
    }
