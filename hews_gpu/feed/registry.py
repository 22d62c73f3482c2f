"""Every feed by its name: what `--feed` chooses from, and what an audit goes through."""

from __future__ import annotations

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.feed.batch import Feed, Source
from hews_gpu.feed.dali import DaliFeed
from hews_gpu.feed.direct import DirectFeed

__all__ = ["FEEDS", "feed_named"]

FEEDS: dict[str, type[Feed]] = {"direct": DirectFeed, "dali": DaliFeed}
"""Given the same source and plan, each gives the same batches."""


def feed_named(name: str, source: Source, *, device: str = "cpu") -> Feed:
    """Make the feed of that name.

    Raises:
        UserError: an unknown name, or a feed that lacks what it needs.
    """
    if name not in FEEDS:
        raise UserError("--feed", name, allowed="is not known", remedy=did_you_mean(name, FEEDS))
    return FEEDS[name](source, device=device)
