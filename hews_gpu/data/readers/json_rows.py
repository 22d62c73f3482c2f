"""GeoJSON and JSON tables, one feature or record after the other: a file of any size is never held as a whole.

Understood are GeoJSON FeatureCollections (the pages of an ArcGIS feed or of `hews fetch`), the feed's own JSON
(features with attributes), plain lists of records, and the whole answers of other feeds, which hold such a list under
one of LISTS; what follows the list may only end the objects that hold it. An answer that says itself that there is more
than it holds is a page, not a table: this is noticed. Objects of NENA EIDO-JSON may stand in a list, one a line, or
alone; one a line, a broken object costs itself only, and of the messages on one incident the first counts.
Numbers keep the digits they are written with. A point gives the longitude and latitude of a row where its properties
have none, or 0 and 0.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from hews_gpu.data.readers.csv_rows import open_bytes
from hews_gpu.data.readers.dictionary_column import TEXT
from hews_gpu.data.readers.eido import EIDO_KEY, eido_row, incident_id, is_eido
from hews_gpu.data.readers.records import CHUNK_BYTES, GOOD, LATER_MESSAGE, NO_OBJECT
from hews_gpu.data.readers.schemas import Columns, OpenTable, ReadSettings, Stretch, normal_name
from hews_gpu.errors import UserError

__all__ = ["A_PART", "MORE", "JsonTable", "open_json"]

POINT = ("Longitude", "Latitude")
BROKEN = object()
"""What stands for a record that is no JSON."""
LOOK_AHEAD = 1000  # records whose columns are looked at: some feeds leave out what is null
READ_BYTES = 1 << 18
MAX_RECORD_BYTES = 1 << 22  # a record of a crime table takes 1 kB; a larger one must not fill memory
ROWS_PER_CHUNK = 95_000  # of a block, where CHUNK_BYTES are read at a time
LISTS = ("features", "records", "rows", "results", "result", "data", "items", "value")
"""Under what ArcGIS and GeoJSON, CKAN, Carto, Opendatasoft, others and OData give their list of records."""
LIST_START = re.compile(rf'\s*(?:\[|\{{.*?"(?:{"|".join(LISTS)})"\s*:\s*\[)', re.DOTALL)
TOTALS = ("total", "total_rows", "total_count", "nhits", "numberMatched")  # rows of which an answer may be a part
PAGE = re.compile(r".*-\d{5}\.[a-z.]+")  # as `hews fetch` names its files: the others of the table are there, too
MORE = "rows more are in the feed, by what the file itself says: it is a part of the table"
A_PART = "rows are not all, by what the file itself says: it is a part of the table"
NULL_NUMBER = re.compile(r"\s*[+-]?0*(?:\.0*)?\s*")
BETWEEN = re.compile(r"[\s,]*")

NEXT_OBJECT = re.compile(r"[\r\n]\s*(?={)")  # in a file of objects one after the other

Row = dict[str, str | None]
Numbered = tuple[int, Row]
"""A row with its problem, an index into `records.PROBLEMS`."""


@contextmanager
def open_json(path: Path, name: str, settings: ReadSettings) -> Iterator[JsonTable]:
    """Open a GeoJSON or JSON file and look at its first records."""
    noticed: Counter[str] = Counter()
    with open_bytes(path) as stream:
        rows = read_rows(stream, name, noticed, first_message_only=settings.is_citywide)
        ahead = list(islice(rows, LOOK_AHEAD))
        if not ahead:
            raise UserError(name, allowed="holds no records", remedy="Remove it or fetch it again")
        names = tuple(dict.fromkeys(column for _, row in ahead for column in row))
        yield JsonTable(name=name, settings=settings, names=names, noticed=noticed, rows=chain(ahead, rows))


@dataclass(kw_only=True)
class JsonTable(OpenTable):
    """An open JSON file, of whose columns those of its first records are known; `line` of a row is its number."""

    rows: Iterator[Numbered]

    def blocks(self, columns: Columns, part: Stretch | None = None) -> Iterator[pa.Table]:
        """Read the file; it has no parts."""
        most = max(1, min(self.settings.block_rows, self.settings.chunk_bytes * ROWS_PER_CHUNK // CHUNK_BYTES))
        first = 1
        while block := list(islice(self.rows, most)):
            problems = np.array([problem for problem, _ in block], np.uint8)
            content = {"line": np.arange(first, first + len(block)), "problem": problems}
            for name, position in columns.read.items():
                texts = pa.array([row.get(columns.names[position]) or "" for _, row in block], pa.string())
                content[name] = texts.dictionary_encode().cast(TEXT)
            yield pa.table(content)
            first += len(block)


def read_rows(
    stream: BinaryIO, name: str, noticed: Counter[str], *, first_message_only: bool = False
) -> Iterator[Numbered]:
    """Read the records of a file as text by column name, with the coordinates of their points.

    Of several messages on an incident the first can be taken alone; those of tables with places are told apart later,
    over all files.
    """
    told: set[str] = set()
    for item in _items(_Text(stream, name), noticed):
        if item is BROKEN:
            yield NO_OBJECT, {}
            continue
        if isinstance(item, dict) and is_eido(item):
            incident = incident_id(item)
            yield LATER_MESSAGE if incident in told else GOOD, eido_row(item)
            told |= {incident} - {""} if first_message_only else set()
            continue
        if isinstance(item, list):
            allowed = "holds rows without column names, as the whole export of a Socrata feed does (rows.json)"
            raise UserError(name, allowed=allowed, remedy="Fetch it as CSV or GeoJSON")
        if not isinstance(item, dict):
            raise _damaged(name, "holds something that is no record")
        fields = item.get("fields")  # of a record of Opendatasoft
        own = fields if isinstance(fields, dict) else item
        properties = item.get("properties", item.get("attributes", own))
        if not isinstance(properties, dict | None):
            raise _damaged(name, "holds a feature whose properties are no record")
        row = {column: _text(value) for column, value in (properties or {}).items()}
        _add_point(row, _point(item.get("geometry")))
        yield GOOD, row


def _add_point(row: Row, point: tuple[str | None, str | None]) -> None:
    """Fill in the point where the row has no coordinates, or those of 0 and 0 that mean there are none."""
    own = [next((key for key in row if normal_name(key) == normal_name(name)), name) for name in POINT]
    is_null = all(NULL_NUMBER.fullmatch(row.get(name) or "") for name in own)
    for name, degrees in zip(own, point, strict=True):
        row[name] = degrees if is_null and degrees else row.get(name) or degrees


def _text(value: Any) -> str | None:
    """Return a value as the text it is written with, without halves of characters, which no output could hold."""
    if value is None or isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode() if value and not value.isascii() else value
    return json.dumps(value)


def _point(geometry: Any) -> tuple[str | None, str | None]:
    """Return longitude and latitude of a point as text; None for anything else."""
    if isinstance(geometry, Mapping):
        is_point = geometry.get("type") == "Point"
        place = geometry.get("coordinates") if is_point else (geometry.get("x"), geometry.get("y"))
        if isinstance(place, list | tuple) and len(place) >= 2 and all(isinstance(c, str) for c in place[:2]):
            return place[0], place[1]
    return None, None


class _Text:
    """The text of a stream, held from the current record on."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream, self.name = stream, name
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.held, self.position, self.at_end = "", 0, False

    def more(self) -> bool:
        """Read on; False at the end of the stream."""
        if self.at_end:
            return False
        chunk = self.stream.read(READ_BYTES)
        self.at_end = not chunk
        try:
            self.held = self.held[self.position :] + self.decoder.decode(chunk, final=self.at_end)
        except UnicodeDecodeError as error:
            raise _damaged(self.name, f"is not UTF-8 text ({error.reason} at byte {error.start})") from None
        self.position = 0
        return True


