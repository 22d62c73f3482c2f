"""Tables of a feed, read in pages by key, and which of their columns are asked for.

Pages go by key (all rows whose key is larger than the last one seen, in the order of the key), not by offset: a row
that is added or removed while the table is read shifts every later offset, so that rows would be lost or doubled.

The columns asked for are a short list of those that say when, where and what, and never who. Open crime tables carry
columns on the victim's age, sex and race. They are not asked for, so that they never reach this machine; nor is any
other column that nothing here reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hews_gpu.data.readers.schemas import is_person_level, normal_name
from hews_gpu.errors import UserError
from hews_gpu.fetch.client import Answer, Client, Endpoint, require

__all__ = ["Key", "Table", "TablePage", "choose_fields", "collection_page", "require_collection"]

Key = int | str


@dataclass(frozen=True, kw_only=True)
class TablePage:
    """Consecutive rows of a table."""

    url: str
    body: bytes
    """As it is written to disk."""
    keys: Sequence[Key] = field(repr=False)
    """One per row, in the order of the rows."""

    @property
    def rows(self) -> int:
        """How many rows the page holds."""
        return len(self.keys)


class Table(ABC):
    """One table of a feed, opened.

    Args:
        client: sends the requests.
        endpoint: the table's address and the key of the city file that holds it.
        choose: picks the columns to ask for among all that the table has.
        where: filter in the feed's own language; empty for all rows.
        page_rows: rows per page, if the feed allows as many.

    Raises:
        UserError: not a table, or one that cannot be paged.
    """

    suffix: str
    """Of a page's file name."""
    address: str
    key: str
    """Name of the column that pages go by."""
    fields: Sequence[str]
    """Columns asked for."""
    left_out: Sequence[str]
    """Columns that the feed has and that are not asked for."""
    time_zone: str
    """What the feed states of the zone of its dates; empty where it states none."""
    edited: str
    """A mark that changes whenever the table does, as of opening; empty where the feed has none."""

    def __init__(
        self,
        client: Client,
        endpoint: Endpoint,
        *,
        choose: Callable[[Sequence[str]], Sequence[str]],
        where: str = "",
        page_rows: int = 2000,
    ) -> None:
        self.client, self.endpoint, self.where, self.page_rows = client, endpoint, where, page_rows
        names = self._open()
        self.fields = [self.key, *(name for name in choose(names) if name != self.key)]
        self.left_out = [name for name in names if name not in self.fields]

    @abstractmethod
    def _open(self) -> list[str]:
        """Ask what the table is, set `address`, `key` and `edited`, and return the names of all columns."""

    @abstractmethod
    def count(self) -> int:
        """Return how many rows the feed says there are."""

    @abstractmethod
    def edited_now(self) -> str:
        """Ask for `edited` again."""

    @abstractmethod
    def page(self, after: Key | None) -> TablePage:
        """Return the rows with the smallest keys above `after`; without rows at the end of the table."""


def require_collection(content: Any) -> list[Mapping[str, Any]]:
    """Return the features of a GeoJSON FeatureCollection, or of ArcGIS's own JSON.

    Raises:
        RequestError: it is something else.
    """
    parts = {"properties?": dict, "attributes?": dict, "geometry?": {"rings?": [[list]]}}
    require(content, {"features": [parts]}, "answered with JSON that holds no features", "always")
    features: list[Mapping[str, Any]] = content["features"]
    return features


def collection_page(answer: Answer, content: Any) -> TablePage:
    """Return a whole GeoJSON file, of which `content` is the JSON, as a page."""
    return TablePage(url=answer.url, body=answer.body, keys=range(len(require_collection(content))))


TIME = "CrimeDateTime CrimeDate CrimeTime Date Time Occurred_Date Occurrence_Date Date_Occ Time_Occ Date_of_Occurrence"
CATEGORY = "Description Primary_Type CrimeCode IUCR Category Offense Offense_Type"
OTHER = (
    "Longitude Latitude Location Block Address Neighborhood District Old_District New_District Post Community_Area "
    "Shooting Inside_Outside Premise PremiseType Weapon Location_Description Total_Incidents Case_Number CCNumber"
)
TIMES, CATEGORIES, OTHERS = (frozenset(map(normal_name, names.split())) for names in (TIME, CATEGORY, OTHER))


def choose_fields(names: Sequence[str], *, columns: Mapping[str, str], field: str) -> list[str]:
    """Choose the columns of a feed to ask for, in the feed's order: the known ones, and those the city file names.

    Raises:
        UserError: no column is known to hold the time or the category.
    """
    own = {role: normal_name(name) for role, name in columns.items()}
    wanted = {*TIMES, *CATEGORIES, *OTHERS, *own.values()}
    chosen = [name for name in names if normal_name(name) in wanted and not is_person_level(name)]
    present = set(map(normal_name, chosen))
    times = {*TIMES, *(own[role] for role in ("time", "date") if role in own)}
    categories = {*CATEGORIES, *(own[role] for role in ("category",) if role in own)}
    for role, known in (("time", times), ("category", categories)):
        if not present & known:
            allowed = f"none of its columns is known to hold the {role}; it has {', '.join(names[:40]) or 'none'}"
            raise UserError(field, allowed=allowed, remedy=f'Name it: [incidents.columns] {role} = "COLUMN"')
    return chosen
