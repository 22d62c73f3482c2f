"""Who may learn from what: a forecast for a stretch of time is fitted only on windows that ended before it began.

Two forms. Three fixed splits (`SPLITS`): the first has no past; its climatology is fitted on itself, so its scores say
how well a model fits, not how well it forecasts. And the rolling origin, by which models are compared: test blocks one
after the other, each forecast by models fitted anew on everything before it, with a block between the two on which
thresholds are set:

    train (expanding) | gap | calibration | gap | test        first block
    train ......................... | gap | calibration | gap | test        second block

The gap between the issue times of two parts is history + lead + horizon + delay: then the last label of one part was
fully known before the history of the next one's first forecast begins, so the two share no incident, nor an event that
was reported in several rows. (Rolling-origin evaluation: Tashman, 2000, International Journal of Forecasting 16; purge:
Lopez de Prado, Advances in Financial Machine Learning, 2018, chapter 7.)

Where each row has a delay of its own there is no such gap: some reports come a week late. Then a label counts as it was
known at the end of the gap, so that one that became known later takes no part in a fit; and windows too young for most
of their reports to have come in (`settled`) are left out whatever their label, since among these a target would more
often than not still pass for none.

Shapes: S samples or windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Int64
from hews_gpu.forecasters.catalog import Windows
from hews_gpu.forecasters.climatology import Climatology, fit_climatology

__all__ = ["SPLITS", "Fold", "Task", "climatologies", "issue_windows", "past_of", "rolling_origin"]


SPLITS = ("train", "validation", "test")


def past_of(target_end_s: NDArray[np.int64], begin_s: int) -> NDArray[np.bool_]:
    """Which target windows had ended when a split begins; a window that ends at that very second has (bool [S])."""
    return np.asarray(target_end_s) <= begin_s


def climatologies(
    split_begin_s: Mapping[str, int],
    target_begin_s: NDArray[np.int64],
    target_end_s: NDArray[np.int64],
    y: NDArray[np.bool_],
    in_train: NDArray[np.bool_],
) -> dict[str, Climatology]:
    """The climatology that each split is forecast with.

    Args:
        split_begin_s: local begin of each split by name, in order of time; the first is the training split.
        target_begin_s: starts of all target windows since the training split began, int64 [S].
        target_end_s: their ends, int64 [S].
        y: whether each held a target, bool [S].
        in_train: which of them belong to the first split, bool [S].

    Raises:
        ValueError: a split whose past has no windows, or only windows of one kind.
    """
    found: dict[str, Climatology] = {}
    for order, (name, begin_s) in enumerate(split_begin_s.items()):
        known = past_of(target_end_s, begin_s) if order else in_train
        found[name] = fit_climatology(target_begin_s[known], y[known])
    return found


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is forecast: issued at t, from what became known in time, for [t + lead, t + lead + horizon)."""

    history_s: int = 86_400
    """How far back a model's input may reach; baselines may keep counts for longer."""
    lead_s: int = 0
    horizon_s: int = 7200
    stride_s: int = 7200
    """From one target window to the next."""
    anchor_s: int = 0
    """A time at which some target window begins."""
    delay_s: int = 0
    """A row is known so long after it happened."""

    def __post_init__(self) -> None:
        sizes = (self.history_s, self.horizon_s, self.stride_s)
        if min(sizes) <= 0 or min(self.lead_s, self.delay_s) < 0:
            raise ValueError(f"history, horizon and stride must be positive, lead and delay not negative: {self}")

    def apart(self, embargo_s: int) -> Task:
        """The same with at least so much time between the last row that is looked at and the window.

        The rows of one event do not agree on when it happened: the assault by which a shooting is reported a second
        time may be dated half an hour before it. A forecast that sees the one is not made before the other, and nobody
        can tell in time which assaults these are: so all rows of the last half hour are left alone, whatever they are.
        A lead or a delay that is long enough does that by itself; what is missing is added to the delay.
        """
        return replace(self, delay_s=max(self.delay_s, embargo_s - self.lead_s))

    @property
    def gap_s(self) -> int:
        """From the last issue time of one part to the first of the next, at least."""
        return self.history_s + self.lead_s + self.horizon_s + self.delay_s


