"""Every feed by its name: what `--feed` chooses from, and what an audit goes through."""

from __future__ import annotations

from pathlib import Path

from hews_gpu.environment.device import Choice, choose_raster_backend
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.feed.batch import Feed, MapSource
from hews_gpu.feed.dali import DaliFeed
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.zarr_feed import ZarrFeed

__all__ = ["FEEDS", "drawn_by", "open_feed"]

FEEDS: dict[str, type[Feed]] = {"direct": DirectFeed, "dali": DaliFeed, "zarr": ZarrFeed}
"""Given the same source and plan, each gives the same batches."""


def open_feed(named: str, source: MapSource, *, device: str = "cpu") -> Feed:
    """Return the feed that `--feed` asks for: a key of `FEEDS`; for stored maps with their folder, as ``zarr:maps``.

    Raises:
        UserError: an unknown name, or a feed that lacks what it needs.
    """
    name, _, store = named.partition(":")
    if name not in FEEDS:
        raise UserError("--feed", name, allowed="is not known", remedy=did_you_mean(name, FEEDS))
    if name == "zarr":
        return ZarrFeed(source, device=device, store=Path(store).expanduser() if store else None)
    if store:
        raise UserError("--feed", named, allowed="names a folder, which zarr alone reads", remedy=f"Use --feed {name}")
    return FEEDS[name](source, device=device)


def drawn_by(device: str) -> Choice:
    """Return what draws maps for a model on a device: numba's CUDA kernels on a GPU, where they run; else the CPU."""
    return choose_raster_backend("cpu" if device == "cpu" else "auto")