def _items(text: _Text, noticed: Counter[str]) -> Iterator[Any]:
    """Decode the members of the list of records one at a time."""
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    text.position = _start(text)
    if not text.position:
        yield from _objects_in_a_row(text, decoder)
        return
    opening, count = text.held[: text.position], 0
    while True:
        text.position = BETWEEN.match(text.held, text.position).end()  # type: ignore[union-attr]  # matches nothing too
        if text.position < len(text.held):
            if text.held[text.position] == "]":
                around = _require_end(opening, text)
                if not PAGE.fullmatch(text.name):
                    _notice_more(around, count, noticed)
                return
            try:
                item, end = decoder.raw_decode(text.held, text.position)
            except RecursionError:
                raise _damaged(text.name, "is nested too deeply") from None
            except ValueError as error:
                if len(text.held) - text.position > MAX_RECORD_BYTES:
                    allowed = f"is damaged or holds a record of more than 4 MB ({error})"
                    raise _damaged(text.name, allowed) from None
            else:
                if end < len(text.held):  # a number at the very end may go on
                    yield item
                    count += 1
                    text.position = end
                    continue
        if not text.more():
            raise _damaged(text.name, "is cut off or damaged: the list of records does not end")


def _objects_in_a_row(text: _Text, decoder: json.JSONDecoder) -> Iterator[Any]:
    """Decode objects that follow one another without a list around them; BROKEN for each that is none.

    Where one cannot be decoded, the next begins with the next line that begins with a brace.
    """
    while True:
        text.position = BETWEEN.match(text.held, text.position).end()  # type: ignore[union-attr]  # matches nothing too
        if text.position == len(text.held):
            if not text.more():
                return
            continue
        following = NEXT_OBJECT.search(text.held, text.position)
        try:
            item, text.position = decoder.raw_decode(text.held, text.position)
            yield item if isinstance(item, dict) else BROKEN
        except (RecursionError, ValueError):
            if following is None and len(text.held) - text.position <= MAX_RECORD_BYTES and text.more():
                continue
            yield BROKEN
            text.position = len(text.held) if following is None else following.end()


