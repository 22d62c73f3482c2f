"""Pairs of incidents of two categories, close in space and in one window; and what pairs still to come may do.

A pair exists if both incidents fall into the same window of two hours on even hours, within so many meters. It acts
from the end of its window on. At an issue time, the windows that have ended are known. Of those that end later,

    E[exp(-c P)],    P: pairs of one window, c: what one pair adds to the expected number of target clusters,

has no closed form: the incidents of one pair take part in others. Given i and j incidents of the two categories, P is a
count over i + j independent places: its law is simulated once, by pairs per draw for every i <= I and j <= J from the
same draws, and averaged over the Poisson laws of i and j. A window that has begun is simulated with the incidents
that are known of it, for each forecast.

Shapes: E incidents, P pairs, S forecasts, W windows, D draws, N neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import gammaln, xlogy

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.synthetic.law import MINUTES_PER_HOUR, SLOT_H
from hews_gpu.synthetic.places import around, choose, meters

__all__ = ["SLOT_MIN", "Incidents", "PairCategory", "PairLaw", "find_pairs"]

SLOT_MIN = SLOT_H * MINUTES_PER_HOUR
DRAWS, AREA_DRAWS = 40_000, 8_000  # of the incidents of one window; the error of E[exp(-c P)] is about 0.3 / sqrt(D)
PARTIAL_DRAWS = 400  # per forecast, where its window has begun
MOST = 14  # incidents of one category in a window: more are counted as so many, one in 10,000 windows
DRAWS_AT_ONCE = 500_000  # of windows that have begun, over all forecasts
SEED = 20_210_101  # of the simulation within the truth: it always gives the same answer


@dataclass(frozen=True, kw_only=True)
class Incidents:
    """Incidents of one category, in order of time."""

    minute: Int64  # [E]
    xy_m: Float64  # [E, 2]
    area: Int64  # [E]


@dataclass(frozen=True, kw_only=True)
class PairCategory:
    """One of the two categories: its law and what happened."""

    rate_per_h: Float64  # [H]
    weights: Float64  # [A] chance of each address
    past: Incidents


def find_pairs(first: Incidents, second: Incidents, key_a: Int64, key_b: Int64, within_m: float) -> tuple[Int64, Int64]:
    """Return indices ``a`` [P] and ``b`` [P] of all pairs with the same key, at most `within_m` apart, in their order.

    Args:
        first: incidents of one category.
        second: of the other.
        key_a: [E] what the first must share with its partner, such as the number of the window.
        key_b: [E'] the same of the second.
        within_m: how far apart they may be.
    """
    sides = ((first, key_a), (second, key_b))  # other keys are far away
    tree_a, tree_b = (cKDTree(np.column_stack([side.xy_m, key * (100 * within_m)])) for side, key in sides)
    pairs = tree_a.sparse_distance_matrix(tree_b, 1.01 * within_m, output_type="ndarray")
    a, b = pairs["i"], pairs["j"]
    near = ((first.xy_m[a] - second.xy_m[b]) ** 2).sum(axis=1) <= within_m**2
    order = np.lexsort((b[near], a[near]))
    return a[near][order], b[near][order]


@dataclass(frozen=True, kw_only=True)
class PairLaw:
    """How pairs come about."""

    within_m: float
    point: Int64  # [A, 2] of the addresses
    area: Int64  # [A] of the addresses
    first: PairCategory
    """A pair belongs to the neighborhood of its incident of this category."""
    second: PairCategory

    @cached_property
    def areas(self) -> int:
        """N."""
        return int(self.area.max()) + 1

    @cached_property
    def pairs_of_first(self) -> tuple[Int64, Int64]:
        """Minute [P] (the last one of its window) of each pair that happened, and which incident is its first [P]."""
        first, second = self.first.past, self.second.past
        a, _ = find_pairs(first, second, first.minute // SLOT_MIN, second.minute // SLOT_MIN, self.within_m)
        return (first.minute[a] // SLOT_MIN + 1) * SLOT_MIN - 1, a

    @property
    def pairs(self) -> tuple[Int64, Int64]:
        """Minute [P] and neighborhood [P] of each pair that happened, in order of time."""
        minute, first = self.pairs_of_first
        return minute, self.first.past.area[first]

    def draw(self, rng: np.random.Generator, category: PairCategory, count: int) -> Incidents:
        """Draw the places of incidents to come; their minutes are zeros."""
        address = choose(rng, count, category.weights)
        xy_m = meters(around(rng, self.point[address]))
        return Incidents(minute=np.zeros(count, np.int64), xy_m=xy_m, area=self.area[address])

    # ------------------------------------------------------------ windows that have not begun

    @cached_property
    def _slot_rates(self) -> tuple[Float64, Float64]:
        """Return the incidents of each category expected in each window [W]."""
        rates = [category.rate_per_h for category in (self.first, self.second)]
        first, second = (rate[: len(rate) // SLOT_H * SLOT_H].reshape(-1, SLOT_H).sum(axis=1) for rate in rates)
        return first, second

    @cached_property
    def _counts(self) -> Float64:
        """[I + 1, J + 1, most pairs + 1] chance of so many pairs, given the numbers of incidents."""
        near, _ = self._near(DRAWS)
        return _pair_counts(near)

    @cached_property
    def _counts_by_area(self) -> list[Float64]:
        """[N] of the same, of pairs that belong to one neighborhood."""
        near, area = self._near(AREA_DRAWS)
        return [_pair_counts(near & (area == n)[:, :, None]) for n in range(self.areas)]

    def _near(self, draws: int) -> tuple[Bool, Int64]:
        """Draw which incidents of a window are near each other [D, I, J], and the neighborhoods of the first [D, I]."""
        rng = np.random.default_rng(SEED)
        first, second = (self.draw(rng, category, draws * MOST) for category in (self.first, self.second))
        a, b = (side.xy_m.reshape(draws, MOST, 2) for side in (first, second))
        apart = (a[:, :, None, 0] - b[:, None, :, 0]) ** 2 + (a[:, :, None, 1] - b[:, None, :, 1]) ** 2
        return apart <= self.within_m**2, first.area.reshape(draws, MOST)

    def log_factor(self, window: Int64, cost: float, area: int | None = None) -> Float64:
        """Return -log E[exp(-cost P)] of whole windows [S] by their number; of one neighborhood's pairs or of all."""
        counts = self._counts if area is None else self._counts_by_area[area]
        given = counts @ np.exp(-cost * np.arange(counts.shape[2]))  # [I + 1, J + 1]
        which, back = np.unique(window, return_inverse=True)
        first, second = (_poisson(rate[which]) for rate in self._slot_rates)
        return np.asarray(-np.log(np.einsum("wi,ij,wj->w", first, given, second))[back])

    # ------------------------------------------------------------ windows that have begun

    def log_partial(self, issue: Int64, cost: float, *, by_area: bool, draws: int = PARTIAL_DRAWS) -> Float64:
        """Return -log E[exp(-cost P)] [S, columns] of the window of each issue minute, knowing its incidents so far.

        Args:
            issue: [S] minutes, none of them at the begin of a window.
            cost: what one pair adds.
            by_area: one column for each neighborhood, instead of one for all of them.
            draws: simulated ends of the window per forecast.
        """
        columns = self.areas if by_area else 1
        result = np.empty((len(issue), columns))
        step = max(1, DRAWS_AT_ONCE // draws)
        for part in range(0, len(issue), step):
            rng = np.random.default_rng([SEED, part])
            result[part : part + step] = self._partial(rng, issue[part : part + step], cost, columns, draws)
        return result

    def _partial(self, rng: np.random.Generator, issue: Int64, cost: float, columns: int, draws: int) -> Float64:
        (first, key_a), (second, key_b) = (self._ends(rng, s, issue, draws) for s in (self.first, self.second))
        a, _ = find_pairs(first, second, key_a, key_b, self.within_m)
        column = first.area[a] if columns > 1 else 0
        cell, pairs = np.unique(key_a[a] * columns + column, return_counts=True)
        lost = np.bincount(
            cell // columns // draws * columns + cell % columns, -np.expm1(-cost * pairs), len(issue) * columns
        )
        return np.asarray(-np.log1p(-lost.reshape(len(issue), columns) / draws))

    def _ends(
        self, rng: np.random.Generator, category: PairCategory, issue: Int64, draws: int
    ) -> tuple[Incidents, Int64]:
        """Return the incidents of each forecast's window in each draw, known and simulated ones, with their keys."""
        rate, past = category.rate_per_h, category.past
        total = np.concatenate([[0.0], np.cumsum(rate)])  # before each hour
        end = (issue // SLOT_MIN + 1) * SLOT_MIN
        hour, part = np.divmod(issue, MINUTES_PER_HOUR)
        left = total[end // MINUTES_PER_HOUR] - total[hour] - rate[hour] * part / MINUTES_PER_HOUR
        count = rng.poisson(np.repeat(left, draws))
        new = self.draw(rng, category, int(count.sum()))
        key_new = np.repeat(np.arange(len(count)), count)
        low, high = (np.searchsorted(past.minute, m, side="left") for m in (issue // SLOT_MIN * SLOT_MIN, issue))
        known = np.repeat(high - low, draws)
        begin = np.cumsum(known) - known
        index = np.arange(int(known.sum())) - np.repeat(begin, known) + np.repeat(np.repeat(low, draws), known)
        key = np.concatenate([np.repeat(np.arange(len(known)), known), key_new])
        xy_m, area = np.concatenate([past.xy_m[index], new.xy_m]), np.concatenate([past.area[index], new.area])
        return Incidents(minute=np.zeros(len(key), np.int64), xy_m=xy_m, area=area), key


def _pair_counts(near: Bool) -> Float64:
    """Return the share of the draws where the first i and j incidents make so many pairs [I + 1, J + 1, most + 1]."""
    some = near[near.any(axis=(1, 2))]
    pairs = np.zeros((len(some), MOST + 1, MOST + 1), np.int64)
    pairs[:, 1:, 1:] = some.cumsum(axis=1, dtype=np.int64).cumsum(axis=2)
    most = int(pairs.max(initial=0)) + 1
    cell = np.arange((MOST + 1) ** 2).reshape(MOST + 1, MOST + 1) * most
    counts = np.bincount((pairs + cell).ravel(), minlength=most * (MOST + 1) ** 2).astype(np.float64)
    counts = counts.reshape(MOST + 1, MOST + 1, most)
    counts[:, :, 0] += len(near) - len(some)
    return counts / len(near)


def _poisson(mean: Float64) -> Float64:
    """Return the chance of so many incidents [W, MOST + 1]; more than MOST count as MOST."""
    count = np.arange(MOST + 1)
    chance = np.exp(xlogy(count, mean[:, None]) - mean[:, None] - gammaln(count + 1))
    chance[:, MOST] = 1 - chance[:, :MOST].sum(axis=1)
    return np.asarray(chance)
