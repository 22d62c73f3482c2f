"""Every feed by its name: what `--feed` chooses from, and what an audit goes through."""

from __future__ import annotations

from pathlib import Path

from hews_gpu.environment.device import RasterChoice, choose_raster_backend
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.feed.batch import Feed, MapSource
from hews_gpu.feed.dali import DaliFeed
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.zarr_feed import ZarrFeed

__all__ = ["FEEDS", "drawn_by", "open_feed"]

FEEDS: dict[str, type[Feed]] = {"direct": DirectFeed, "dali": DaliFeed, "zarr": ZarrFeed}
"""Given the same source and plan, each gives the same batches."""


def open_feed(named: str, source: MapSource, *, device: str = "cpu") -> Feed:
    """Return the feed that `--feed` asks for.

    Args:
        named: a key of `FEEDS`; for stored maps with their folder, as ``zarr:maps``.
        source: what to draw, or to read.
        device: "cpu" or "cuda".

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


def drawn_by(device: str) -> RasterChoice:
    """Return what draws maps for a model: numba's CUDA kernels on its GPU, where they run; the CPU for any other.

    Args:
        device: of the model: "cpu", "cuda" or "cuda:1".
    """
    return choose_raster_backend("cpu" if device == "cpu" else "auto")
