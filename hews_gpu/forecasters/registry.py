"""Every forecaster by name: the baselines that are always reported, and the models that are held against them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Entry, Forecaster, Setting
from hews_gpu.forecasters.boosting import Boosting
from hews_gpu.forecasters.climatology import BaseRate, HourOfWeekMonth
from hews_gpu.forecasters.counts import Counts
from hews_gpu.forecasters.hawkes import Hawkes
from hews_gpu.forecasters.hewsnet import HewsNetForecaster
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.stack import Stack

__all__ = ["BASELINES", "EXPERTS", "FORECASTERS", "REFERENCES", "quick_cnn", "require_known"]

EXPERTS: Final = ("hewsnet", "counts")
"""Tried by a stack on any device; the CNN on a GPU, where it is named, and on a CPU where a quick one shows a gain."""
CNN = "cnn"


def _climatology(setting: Setting) -> Forecaster:
    return HourOfWeekMonth(setting.city.holidays)


def _level(setting: Setting) -> Level:
    return Level(setting.city.holidays, setting.city.area_km2)


def _counts(setting: Setting) -> Forecaster:
    return Counts(_level(setting), setting.city.borders, setting.seed)


def _cnn(setting: Setting) -> Forecaster:
    from hews_gpu.forecasters.cnn import CnnForecaster

    return CnnForecaster(setting, _level(setting))


def quick_cnn(setting: Setting) -> Forecaster:
    """Return one that sees each map once: in a quarter of the time it gains most of what it ever will."""
    from hews_gpu.training.recipe import StageConfig, load_recipe

    recipe = replace(setting.recipe or load_recipe(), stages=(StageConfig(schedule="cosine", epochs=1),))
    return _cnn(replace(setting, recipe=recipe))


def _stack(setting: Setting) -> Forecaster:
    named: tuple[str, ...] | None = setting.recipe.experts if setting.recipe else None
    is_fast, has_maps = setting.device.startswith("cuda"), setting.city.prepared is not None
    names = named or (*EXPERTS, *((CNN,) if is_fast or has_maps else ()))
    makers = {name: partial(FORECASTERS[name].make, setting) for name in names}
    networks = frozenset(name for name in names if FORECASTERS[name].is_network)
    quick = {} if named or is_fast or not has_maps else {CNN: partial(quick_cnn, setting)}
    return Stack(partial(_level, setting), makers, networks, quick)


REFERENCES: dict[str, Entry] = {
    "base_rate": Entry(title="base rate", make=lambda setting: BaseRate()),
    CLIMATOLOGY: Entry(title="calendar: hour, weekday, season, holidays", make=_climatology),
    LEVEL: Entry(title="calendar at its recent level", make=_level),
}
"""Quickly fitted, and reported beside every run."""

BASELINES: dict[str, Entry] = {
    **REFERENCES,
    "hawkes": Entry(title="temporal Hawkes process", make=lambda setting: Hawkes()),
    "boosting": Entry(
        title="gradient boosting on past counts", make=lambda setting: Boosting(setting.seed), is_random=True
    ),
}
"""Reported in every backtest unless it names others."""

FORECASTERS: dict[str, Entry] = {
    **BASELINES,
    "counts": Entry(title="a law of few counts in every neighborhood", make=_counts, is_random=True),
    "stack": Entry(title="stack: the level, and experts where they add to it", make=_stack),
    "hewsnet": Entry(
        title="HewsNet: layers of the past in every neighborhood", make=lambda setting: HewsNetForecaster()
    ),
    CNN: Entry(title="CNN on maps, correcting the level", make=_cnn, is_random=True, is_network=True),
}


def require_known(name: str, option: str = "--model") -> Entry:
    """Return the forecaster of that name, which an option gave.

    Raises:
        UserError: it is not registered.
    """
    if name not in FORECASTERS:
        raise UserError(option, name, allowed="is not a forecaster", remedy=did_you_mean(name, FORECASTERS))
    return FORECASTERS[name]
