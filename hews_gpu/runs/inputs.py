"""What training and scoring start from: a prepared city's splits, each with its samples, climatology and feed.

Shapes: S samples of one split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hews_gpu.data.events import Prepared
from hews_gpu.data.windows import Samples, make_samples, make_split
from hews_gpu.errors import UserError
from hews_gpu.evaluation.folds import SPLITS, climatologies
from hews_gpu.feed.batch import MapSource
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.feeds import drawn_by
from hews_gpu.forecasters.climatology import Climatology
from hews_gpu.raster.rasterizer import Rasterizer, channels_rasterizer
from hews_gpu.units import DAY_S

__all__ = ["Split", "Task", "climatologies_of", "open_task"]

QUIET_S = 7 * DAY_S  # a split may reach past the table's first or last incident by a quiet week, not by a missing year


@dataclass(frozen=True, kw_only=True)
class Split:
    """One stretch of time to fit on or to be judged on."""

    name: str
    samples: Samples
    climatology: NDArray[np.float64]  # [S] log-odds, fitted on what had ended before the split began
    feed: DirectFeed

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Task:
    """A prepared city as something to learn."""

    prepared: Prepared
    samples: Mapping[str, Samples]
    device: str = "cpu"
    """Of the feeds' batches; maps are drawn there if they can be."""

    @cached_property
    def rasterizer(self) -> Rasterizer:
        """Draws the history of a sample."""
        return channels_rasterizer(self.prepared, backend=drawn_by(self.device).backend)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """Every split by name, in order of time."""
        fitted = climatologies_of(self.prepared)
        found: dict[str, Split] = {}
        for name, samples in self.samples.items():
            logit = fitted[name].logit(samples.target_begin_s)
            feed = DirectFeed(MapSource.of_samples(self.rasterizer, samples, logit), device=self.device)
            found[name] = Split(name=name, samples=samples, climatology=logit, feed=feed)
        return found


def climatologies_of(prepared: Prepared) -> dict[str, Climatology]:
    """The climatology that each split of a city is forecast with, by name in order of time."""
    city = prepared.city
    begins = {name: city.splits.span_s(name)[0] for name in SPLITS}
    train_begin_s, train_end_s = city.splits.span_s("train")
    every = make_samples(prepared.events, city, train_begin_s, city.splits.span_s("test")[1])
    in_train = every.target_end_s <= train_end_s
    return climatologies(begins, every.target_begin_s, every.target_end_s, every.y, in_train)


def open_task(prepared: Prepared, *, device: str = "cpu") -> Task:
    """Cut a prepared city into its splits, and see that each can be learned from or judged on.

    Args:
        prepared: the city.
        device: "cpu", "cuda" or "cuda:1", of the feeds' batches.

    Raises:
        UserError: a split is empty, reaches beyond the table, or has no window with (or none without) a target.
    """
    samples: dict[str, Samples] = {}
    for name in SPLITS:
        _require_covered(prepared, name)
        samples[name] = make_split(prepared, name)
        _require_both(prepared, name, samples[name])
    return Task(prepared, samples, device)


def _require_covered(prepared: Prepared, name: str) -> None:
    """Refuse a split that reaches beyond the table: its windows would count as quiet though nobody knows."""
    begin_s, end_s = prepared.city.splits.span_s(name)
    times = prepared.events.time_s
    first_s, last_s = (int(times[0]), int(times[-1])) if len(times) else (0, 0)
    if len(times) == 0 or begin_s < first_s - QUIET_S or end_s > last_s + QUIET_S:
        covered = f"{_day(first_s)} to {_day(last_s)}" if len(times) else "nothing"
        allowed = f"reaches beyond the table, which covers {covered}"
        span = list(getattr(prepared.city.splits, name))
        raise UserError(f"[splits] {name}", span, allowed=allowed, remedy="Move the split into what the table covers")


def _require_both(prepared: Prepared, name: str, samples: Samples) -> None:
    """Refuse a split in which every window has the same outcome."""
    positives = int(samples.y.sum())
    if 0 < positives < len(samples):
        return
    targets = ", ".join(prepared.city.incidents.targets)
    which = "no window with" if positives == 0 else "no window without"
    allowed = f"holds {which} a target ({targets}) among {len(samples)}"
    remedy = "Lengthen the split, or see [incidents] targets" if positives == 0 else "Shorten [task] horizon_s"
    span = list(getattr(prepared.city.splits, name))
    raise UserError(f"[splits] {name}", span, allowed=allowed, remedy=remedy)


def _day(time_s: int) -> str:
    return str(np.datetime64(time_s, "s"))[:10]
