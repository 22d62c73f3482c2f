"""What a forecaster is: fitted on the past, it gives a probability per window, and some say in which neighborhood.

Every baseline and every model is one, so that all go through one protocol. A fit is handed a catalog that ends where
the fit may look no further; a forecast is made from the full one through `Catalog`'s counts, which stop at each issue
time. What a fit leaves is one dataclass, `fitted`, which `stored` writes to a file.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hews_gpu.arrays import Bool, Float64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.logistic import logit

if TYPE_CHECKING:
    from hews_gpu.training.recipe import Recipe

__all__ = [
    "CLIMATOLOGY",
    "LEVEL",
    "DrawsMaps",
    "Entry",
    "Explains",
    "Forecaster",
    "ReadsFew",
    "SaysBoth",
    "SaysWhere",
    "Setting",
    "Step",
    "log_odds",
    "predictions",
]

CLIMATOLOGY, LEVEL = "climatology", "level"
"""The forecasters that skill is measured against, by name: the calendar, and the calendar at its recent level."""


class Forecaster(Protocol):
    """A way to forecast."""

    fitted: Any
    """A dataclass with all that a fit has learned; `stored` can write it."""

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        """Learn.

        Args:
            past: the rows known when the fit is made; no later ones.
            train: windows to fit on.
            calibration: later windows, to calibrate on; a forecaster may leave them alone.
        """

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S] of a target in each window, in order of time, from the rows known at issue."""


@runtime_checkable
class SaysWhere(Protocol):
    """A forecaster that also says in which neighborhood."""

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood.

        Neighborhoods are independent given the past: 1 - p of the city is the product of theirs.
        """


@runtime_checkable
class SaysBoth(SaysWhere, Protocol):
    """A forecaster that says both at once for little more than either."""

    def predict_both(self, seen: Catalog, windows: Windows) -> tuple[Float64, Float64]:
        """Return what `predict` [S] and `predict_areas` [S, N] return."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a forecast is once one more of what it is made of was taken in."""

    name: str
    p: Float64
    """[S] of the city."""
    areas: Float64 | None
    """[S, N] of the neighborhoods; None where it does not say."""


@runtime_checkable
class Explains(Protocol):
    """A forecaster that tells how it comes from the calendar to what it says."""

    def steps(self, seen: Catalog, windows: Windows) -> list[Step]:
        """Return the steps in order: the first is the calendar, the last what `predict` and `predict_areas` return."""


@runtime_checkable
class ReadsFew(Protocol):
    """A forecaster that only some rows can move."""

    def reads(self, seen: Catalog) -> Bool:
        """Return which rows [E] those are: from them alone it says the same, to the bit."""


@runtime_checkable
class DrawsMaps(Protocol):
    """A forecaster that draws maps of a city, or asks one that does."""

    def on_city(self, city: City) -> Forecaster:
        """Return the same, fitted, drawing from another table of its city."""


@runtime_checkable
class _HasLogOdds(Protocol):
    def log_odds(self, seen: Catalog, windows: Windows) -> Float64: ...


def log_odds(forecaster: Forecaster, seen: Catalog, windows: Windows) -> Float64:
    """Return a forecaster's log-odds [S], without a detour through probabilities where it has them."""
    if isinstance(forecaster, _HasLogOdds):
        return forecaster.log_odds(seen, windows)
    return logit(forecaster.predict(seen, windows))


def predictions(forecaster: Forecaster, seen: Catalog, windows: Windows) -> tuple[Float64, Float64 | None]:
    """Return a forecaster's probabilities [S] of the city and [S, N] of the neighborhoods; None if it says no place."""
    if isinstance(forecaster, SaysBoth):
        return forecaster.predict_both(seen, windows)
    areas = forecaster.predict_areas(seen, windows) if isinstance(forecaster, SaysWhere) else None
    return forecaster.predict(seen, windows), areas


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a forecaster is made for."""

    city: City
    seed: int = 0
    """Of a forecaster in which chance has a part."""
    device: str = "cpu"
    """Of networks: cpu, cuda or cuda:1."""
    recipe: Recipe | None = None
    """How networks are trained; the shipped recipe unless given."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A forecaster in the registry."""

    title: str
    make: Callable[[Setting], Forecaster]
    """Return a new one."""
    is_random: bool = False
    """Whether the seed matters: then it is fitted with several."""
    is_network: bool = False
    """Whether it is trained step by step, on maps."""
