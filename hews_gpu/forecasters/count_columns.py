"""What a law of counts may be made of: whose rows, from where, how they fade with age, how the rate answers to them.

Rows are those of one category, of all together, or pairs of two categories close together within one step, which stand
from the later of their two rows on. They are counted where the rate is asked for, in the neighborhoods that border on
it, in the whole city, or in one neighborhood for all. How much a row counts at what age is a kernel: all of one stretch
of ages alike, or an exponential decay. What the log of the rate makes of the sum is a response: in proportion, in
proportion to a logarithm, up to some number, or from some number on.

Shapes: S windows, N neighborhoods, M samples (a window and a neighborhood each), L stretches of age, Q kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np

from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.forecasters.catalog import Catalog
from hews_gpu.forecasters.hewsnet_layers import pair_name, pair_rows
from hews_gpu.forecasters.hidden_weeks import HiddenWeeks
from hews_gpu.units import HOUR_S

__all__ = ["ALL", "DECAYS", "KERNELS", "RESPONSES", "WEEKS", "Rows", "Source", "kernels_beside", "sources_of"]

EDGES_H = np.array(
    [0, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 44, 48]
    + [days * 24 for days in (2.5, 3, 4, 5, 7, 10, 14, 21, 28, 56)]
)
"""Between stretches of age."""
DECAYS_H = (1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
SPANS = tuple(combinations(range(len(EDGES_H)), 2))
"""From which edge to which a kernel that is no decay counts."""
ALL = ""
"""The stream of all categories together."""
ORIGINS = 24  # neighborhoods whose rows may act on the whole city: those with the most rows of a category
MOST_STREAMS, PAIRED = 20, 8  # categories, and those that pairs are sought among: the most frequent ones
FEWEST_ROWS = 50  # of a source
PAIRS_M = (160.0, 300.0, 500.0)
EXACT = 1 << 16  # kernels are multiples of one part in so many, so that sums are exact in any order
APART = 1 << 40  # seconds between neighborhoods laid end to end on one axis of time


def _kernels() -> Float32:
    """Return what a row in each stretch of age counts [L, Q]: first all spans, then the decays, at their mean."""
    spans = np.zeros((len(EDGES_H) - 1, len(SPANS)))
    for k, (first, last) in enumerate(SPANS):
        spans[first:last, k] = 1.0
    decay = np.array(DECAYS_H)
    left = np.exp(-EDGES_H[:, None] / decay)
    kernels = np.hstack([spans, (left[:-1] - left[1:]) * decay / np.diff(EDGES_H)[:, None]])
    return (np.round(kernels * EXACT) / EXACT).astype(np.float32)


KERNELS = _kernels()
DECAYS = np.arange(len(SPANS), KERNELS.shape[1])
"""Which of them are decays."""


def kernels_beside(kernel: int) -> list[int]:
    """Return the kernels with other edges or decays, one or two steps away."""
    if kernel >= len(SPANS):
        return [k for k in range(kernel - 2, kernel + 3) if len(SPANS) <= k < KERNELS.shape[1] and k != kernel]
    first, last = SPANS[kernel]
    near = {(first + i, last + j) for i, j in product((-1, 0, 1), repeat=2)} - {SPANS[kernel]}
    return [k for k, span in enumerate(SPANS) if span in near]


def _logarithm(scale: float) -> Callable[[Float32], Float32]:
    return lambda x: np.log1p(scale * x)


def _between(least: float, most: float) -> Callable[[Float32], Float32]:
    return lambda x: np.clip(x, least, most)


RESPONSES: dict[str, Callable[[Float32], Float32]] = {
    "proportional": lambda x: x,
    **{f"log {scale}": _logarithm(scale) for scale in (0.125, 0.5, 1.0, 2.0, 8.0, 32.0)},
    **{f"up to {most}": _between(0, most) for most in (1, 2, 3)},
    **{f"from {least}": _between(least - 1, least) for least in (2, 3, 4)},
    **{f"above {least}": _between(least, np.inf) for least in (1, 2)},
}
"""By name: what the log of the rate is proportional to."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows that are counted, and where."""

    where: str
    """here, around, city, origin (one neighborhood for the whole city), or weeks: what all rows tell of hidden ones."""
    stream: str
    partner: str | None = None
    """Of pairs: the other category."""
    within_m: float = 0.0
    """Of pairs: how far apart at most."""
    origin: int = 0
    """Of an origin: which neighborhood."""

    @property
    def is_far(self) -> bool:
        """Whether there are many times as many like it."""
        return self.where == "origin" or self.partner is not None


WEEKS = Source(where="weeks", stream=ALL)


def sources_of(past: Catalog) -> list[Source]:
    """Return all that may be looked at."""
    everywhere, past = past.busiest(MOST_STREAMS), past.placed
    streams = past.busiest(MOST_STREAMS)
    sources = [Source(where=where, stream=name) for where in ("here", "around") for name in (*streams, ALL)]
    sources += [Source(where="city", stream=name) for name in (*everywhere, ALL)]
    for name in streams:
        count = np.bincount(past.area[past.columns((name,)) == 0], minlength=past.areas)
        busiest = np.argsort(-count, kind="stable")[:ORIGINS]
        sources += [Source(where="origin", stream=name, origin=n) for n in busiest.tolist() if count[n] >= FEWEST_ROWS]
    often = past.busiest(PAIRED)
    pairs = [(a, b) for i, a in enumerate(often) for b in often[i:]]
    return sources + [
        Source(where="city", stream=a, partner=b, within_m=within_m) for a, b in pairs for within_m in PAIRS_M
    ]


