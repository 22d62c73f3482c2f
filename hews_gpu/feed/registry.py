"""Every feed by its name: what `--feed` chooses from, and what an audit goes through."""

from __future__ import annotations

from pathlib import Path

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.feed.batch import Feed, Source
from hews_gpu.feed.dali import DaliFeed
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.stored import ZarrFeed

__all__ = ["FEEDS", "feed_named"]

FEEDS: dict[str, type[Feed]] = {"direct": DirectFeed, "dali": DaliFeed, "zarr": ZarrFeed}
"""Given the same source and plan, each gives the same batches."""


def feed_named(name: str, source: Source, *, device: str = "cpu", store: Path | None = None) -> Feed:
    """Make the feed of that name.

    Args:
        name: one of `FEEDS`.
        source: what to draw, or to read.
        device: "cpu" or "cuda".
        store: folder of maps that `hews rasterize` wrote; only the zarr feed looks at it.

    Raises:
        UserError: an unknown name, or a feed that lacks what it needs.
    """
    if name not in FEEDS:
        raise UserError("--feed", name, allowed="is not known", remedy=did_you_mean(name, FEEDS))
    if name == "zarr":
        return ZarrFeed(source, device=device, store=store)
    return FEEDS[name](source, device=device)
