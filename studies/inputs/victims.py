"""Generated tables of victims: with groups planted in them, or with none, in neighborhoods that differ."""

from __future__ import annotations

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.groups.victims import PLACE, Victims

LEVELS = {"category": 10, "hour": 24, "weekday": 7, "season": 4, "premise": 8, "weapon": 4}
PLACES = 40


def generated(rows: int, groups: int, seed: int) -> tuple[Victims, Int64, Float64]:
    """Return rows, the planted group [R] of each, and where the neighborhoods lie [N, 2], in kilometers.

    Every neighborhood has its own shares of every level. With one group, columns have nothing to do with each other
    within a neighborhood; with more, each group has levels of its own that most of its rows take.
    """
    rng = np.random.default_rng((seed, groups))
    place = np.sort(rng.choice(PLACES, rows, p=rng.dirichlet(np.full(PLACES, 2.0))))
    planted = rng.integers(0, groups, rows)
    codes = {}
    for name, levels in LEVELS.items():
        shares = np.cumsum(rng.dirichlet(np.full(levels, 3.0), PLACES), axis=1)
        drawn = (rng.random(rows)[:, None] > shares[place]).sum(axis=1).clip(max=levels - 1)
        if groups > 1 and name != "weekday":
            favorite = rng.permutation(levels * -(-groups // levels))[:groups] % levels
            drawn = np.where(rng.random(rows) < 0.92, favorite[planted], drawn)
        codes[name] = drawn.astype(np.int64)
    victims = Victims(
        row_id=np.arange(rows),
        time_s=np.arange(rows),
        is_target=np.zeros(rows, bool),
        codes={**codes, PLACE: place},
        levels={
            **{n: tuple(f"{n} {i}" for i in range(k)) for n, k in LEVELS.items()},
            PLACE: tuple(map(str, range(PLACES))),
        },
        left_out={},
    )
    return victims, planted, rng.random((PLACES, 2)) * 10