class Rows:
    """The rows that sources count, at some issue times.

    Args:
        seen: all rows.
        issue_s: issue times [S], in order.
        around: [N, N] how much a row of the first counts around the second.
        sources: that will be asked for.
        step_s: of pairs: length of a step.
        anchor_s: a time at which some step begins.
        weeks: of `WEEKS`.
    """

    def __init__(
        self,
        seen: Catalog,
        issue_s: Int64,
        around: Float64,
        sources: Sequence[Source],
        step_s: int,
        anchor_s: int,
        weeks: HiddenWeeks | None = None,
    ) -> None:
        self._issue_s, self._around, self._weeks, self._ever_seen = issue_s, around, weeks, seen
        oldest_s = int(issue_s[0] - EDGES_H[-1] * HOUR_S) - step_s  # all pairs that are still counted are whole
        self._seen = seen.take(slice(*np.searchsorted(seen.known_s, [oldest_s, int(issue_s[-1])]).tolist()))
        paired = tuple(sorted({(one.stream, one.partner) for one in sources if one.partner is not None}))
        self._pairs = None
        if paired:
            self._pairs = pair_rows(self._seen, step_s, anchor_s, paired, PAIRS_M[-1], whole_steps=False)

    def binned(self, sources: Sequence[Source], window: Int64, area: Int64) -> Iterator[tuple[Source, Float32]]:
        """Yield each source with its rows [M, L] by age, at samples in any order; sources that are alike together."""
        alike: dict[tuple[str, str | None, float], list[Source]] = {}
        for one in sources:
            if one == WEEKS:
                yield one, self._hot()[window, area, None] * (np.arange(len(KERNELS)) == 0)
                continue
            alike.setdefault((one.stream, one.partner, one.within_m), []).append(one)
        for group in alike.values():
            known_s, place, _ = self._rows(group[0])
            for one in group:
                if one.where == "here":
                    yield one, _younger(known_s, place, np.ones(len(place)), self._issue_s[window], area)
                elif one.where == "around":
                    row, near = np.nonzero(self._around[place])
                    weight = self._around[place[row], near]
                    yield one, _younger(known_s[row], near, weight, self._issue_s[window], area)
                else:
                    of_one = known_s[place == one.origin] if one.where == "origin" else known_s
                    nowhere = np.zeros(len(of_one), dtype=np.int64)
                    yield (
                        one,
                        _younger(of_one, nowhere, np.ones(len(of_one)), self._issue_s, np.zeros(1, dtype=np.int64))[
                            window
                        ],
                    )

    def faded(self, source: Source, kernel: int) -> Float32:
        """Return a source's rows under a kernel [S, N], or [S, 1] where neighborhoods do not differ."""
        from scipy.sparse import csr_array

        if source == WEEKS:
            return np.asarray(self._hot() * KERNELS[0, kernel], dtype=np.float32)
        known_s, place, areas = self._rows(source)
        if source.where in ("city", "origin"):
            known_s = known_s[place == source.origin] if source.where == "origin" else known_s
            place, areas = np.zeros(len(known_s), dtype=np.int64), 1
        weight = np.diff(KERNELS[:, kernel], prepend=0.0, append=0.0)  # of the rows older than each edge
        used = np.flatnonzero(weight)
        first = [np.searchsorted(self._issue_s, known_s + int(EDGES_H[k] * HOUR_S), side="right") for k in used]
        cell = (np.stack(first) * areas + place).ravel()
        entered = np.bincount(cell, np.repeat(weight[used], len(place)), (len(self._issue_s) + 1) * areas)
        total = entered.reshape(-1, areas)[:-1].cumsum(axis=0)
        if source.where == "around":
            # Not a product of dense matrices: its last bit for one window may depend on how many others there are.
            total = (csr_array(self._around.T) @ total.T).T
        return np.asarray(total, dtype=np.float32)

    def _hot(self) -> Float32:
        """Return what is known of the hidden weeks [S, N]: it stands for rows of the first stretch of age."""
        assert self._weeks is not None
        return self._weeks.log_rate(self._ever_seen, self._issue_s).astype(np.float32)

    def _rows(self, source: Source) -> tuple[Int64, Int64, int]:
        """Return when each row of a source's stream was known, its neighborhood, and how many of these differ."""
        if source.partner is None:
            seen = self._seen
            mine = seen.is_first & (seen.area >= 0) if source.stream == ALL else seen.columns((source.stream,)) == 0
            return seen.known_s[mine], seen.area[mine].astype(np.int64), seen.areas
        pairs = self._pairs
        assert pairs is not None
        mine = (pairs.columns((pair_name(source.stream, source.partner),)) == 0) & (pairs.xy_m[:, 0] <= source.within_m)
        return pairs.known_s[mine], np.zeros(mine.sum(), dtype=np.int64), 1


def _younger(known_s: Int64, area: Int64, weight: Float64, when_s: Int64, asked: Int64) -> Float32:
    """Return the weights [M, L] of rows by age, known before some moments [M] in neighborhoods [M], or in one [1]."""
    begin_s = int(min(known_s.min(initial=when_s.min()), when_s.min()))
    key = area * APART + known_s - begin_s
    order = np.argsort(key, kind="stable")
    key, total = key[order], np.concatenate([[0.0], np.cumsum(weight[order])])
    first = asked.astype(np.int64) * APART
    until = [np.maximum(first + when_s - begin_s - int(hours * HOUR_S), first) for hours in EDGES_H]
    older = [total[np.searchsorted(key, each)] for each in until]
    return np.stack([np.subtract(*pair) for pair in pairwise(older)], axis=1, dtype=np.float32, casting="unsafe")
