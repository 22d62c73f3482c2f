"""Where an output came from, as its manifest records it: the prepared folder, and what was in it."""

from __future__ import annotations

from typing import Any

from hews_gpu.data.events import Prepared

__all__ = ["origin"]

TEMPORARY = ".partial-"  # in the name of a folder that is still being made; it will be renamed


def origin(prepared: Prepared) -> dict[str, Any]:
    """For a manifest: where the data lies (absolute) and its fingerprint; no path that is about to be renamed."""
    lasts = not any(TEMPORARY in part for part in prepared.folder.parts)
    place = {"prepared": str(prepared.folder)} if lasts else {}
    return {**place, "data_fingerprint": prepared.fingerprint}
