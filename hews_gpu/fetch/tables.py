"""What every feed protocol offers: a table that can be counted and read in pages by key.

Pages go by key (all rows whose key is larger than the last one seen, in the order of the key), not by offset: a row
that is added or removed while the table is read shifts every later offset, so that rows would be lost or doubled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hews_gpu.fetch.client import Refused

__all__ = ["Key", "Page", "Table", "require_collection"]

Key = int | str


@dataclass(frozen=True, kw_only=True)
class Page:
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


class Table(Protocol):
    """One table of a feed, opened."""

    address: str
    suffix: str
    key: str
    """Name of the column that pages go by."""
    fields: Sequence[str]
    """Columns asked for."""
    left_out: Sequence[str]
    """Columns that the feed has and that are not asked for."""
    edited: str
    """A mark that changes whenever the table does, as of opening; empty where the feed has none."""

    def count(self) -> int:
        """How many rows the feed says there are."""

    def edited_now(self) -> str:
        """`edited`, asked anew."""

    def page(self, after: Key | None) -> Page:
        """The rows with the smallest keys above `after`; without rows at the end of the table."""


def require_collection(content: Any) -> list[Mapping[str, Any]]:
    """The features of a GeoJSON FeatureCollection.

    Raises:
        Refused: it is something else.
    """
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not all(map(_is_feature, features)):
        raise Refused("answered with JSON that holds no features", again="always")
    return features


def _is_feature(feature: Any) -> bool:
    """Whether `feature` has the form of a GeoJSON feature, or of one in ArcGIS's own JSON."""
    parts = ("properties", "attributes", "geometry")
    return isinstance(feature, dict) and all(isinstance(feature.get(part) or {}, dict) for part in parts)
