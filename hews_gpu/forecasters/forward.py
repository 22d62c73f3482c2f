"""Blocks of the training time, each to be forecast by what was fitted on the time before it.

Shapes: S windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from hews_gpu.forecasters.catalog import Catalog, Outcomes, outcomes

__all__ = ["forward_blocks", "latest", "part_of", "thinned"]


def forward_blocks(
    past: Catalog, train: Outcomes, edges: Sequence[float]
) -> Iterator[tuple[Catalog, Outcomes, Outcomes]]:
    """Yield of each block the rows known before it, the windows before it as labeled then, and the block itself.

    Blocks before which a target fell into every window, or into none, are left out: nothing can be fitted there.

    Args:
        past: the rows known when all is fitted.
        train: the training windows, in order of time.
        edges: parts of them at which blocks begin and end, such as 0.5, 0.75 and 1.
    """
    for first, last in pairwise(round(edge * len(train)) for edge in edges):
        block = part_of(train, first, last)
        if not len(block):
            continue
        begin_s = int(block.windows.issue_s[0])
        known = past.until(begin_s)
        early = outcomes(known, train.windows.select(train.windows.end_s + past.delay_s <= begin_s))
        if 0 < early.y.sum() < len(early):
            yield known, early, block


def latest(past: Catalog, train: Outcomes, most_events: int) -> Outcomes:
    """Return the last training windows, with no more than so many target events in them."""
    windows = train.windows
    is_event = past.is_event & past.within(int(windows.begin_s[0]), int(windows.end_s[-1]))
    event_s = np.sort(past.time_s[is_event])
    if len(event_s) <= most_events:
        return train
    return part_of(train, int(np.searchsorted(windows.begin_s, event_s[-most_events])), len(train))


def thinned(train: Outcomes, most_quiet: int) -> tuple[Outcomes, float]:
    """Return training windows of which no more than so many have no target, and what that adds to log-odds.

    Quiet windows are drawn, all alike: then a law in log-odds is moved by a constant and in no other way (King & Zeng,
    2001, Political Analysis 9).
    """
    quiet = np.flatnonzero(~train.y)
    if len(quiet) <= most_quiet:
        return train, 0.0
    kept = train.y.copy()
    kept[np.random.default_rng(0).choice(quiet, most_quiet, replace=False)] = True
    return Outcomes(windows=train.windows.select(kept), y=train.y[kept]), float(np.log(len(quiet) / most_quiet))


def part_of(whole: Outcomes, first: int, last: int) -> Outcomes:
    """Return the windows from one position to before another, with what happened in them."""
    index = np.arange(first, last)
    return Outcomes(windows=whole.windows.select(index), y=whole.y[index])
