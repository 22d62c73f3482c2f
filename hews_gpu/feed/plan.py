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

Balancing takes equal numbers of both classes, as the reference system did, once for the run.

Shapes: W windows, B global batch, R ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Bool, Int64

__all__ = ["Share", "balanced_ids", "epoch_order", "plan", "shares", "steps_per_epoch"]

CACHED_EPOCHS = 4  # the epoch under way and its neighbors: a step then costs a slice, not a sort
BALANCING = 1  # in the key of the words that choose a class's windows, so that they are not those of the order


@dataclass(frozen=True)
class Share:
    """One rank's part of one global batch, and where in the epoch it stands."""

    ids: Int64  # [B / R]
    epoch: int = 0
    first: int = 0
    """Place of ids[0] in the epoch's global order; the others follow. The same whatever the number of ranks."""

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, parts: int) -> Iterator[Share]:
        """Yield the same share in `parts` consecutive ones of nearly equal length, none of them empty."""
        edges = [len(self) * k // parts for k in range(parts + 1)]
        for begin, end in pairwise(edges):
            if begin < end:
                yield Share(self.ids[begin:end], self.epoch, self.first + begin)


def balanced_ids(y: Bool, seed: int) -> Int64:
    """Return as many ids of either class `y` [W] as the rarer one has, ascending: all of that, others by the seed."""
    rarer, other = sorted((np.flatnonzero(~y), np.flatnonzero(y)), key=len)
    keys = _words(seed, (0, BALANCING), len(other))
    return np.sort(np.concatenate([rarer, other[np.argsort(keys, kind="stable")[: len(rarer)]]]))


def steps_per_epoch(windows: int, batch_size: int) -> int:
    """Return how many global batches cover an epoch's windows once.

    Raises:
        ValueError: `windows` or `batch_size` below 1.
    """
    _require(windows >= 1, "windows", windows, "must be 1 or more")
    _require(batch_size >= 1, "batch_size", batch_size, "must be 1 or more")
    return -(-windows // batch_size)


def plan(seed: int, epoch: int, rank: int, world: int, step: int, *, windows: int, batch_size: int) -> Int64:
    """Return the ids of the windows that one rank reads at one step.

    Args:
        seed: of the run; 0 or more.
        epoch: 0 or more.
        rank: 0 .. world - 1.
        world: how many ranks; must divide `batch_size`.
        step: 0 .. steps_per_epoch - 1.
        windows: W, how many windows there are: ids are 0 .. W - 1.
        batch_size: B, of the global batch, over all ranks.

    Returns:
        int64 [B / R].

    Raises:
        ValueError: an argument out of range.
    """
    steps = steps_per_epoch(windows, batch_size)
    _require(world >= 1 and batch_size % world == 0, "world", world, f"must divide batch_size = {batch_size}")
    _require(0 <= rank < world, "rank", rank, f"must be 0..{world - 1}")
    _require(0 <= step < steps, "step", step, f"must be 0..{steps - 1}")
    order = epoch_order(seed, epoch, windows)
    share = batch_size // world
    first = step * batch_size + rank * share
    return order.take(np.arange(first, first + share, dtype=np.int64), mode="wrap")


def shares(
    seed: int, epoch: int, rank: int, world: int, *, windows: int, batch_size: int, first_step: int = 0
) -> Iterator[Share]:
    """Yield the shares of one rank from `first_step` to the end of an epoch; arguments as of `plan`."""
    for step in range(first_step, steps_per_epoch(windows, batch_size)):
        ids = plan(seed, epoch, rank, world, step, windows=windows, batch_size=batch_size)
        yield Share(ids, epoch, step * batch_size + rank * (batch_size // world))


@lru_cache(maxsize=CACHED_EPOCHS)
def epoch_order(seed: int, epoch: int, windows: int) -> Int64:
    """Return the global order of one epoch: a permutation of 0 .. windows - 1, int64 [W]; read-only.

    Raises:
        ValueError: `seed` or `epoch` below 0.
    """
    _require(seed >= 0, "seed", seed, "must be 0 or more")
    _require(epoch >= 0, "epoch", epoch, "must be 0 or more")
    order = np.argsort(_words(seed, (epoch,), windows), kind="stable")
    order.setflags(write=False)
    return order


def _words(seed: int, key: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """Return random 64-bit words that follow from the seed and what they are for."""
    words: NDArray[np.uint64] = np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)).random_raw(count)
    return words


def _require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ValueError(f"{name} = {value!r} {allowed}")
