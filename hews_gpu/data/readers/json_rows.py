"""GeoJSON and JSON tables, one feature or record after the other: a file of any size is never held as a whole.

Understood are GeoJSON FeatureCollections (the pages of an ArcGIS feed or of `hews fetch`), the feed's own JSON
(features with attributes) and plain lists of records; what follows the list may only end the object that holds it.
Numbers keep the digits they are written with. A point gives the longitude and latitude of a row where its properties
have none, or 0 and 0.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from hews_gpu.data.readers.blocks import TEXT, Job, Texts
from hews_gpu.data.readers.csv_rows import open_bytes
from hews_gpu.data.readers.records import CHUNK_BYTES
from hews_gpu.data.readers.schemas import Columns, normal_name
from hews_gpu.errors import UserError

__all__ = ["read_json"]

POINT = ("Longitude", "Latitude")
LOOK_AHEAD = 1000  # records whose columns are looked at: some feeds leave out what is null
READ_BYTES = 1 << 18
MAX_RECORD_BYTES = 1 << 22  # a record of a crime table takes 1 kB; a larger one must not fill memory
LIST_START = re.compile(r'\s*(?:\[|\{.*?"features"\s*:\s*\[)', re.DOTALL)
NULL_NUMBER = re.compile(r"\s*[+-]?0*(?:\.0*)?\s*")
BETWEEN = re.compile(r"[\s,]*")

Row = dict[str, str | None]


def read_json(path: Path, job: Job) -> Texts:
    """Blocks of a GeoJSON or JSON file; `line` is the number of the record, from 1."""
    with open_bytes(path) as stream:
        rows = _rows(stream, job)
        ahead = list(islice(rows, LOOK_AHEAD))
        names = tuple(dict.fromkeys(name for row in ahead for name in row))
        if not ahead:
            raise UserError(job.name, allowed="holds no records", remedy="Remove it or fetch it again")
        columns = job.choose(names)
        block_rows = max(1, min(job.block_rows, job.chunk_bytes * 95_000 // CHUNK_BYTES))
        rows, first = chain(ahead, rows), 1
        while block := list(islice(rows, block_rows)):
            yield _block(block, columns, first)
            first += len(block)


def _block(block: list[Row], columns: Columns, first: int) -> pa.Table:
    content = {
        "line": np.arange(first, first + len(block)),
        "problem": np.zeros(len(block), np.uint8),
    }
    table = pa.table(content)
    for name, position in columns.read.items():
        column = columns.found[position]
        texts = pa.array([row.get(column) or "" for row in block], pa.string())
        table = table.append_column(name, texts.dictionary_encode().cast(TEXT))
    return table


def _rows(stream: BinaryIO, job: Job) -> Iterator[Row]:
    """The records of a file as text by column name, with the coordinates of their points."""
    for item in _items(stream, job):
        if not isinstance(item, dict):
            raise _cut_off(job, "holds something that is no record")
        properties = item.get("properties", item.get("attributes", item))
        if not isinstance(properties, dict | None):
            raise _cut_off(job, "holds a feature whose properties are no record")
        row = {name: _text(value) for name, value in (properties or {}).items()}
        _place(row, _point(item.get("geometry")))
        yield row


def _place(row: Row, point: tuple[str | None, str | None]) -> None:
    """Fill in the point where the row has no coordinates, or those of 0 and 0 that mean there are none."""
    own = [next((key for key in row if normal_name(key) == normal_name(name)), name) for name in POINT]
    is_null = all(NULL_NUMBER.fullmatch(row.get(name) or "") for name in own)
    for name, degrees in zip(own, point, strict=True):
        row[name] = degrees if is_null and degrees else row.get(name) or degrees


def _text(value: Any) -> str | None:
    """A value as the text it is written with."""
    if value is None or isinstance(value, str):
        return _without_surrogates(value) if value else value
    return json.dumps(value)


def _without_surrogates(text: str) -> str:
    """The same without halves of characters, which no output could hold."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode()


