"""Every forecaster by name: the baselines that are always reported, and the models that are held against them."""

from __future__ import annotations

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Entry, Forecaster, Setting
from hews_gpu.forecasters.boosting import Boosting
from hews_gpu.forecasters.climatology import BaseRate, HourOfWeekMonth
from hews_gpu.forecasters.hawkes import Hawkes
from hews_gpu.forecasters.level import Level

__all__ = ["BASELINES", "FORECASTERS", "REFERENCES", "require_known"]


def _hewsnet(setting: Setting) -> Forecaster:
    """Load torch only when it is asked for; nothing in the fit is random."""
    from hews_gpu.forecasters.hewsnet import HewsNetForecaster

    return HewsNetForecaster()


def _cnn(setting: Setting) -> Forecaster:
    from hews_gpu.forecasters.cnn import CnnForecaster

    return CnnForecaster(setting, HourOfWeekMonth())


def _hewsnet_cnn(setting: Setting) -> Forecaster:
    from hews_gpu.forecasters.cnn import WhereCnnForecaster

    return WhereCnnForecaster(setting, _hewsnet(setting))


REFERENCES: dict[str, Entry] = {
    "base_rate": Entry(title="base rate", make=lambda setting: BaseRate()),
    CLIMATOLOGY: Entry(title="hour of week x month", make=lambda setting: HourOfWeekMonth()),
    LEVEL: Entry(title="the same with 28/365-day level", make=lambda setting: Level()),
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
    "hewsnet": Entry(title="HewsNet: layers of the past in every neighborhood", make=_hewsnet),
    "cnn": Entry(title="CNN on maps, correcting the climatology", make=_cnn, is_random=True, is_network=True),
    "hewsnet+cnn": Entry(title="CNN on maps, correcting HewsNet", make=_hewsnet_cnn, is_random=True, is_network=True),
}


def require_known(name: str, option: str = "--model") -> Entry:
    """Return the forecaster of that name, which an option gave.

    Raises:
        UserError: it is not registered.
    """
    if name not in FORECASTERS:
        raise UserError(option, name, allowed="is not a forecaster", remedy=did_you_mean(name, FORECASTERS))
    return FORECASTERS[name]