def issue_windows(begin_s: int, end_s: int, task: Task) -> Windows:
    """All target windows within [begin, end) whose forecast is issued a full history (and delay) after `begin_s`.

    Windows lie on the grid ``anchor + k * stride`` whatever the lead, so that forecasts of different leads are compared
    on the same windows.
    """
    reach_s = task.history_s + task.delay_s + task.lead_s
    first = task.anchor_s + -((task.anchor_s - begin_s - reach_s) // task.stride_s) * task.stride_s
    target_s = np.arange(first, end_s - task.horizon_s + 1, task.stride_s, dtype=np.int64)
    return Windows(issue_s=target_s - task.lead_s, begin_s=target_s, end_s=target_s + task.horizon_s)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One test block with what may be used for it: positions of windows, in order of time."""

    train: Int64
    calibration: Int64
    test: Int64
    train_until_s: int
    """A training window's label is what was known before this moment: a history before the first calibration issue."""
    known_until_s: int
    """A fit may see the rows known before this moment; a calibration window's label is what was known then."""

    def settled(self, windows: Windows, train_s: int, calibration_s: int) -> Fold:
        """Without the windows that had ended less than so long before their labels are taken.

        Args:
            windows: all windows.
            train_s: for the training windows.
            calibration_s: for the calibration windows.

        Raises:
            ValueError: no window is left.
        """
        train = self.train[windows.end_s[self.train] <= self.train_until_s - train_s]
        calibration = self.calibration[windows.end_s[self.calibration] <= self.known_until_s - calibration_s]
        if not len(train) or not len(calibration):
            raise ValueError(f"no window is older than the {max(train_s, calibration_s)} s that reports take")
        return replace(self, train=train, calibration=calibration)


def rolling_origin(
    windows: Windows, task: Task, *, first_test_s: int, blocks: int, calibration_s: int, end_s: int
) -> list[Fold]:
    """Test blocks of equal length from `first_test_s` to `end_s`, each with its own training and calibration windows.

    Args:
        windows: all windows, in order of time.
        task: tells the purge gap.
        first_test_s: where the first test block begins.
        blocks: how many.
        calibration_s: how long the block before each test block is.
        end_s: no window of a test block reaches past it.

    Raises:
        ValueError: a part of some fold holds no window.
    """
    edges = np.linspace(first_test_s, end_s, blocks + 1).astype(np.int64)
    return [_fold(windows, task, begin_s, stop_s, calibration_s) for begin_s, stop_s in pairwise(edges.tolist())]


def _fold(windows: Windows, task: Task, begin_s: int, stop_s: int, calibration_s: int) -> Fold:
    """The windows that begin in [begin, stop), and those that may be learned from before."""
    is_test = (windows.begin_s >= begin_s) & (windows.end_s <= stop_s)
    until_s = _purged(windows, is_test, task)
    is_calibration = (windows.issue_s <= until_s) & (windows.begin_s >= begin_s - calibration_s)
    is_train = windows.issue_s <= _purged(windows, is_calibration, task)
    parts = {"train": is_train, "calibration": is_calibration, "test": is_test}
    empty = [name for name, mask in parts.items() if not mask.any()]
    if empty:
        raise ValueError(f"no windows in {' and '.join(empty)} of the block from {np.datetime64(begin_s, 's')}")
    indices = {name: np.flatnonzero(mask) for name, mask in parts.items()}
    train_s, fit_s = (int(windows.issue_s[indices[name][0]]) - task.history_s for name in ("calibration", "test"))
    return Fold(**indices, train_until_s=train_s, known_until_s=fit_s)


def _purged(windows: Windows, part: NDArray[np.bool_], task: Task) -> int:
    """The last issue time that lies a gap before the first of a part; long ago where the part is empty."""
    return int(windows.issue_s[part][0]) - task.gap_s if part.any() else int(np.iinfo(np.int64).min)
