"""A small invented city as a catalog: 200 days, 6 neighborhoods, three categories, targets that robberies set off."""

from types import SimpleNamespace

import numpy as np
import pytest

from hews_gpu.forecasters.catalog import make_catalog
from hews_gpu.forecasters.city import generated_city

BEGIN_S = 1_577_836_800  # 2020-01-01T00:00
DAY_S = 86_400
CATEGORIES = ("BURGLARY", "ROBBERY", "SHOOTING")
AREAS = 6
GROUND = SimpleNamespace(prepared=None, holidays={}, area_km2=np.ones(AREAS), borders=np.zeros((AREAS, AREAS)))
"""All that a forecaster without maps asks of a city."""


def columns(seed=0, days=200):
    """Rows in no order in time: arguments of `make_catalog`."""
    rng = np.random.default_rng(seed)
    robberies = rng.integers(0, days * DAY_S // 60, size=3 * days)
    burglaries = rng.integers(0, days * DAY_S // 60, size=6 * days)
    parents = robberies[rng.random(len(robberies)) < 0.5]
    set_off = parents + np.ceil(rng.exponential(6 * 60, size=len(parents))).astype(np.int64)
    plain = rng.integers(0, days * DAY_S // 60, size=days // 2)
    minute = np.concatenate([burglaries, robberies, set_off, plain])
    category = np.repeat([0, 1, 2, 2], [len(burglaries), len(robberies), len(set_off), len(plain)])
    area = rng.integers(0, AREAS, size=len(minute))
    kept = minute < days * DAY_S // 60
    return {
        "time_s": (BEGIN_S + minute * 60)[kept],
        "category": category[kept],
        "area": area[kept],
        "xy_m": rng.normal(0, 300, size=(len(minute), 2))[kept] + 2000.0 * area[kept][:, None],
        "is_target": (category == 2)[kept],
        "categories": CATEGORIES,
        "areas": AREAS,
    }


@pytest.fixture(scope="session")
def city():
    return make_catalog(**columns())


@pytest.fixture(scope="session")
def strong():
    """A generated city of two years, small enough for every test."""
    return generated_city("strong", years=2)
