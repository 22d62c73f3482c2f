"""Label noise, from two vintages of one city's table: how far they agree, and what that costs any forecast.

Which windows hold a target is revised from one vintage of a table to the next: times move, rows come and go. The two
are taken as parallel measurements of what happened, which err alike, independently, and as often one way as the other;
then their correlation r says it all (Spearman, 1910, British Journal of Psychology 3). That of either with the truth is
the root of r, which gives the rates at which labels flip, and the log loss of a forecaster who knows the truth. Of a
small gain over the calendar, labels of that quality show the share r. Where both vintages share an error, labels are
worse than this. Without any assumption: what is lost on the newer labels by who knows the whole older vintage.

Shapes: S windows in time order.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import entr

from hews_gpu.arrays import Bool, Float64
from hews_gpu.data.coverage import coverage_of_events
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import Task, issue_windows, targets_within
from hews_gpu.errors import UserError
from hews_gpu.evaluation.bootstrap import Blocks, interval

__all__ = ["SCHEMA", "VINTAGES", "agreement", "compare_vintages", "in_words"]

VINTAGES = "vintages.json"
"""What the comparison is called beside a run, whose report then tells of it."""
MEASURED = {"value": float, "interval": (float, float)}
SCHEMA = {
    **dict.fromkeys(("begin", "end"), datetime),
    **dict.fromkeys(("in_both", "in_either"), int),
    "base_rate_bits": float,
    **dict.fromkeys(("missed", "added", "loss_knowing_truth_bits", "share_seen"), MEASURED),
}
"""What `in_words` needs of it."""
LEAST_EACH = 30
"""Windows with a target in each vintage, and without one."""


def compare_vintages(old: Path, new: Path) -> dict[str, Any]:
    """Compare the labels of two prepared folders of one city, window by window, over the time that both cover.

    No label from the begin of either city file's locked block on is looked at.

    Args:
        old: folder made by ``hews prepare`` of the earlier table.
        new: of the later one.

    Raises:
        UserError: the two have other targets or windows, or share too little time.
    """
    both = [open_prepared(folder) for folder in (old, new)]
    targets, tasks = [set(one.city.incidents.target_names) for one in both], [Task.of_city(one.city) for one in both]
    if targets[0] != targets[1] or tasks[0] != tasks[1]:
        allowed = f"has other targets, [windows] or [task] than {new}"
        raise UserError("OLD", old, allowed=allowed, remedy="Prepare both tables with the same city file")
    spans = [_known(one) for one in both]
    begin_s, end_s = max(span[0] for span in spans), min(span[1] for span in spans)
    windows = issue_windows(begin_s, end_s, tasks[1])
    labels = [targets_within(one.events, windows.begin_s, windows.end_s) > 0 for one in both]
    if min(min(y.sum(), (~y).sum()) for y in labels) < LEAST_EACH:
        allowed = f"shares too little time with {new}: {LEAST_EACH} windows with a target, and without, are needed"
        raise UserError("OLD", old, allowed=allowed)
    begin, end = (str(np.datetime64(int(edge), "s")) for edge in (windows.begin_s[0], windows.end_s[-1]))
    return {"kind": "vintages", "begin": begin, "end": end, **agreement(labels[0], labels[1], tasks[1].stride_s)}


def _known(prepared: Prepared) -> tuple[int, int]:
    """Return the first and the last time of the covered rows before the locked block."""
    first_s, last_s = coverage_of_events(prepared.events).first_and_last(prepared.events.time_s)
    splits = prepared.city.splits
    return first_s, last_s if splits.locked is None else min(last_s, splits.span_s("locked")[0])


def agreement(old: Bool, new: Bool, stride_s: int) -> dict[str, Any]:
    """Return how two vintages' labels of the same windows [S] agree, with 95 % intervals from resampled weeks."""
    moments = np.stack([old, new, old & new], axis=1).astype(np.float64)
    drawn, own = Blocks.by_weeks(len(new), stride_s).means(moments), moments.mean(axis=0)[None]
    counts = {"in_old": old.sum(), "in_new": new.sum(), "in_both": (old & new).sum(), "in_either": (old | new).sum()}
    asked: dict[str, Callable[[Float64], Float64]] = {
        "missed": lambda m: 1 - _flips(m)[0],
        "added": lambda m: _flips(m)[1],
        "loss_knowing_truth_bits": _lost_knowing_truth,
        "loss_knowing_old_bits": _lost_knowing_old,
        "share_seen": _correlation,
    }
    with np.errstate(invalid="ignore"):  # of drawn weeks without a target
        measured = {
            name: {"value": float(ask(own)[0]), "interval": interval(ask(drawn))} for name, ask in asked.items()
        }
    of_base_rate = float(_entropy(own[:, 1])[0])
    return {
        "windows": len(new),
        **{name: int(n) for name, n in counts.items()},
        "base_rate_bits": of_base_rate,
        **measured,
    }


def _entropy(p: Float64) -> Float64:
    p = np.clip(p, 0, 1)  # rounding goes past the ends
    return np.asarray((entr(p) + entr(1 - p)) / np.log(2))


def _flips(m: Float64) -> tuple[Float64, Float64]:
    """Return the chance [D] that a window with a target is labeled so, and that one without is."""
    rate, true = (m[:, 0] + m[:, 1]) / 2, np.sqrt(np.maximum(_correlation(m), 0.0))
    return rate + (1 - rate) * true, rate * (1 - true)


def _lost_knowing_truth(m: Float64) -> Float64:
    """Return the entropy [D] of a label, in bits, once it is known whether a target happened."""
    rate, (hit, false) = (m[:, 0] + m[:, 1]) / 2, _flips(m)
    return rate * _entropy(hit) + (1 - rate) * _entropy(false)


def _lost_knowing_old(m: Float64) -> Float64:
    """Return the entropy [D] of a new label, in bits, once the old one is known."""
    old, new, both = m.T
    return np.asarray(old * _entropy(both / old) + (1 - old) * _entropy((new - both) / (1 - old)))


def _correlation(m: Float64) -> Float64:
    """Return the correlation [D] of the labels."""
    old, new, both = m.T
    return np.asarray((both - old * new) / np.sqrt(old * (1 - old) * new * (1 - new)))


def in_words(result: dict[str, Any]) -> str:
    """Return what the comparison says, for a page and a terminal."""

    def stated(name: str, form: str) -> str:
        low, high = result[name]["interval"]
        return f"{result[name]['value']:{form}} (95 % interval {low:{form}} to {high:{form}})"

    return (
        f"From {result['begin'][:10]} to {result['end'][:10]} two vintages of the table agree on "
        f"{result['in_both']:,} of the {result['in_either']:,} windows in which either has a target. If both err "
        f"alike, each misses {result['missed']['value']:.1%} of the windows with a target and adds "
        f"{result['added']['value']:.1%} of the others. Even a forecast that knew what will happen would then lose "
        f"{stated('loss_knowing_truth_bits', '.3f')} bits per window on such labels, where the base rate loses "
        f"{result['base_rate_bits']:.3f}; and of a small gain over the calendar they show "
        f"{stated('share_seen', '.0%')}."
    )