def _point(geometry: Any) -> tuple[str | None, str | None]:
    """Longitude and latitude of a point as text; None for anything else."""
    if isinstance(geometry, Mapping):
        place = (
            geometry.get("coordinates") if geometry.get("type") == "Point" else (geometry.get("x"), geometry.get("y"))
        )
        if isinstance(place, list | tuple) and len(place) >= 2 and all(isinstance(c, str) for c in place[:2]):
            return place[0], place[1]
    return None, None


def _items(stream: BinaryIO, job: Job) -> Iterator[Any]:
    """The members of the list of records, decoded one at a time."""
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    text = _Text(stream, job)
    text.position = _start(text, job)
    opening = text.held[: text.position]
    while True:
        text.position = BETWEEN.match(text.held, text.position).end()  # type: ignore[union-attr]  # matches nothing too
        if text.position < len(text.held):
            if text.held[text.position] == "]":
                _require_end(opening, text, job)
                return
            try:
                item, end = decoder.raw_decode(text.held, text.position)
            except RecursionError:
                raise _cut_off(job, "is nested too deeply") from None
            except ValueError as error:
                if len(text.held) - text.position > MAX_RECORD_BYTES:
                    raise _cut_off(job, f"is damaged or holds a record of more than 4 MB ({error})") from None
            else:
                if end < len(text.held):  # a number at the very end may go on
                    yield item
                    text.position = end
                    continue
        if not text.more():
            raise _cut_off(job, "is cut off or damaged: the list of records does not end")


def _require_end(opening: str, text: _Text, job: Job) -> None:
    """Refuse what the list does not hold: rows of a second object or list would be lost without a word."""
    while len(text.held) - text.position <= MAX_RECORD_BYTES and text.more():
        pass
    whole = opening.lstrip() + text.held[text.position :]
    try:
        end = json.JSONDecoder().raw_decode(whole)[1] if text.at_end else 0
    except (RecursionError, ValueError):
        end = 0
    if not end and not text.held[text.position + 1 :].strip():
        raise _cut_off(job, "is cut off: the object around the list of records does not end")
    if not end or whole[end:].strip():
        remedy = "Save it as one object with one list; name several files under [incidents] files"
        raise UserError(job.name, allowed="holds something after the list of records", remedy=remedy)


def _start(text: _Text, job: Job) -> int:
    """Where the list of records begins."""
    while not (found := LIST_START.match(text.held)):
        if len(text.held) > MAX_RECORD_BYTES or not text.more():
            what = "is cut off or " if text.held.lstrip()[:1] in ("{", "[") else ""
            if not text.held.strip():
                raise UserError(job.name, allowed="is empty", remedy="Remove it or fetch it again")
            if _is_record_a_line(text.held):
                allowed = "holds one record a line (NDJSON), which is not read"
                raise UserError(job.name, allowed=allowed, remedy="Write the records as one list in [ ], with commas")
            raise _cut_off(job, f"{what}holds no list of records, such as the features of GeoJSON")
    return found.end()


def _is_record_a_line(text: str) -> bool:
    """Whether a text begins with two objects and no comma between them."""
    text = text.lstrip("\x1e \t\r\n")
    try:
        end = json.JSONDecoder().raw_decode(text)[1]
    except (RecursionError, ValueError):
        return False
    return text.startswith("{") and text[end:].lstrip("\x1e \t\r\n").startswith("{")


class _Text:
    """The text of a stream, held from the current record on."""

    def __init__(self, stream: BinaryIO, job: Job) -> None:
        self.stream, self.job = stream, job
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
            raise _cut_off(self.job, f"is not UTF-8 text ({error.reason} at byte {error.start})") from None
        self.position = 0
        return True


def _cut_off(job: Job, allowed: str) -> UserError:
    return UserError(job.name, allowed=allowed, remedy="Fetch or save it again")