def _start(text: _Text) -> int:
    """Read up to the list of records, and return where it begins; 0 where objects of EIDO-JSON stand without a list."""
    while not (start := LIST_START.match(text.held)):
        if text.held.lstrip().startswith("{") and EIDO_KEY.search(text.held):
            return 0
        if len(text.held) > MAX_RECORD_BYTES or not text.more():
            what = "is cut off or " if text.held.lstrip()[:1] in ("{", "[") else ""
            if not text.held.strip():
                raise UserError(text.name, allowed="is empty", remedy="Remove it or fetch it again")
            if _is_record_a_line(text.held):
                allowed = "holds one record a line (NDJSON), which is not read"
                remedy = "Write the records as one list in [ ], with commas"
                raise UserError(text.name, allowed=allowed, remedy=remedy)
            raise _damaged(text.name, f"{what}holds no list of records, such as the features of GeoJSON")
    key = EIDO_KEY.search(text.held)
    is_object = text.held.lstrip().startswith("{")
    return 0 if is_object and key and key.start() < start.end() else start.end()


def _require_end(opening: str, text: _Text) -> Any:
    """Return what is around the list; refuse another one in it or after it: its rows would be lost without a word."""
    while len(text.held) - text.position <= MAX_RECORD_BYTES and text.more():
        pass
    whole = opening.lstrip() + text.held[text.position :]
    end = _end_of_value(whole) if text.at_end else 0
    if not end and not text.held[text.position + 1 :].strip():
        raise _damaged(text.name, "is cut off: the object around the list of records does not end")
    if not end or whole[end:].strip():
        remedy = "Save it as one object with one list; name several files under [incidents] files"
        raise UserError(text.name, allowed="holds something after the list of records", remedy=remedy)
    around = json.loads(whole)
    others = [key for about in _objects(around) for key in LISTS if isinstance(about.get(key), list) and about[key]]
    if others:
        allowed = f"holds more than one list, such as '{others[0]}', of which only one can be the table"
        raise UserError(text.name, allowed=allowed, remedy="Save the one that is meant as a file of its own")
    return around


def _objects(value: Any, depth: int = 4) -> Iterator[dict[str, Any]]:
    """Give a JSON object and those within it, but for what lies in lists."""
    if isinstance(value, dict) and depth:
        yield value
        for inner in value.values():
            yield from _objects(inner, depth - 1)


def _notice_more(around: Any, count: int, noticed: Counter[str]) -> None:
    """Notice where the object that holds the list says that this is only a part of the rows."""
    for about in _objects(around):
        if not any(about.get(key) == [] for key in LISTS):
            continue
        if any(
            isinstance(of, dict) and of.get("exceededTransferLimit") is True for of in (about, about.get("properties"))
        ):
            noticed[A_PART] = count
        totals = [about[key] for key in TOTALS if isinstance(about.get(key), int)]
        if totals and max(totals) > count:
            noticed[MORE] = max(totals) - count


def _is_record_a_line(text: str) -> bool:
    """Return whether a text begins with two objects and no comma between them."""
    text = text.lstrip("\x1e \t\r\n")
    end = _end_of_value(text)
    return bool(end) and text.startswith("{") and text[end:].lstrip("\x1e \t\r\n").startswith("{")


def _end_of_value(text: str) -> int:
    """Return where the JSON value that a text begins with ends; 0 if it begins with none."""
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except (RecursionError, ValueError):
        return 0


def _damaged(name: str, allowed: str) -> UserError:
    return UserError(name, allowed=allowed, remedy="Fetch or save it again")
