"""Every forecaster by name: the baselines that are always reported, and the models that are held against them."""

from __future__ import annotations

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.forecasters.base import CLIMATOLOGY, BaseRate, Entry, Forecaster, HourOfWeekMonth, Level
from hews_gpu.forecasters.boosting import Boosting
from hews_gpu.forecasters.hawkes import Hawkes

__all__ = ["BASELINES", "FORECASTERS", "MODELS", "require_known"]

BASELINES: dict[str, Entry] = {
    "base_rate": Entry(title="base rate", make=lambda seed: BaseRate()),
    CLIMATOLOGY: Entry(title="hour of week x month", make=lambda seed: HourOfWeekMonth()),
    "level": Entry(title="the same with 28/365-day level", make=lambda seed: Level()),
    "hawkes": Entry(title="temporal Hawkes process", make=lambda seed: Hawkes()),
    "boosting": Entry(title="gradient boosting on past counts", make=Boosting, is_random=True),
}
"""Always reported."""


def _hewsnet(seed: int) -> Forecaster:
    """Loads torch only when it is asked for; nothing in the fit is random."""
    from hews_gpu.forecasters.hewsnet import HewsNetForecaster

    return HewsNetForecaster()


MODELS: dict[str, Entry] = {"hewsnet": Entry(title="HewsNet: layers of the past in every neighborhood", make=_hewsnet)}
"""What is to be judged against the baselines; a model adds itself here, and then goes through the same protocol."""

FORECASTERS = {**BASELINES, **MODELS}


def require_known(name: str) -> None:
    """Refuse the name of a forecaster that is not registered.

    Raises:
        UserError: then.
    """
    if name not in FORECASTERS:
        raise UserError("--model", name, allowed="is not a forecaster", remedy=did_you_mean(name, FORECASTERS))
