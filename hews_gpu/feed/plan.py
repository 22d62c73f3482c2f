"""Which windows each step of a training run sees: a pure function, so that resuming takes one integer and no state.

The order of an epoch is a permutation that follows from (seed, epoch) alone. A global batch is a consecutive slice of
it, and each rank takes a contiguous share of that slice: laid end to end, the ranks' shares are the global batch
whatever their number, so any world size replays the same global order.

Every rank gets equal counts at every step. Where the windows do not fill the last batch, it wraps around to the
beginning of the same epoch's order: every window is seen at least once per epoch and fewer than `batch_size` of them
once more. (Dropping them would leave a data set smaller than a batch without a single step.)

The permutation sorts raw 64-bit words of the counter-based Philox generator. NumPy promises that a bit generator's raw
stream never changes, but not what `Generator.permutation` makes of it (NEP 19): sorting gives the same batches in
every supported environment.

Shapes: W windows, B global batch, R ranks.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["epoch_order", "plan", "steps_per_epoch"]

CACHED_EPOCHS = 4  # the epoch under way and its neighbours: a step then costs a slice, not a sort


def steps_per_epoch(windows: int, batch_size: int) -> int:
    """How many global batches cover `windows` windows once.

    Raises:
        ValueError: `windows` or `batch_size` below 1.
    """
    _require(windows >= 1, "windows", windows, "must be 1 or more")
    _require(batch_size >= 1, "batch_size", batch_size, "must be 1 or more")
    return -(-windows // batch_size)


def plan(
    seed: int,
    epoch: int,
    rank: int,
    world: int,
    step: int,
    *,
    windows: int,
    batch_size: int,
    shuffle: bool = True,
) -> NDArray[np.int64]:
    """Ids of the windows that one rank reads at one step.

    Args:
        seed: of the run; 0 or more.
        epoch: 0 or more.
        rank: this process, 0 .. world - 1.
        world: number of processes; must divide `batch_size`.
        step: within the epoch, 0 .. steps_per_epoch - 1.
        windows: W, how many windows there are; ids are 0 .. W - 1.
        batch_size: B, of the global batch, over all ranks.
        shuffle: False gives 0, 1, 2, ... in every epoch.

    Returns:
        int64 [B / R].

    Raises:
        ValueError: an argument out of range.
    """
    steps = steps_per_epoch(windows, batch_size)
    _require(world >= 1 and batch_size % world == 0, "world", world, f"must divide batch_size = {batch_size}")
    _require(0 <= rank < world, "rank", rank, f"must be 0..{world - 1}")
    _require(0 <= step < steps, "step", step, f"must be 0..{steps - 1}")
    order = epoch_order(seed, epoch, windows, shuffle)
    share = batch_size // world
    first = step * batch_size + rank * share
    return order.take(np.arange(first, first + share, dtype=np.int64), mode="wrap")


@lru_cache(maxsize=CACHED_EPOCHS)
def epoch_order(seed: int, epoch: int, windows: int, shuffle: bool = True) -> NDArray[np.int64]:
    """The global order of one epoch: a permutation of 0 .. windows - 1, int64 [W], read-only.

    Raises:
        ValueError: `seed` or `epoch` below 0.
    """
    _require(seed >= 0, "seed", seed, "must be 0 or more")
    _require(epoch >= 0, "epoch", epoch, "must be 0 or more")
    if shuffle:
        keys = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch,))).random_raw(windows)
        order = np.argsort(keys, kind="stable").astype(np.int64, copy=False)
    else:
        order = np.arange(windows, dtype=np.int64)
    order.setflags(write=False)
    return order


def _require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ValueError(f"{name} = {value!r} {allowed}")
