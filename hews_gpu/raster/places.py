"""Where and what the incidents of a table are, and which of them no map shows.

Hiding costs nothing when maps are drawn: a hidden incident is moved far outside and belongs to no neighborhood.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from hews_gpu.data.events import Events

__all__ = ["MARKS", "Mark", "Places", "require_range", "require_shape"]

Mark = Literal["targets", "twins", "duplicates"]
MARKS = {"targets": "is_target", "twins": "is_twin", "duplicates": "is_duplicate"}
"""What can be hidden, and the column of the table that says so."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where and what each incident is: all that a map needs to know of the table."""

    longitude: NDArray[np.float64]  # [E] degrees
    latitude: NDArray[np.float64]  # [E] degrees
    category: NDArray[np.integer[Any]]  # [E] index into `categories`
    neighborhood: NDArray[np.integer[Any]]  # [E] -1 for none
    categories: Sequence[str]
    hidden: NDArray[np.bool_] | None = None  # [E] incidents that no map shows, such as repeated rows; None: all shown

    @classmethod
    def of(cls, events: Events, hidden: NDArray[np.bool_] | None = None, *, without: Collection[Mark] = ()) -> Places:
        """The places of a prepared table, hiding what `hidden` says and all incidents marked as in `without`."""
        names = ("longitude", "latitude", "category", "neighborhood", "categories")
        for mark in without:
            if mark not in MARKS:
                raise UserError("without", mark, allowed="is not known", remedy=did_you_mean(mark, MARKS))
            marked = getattr(events, MARKS[mark])
            hidden = marked if hidden is None else hidden | marked
        return cls(**{name: getattr(events, name) for name in names}, hidden=hidden)

    def __post_init__(self) -> None:
        for name in ("longitude", "latitude", "category", "neighborhood", "hidden"):
            column = getattr(self, name)
            if column is not None:
                require_shape(name, column, len(self.longitude))
        require_range("category", self.category, 0, len(self.categories))

    def __len__(self) -> int:
        return len(self.longitude)


def require_shape(name: str, column: NDArray[Any], events: int) -> None:
    """Refuse a column that is not as long as the others."""
    if column.shape != (events,):
        raise ValueError(f"{name}: has shape {column.shape}, must be ({events},) like longitude")


def require_range(name: str, column: NDArray[np.integer[Any]], low: int, end: int) -> None:
    """Refuse whole numbers outside low .. end - 1."""
    if not np.issubdtype(column.dtype, np.integer):
        raise ValueError(f"{name}: has dtype {column.dtype}, must be whole numbers")
    if len(column) and not (low <= int(column.min()) and int(column.max()) < end):
        raise ValueError(f"{name}: holds {int(column.min())}..{int(column.max())}, must be {low}..{end - 1}")
