"""CSV files, plain or gzip: every line of the file is in one row, numbered, whatever is on it.

Text is UTF-8. A record that is not is taken as Windows-1252, the common superset of Latin-1, record by record, so that
the result does not depend on where a file is cut. UTF-16 is recognized by its byte order mark.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from hews_gpu.arrays import Bool
from hews_gpu.data.readers import records
from hews_gpu.data.readers.dictionary_column import TEXT
from hews_gpu.data.readers.records import GOOD, Counted, Records
from hews_gpu.data.readers.schemas import Columns, OpenTable, ReadSettings, Stretch
from hews_gpu.errors import UserError

__all__ = ["CsvTable", "is_plain", "open_bytes", "open_csv", "open_stream"]

HEADER_BYTES = 1 << 16
"""Read at a time until the header's end is found."""
PEEKED_ROWS = 20
"""Below the header, that tell whether rows end with a comma of their own."""
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = {";": "semicolons (;)", "\t": "tabs", "|": "bars (|)"}
NOT_UTF8 = "rows that are not UTF-8, read as Windows-1252"
ZERO_BYTES = "zero bytes in rows, left out"


@contextmanager
def open_csv(path: Path, name: str, settings: ReadSettings) -> Iterator[CsvTable]:
    """Open a CSV file and read its header."""
    with open_bytes(path) as file:
        yield open_stream(file, name, settings)


def open_stream(file: BinaryIO, name: str, settings: ReadSettings) -> CsvTable:
    """Read the header of CSV text, and return the open table.

    Raises:
        UserError: it is empty, or its header is none.
    """
    stream = Counted(file)
    names, begun, line = _header(stream, name, settings.chunk_bytes)
    return CsvTable(name=name, settings=settings, names=names, stream=stream, begun=begun, first_line=line)


@dataclass(kw_only=True)
class CsvTable(OpenTable):
    """An open CSV file; `line` of a row is the line on which its record starts, the header being line 1."""

    stream: Counted
    begun: bytes
    """What was read beyond the header."""
    first_line: int
    """Number of the line below the header."""

    def cut(self, most_bytes: int) -> Iterator[Stretch]:
        """Count the records without looking at what they hold, and cut the file into stretches of so many bytes."""
        begin, first_line, rows, is_simple = self.stream.position - len(self.begun), self.first_line, 0, True
        for chunk in self._records(self.begun, first_line):
            if rows and chunk.offset - begin >= most_bytes:
                yield Stretch(begin, chunk.offset, first_line, rows, is_simple)
                begin, first_line, rows, is_simple = chunk.offset, int(chunk.line[0]), 0, True
            rows += len(chunk)
            is_simple &= chunk.is_simple
        if rows:
            yield Stretch(begin, self.stream.position, first_line, rows, is_simple)

    def blocks(self, columns: Columns, part: Stretch | None = None) -> Iterator[pa.Table]:
        """Read the file, or a stretch of it if it is plain: the same rows and lines in either case."""
        if part is None:
            chunks = self._records(self.begun, self.first_line)
        else:
            self.stream.jump(part.begin, part.end)
            chunks = self._records(b"", part.first, is_simple=part.is_simple)
        most = self.settings.block_rows
        for chunk in chunks:
            for begin in range(0, len(chunk), most):
                yield self._parse(chunk.part(begin, min(begin + most, len(chunk))), columns)

    def _records(self, begun: bytes, first_line: int, *, is_simple: bool = False) -> Iterator[Records]:
        fields, chunk_bytes = len(self.names), self.settings.chunk_bytes
        return records.iter_records(
            self.stream, fields, begun=begun, first_line=first_line, chunk_bytes=chunk_bytes, is_simple=is_simple
        )

    def _parse(self, part: Records, columns: Columns) -> pa.Table:
        """Return line, problem and the chosen columns as text, one row per record; null where there is a problem."""
        problem, rows = part.problem.copy(), np.flatnonzero(part.problem == GOOD)
        wrong: list[int] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            wrong.append(row.number)
            return "skip"

        texts = None
        if len(rows):
            texts = _parse_csv(self._utf8(part), columns, skip)
            wrong_rows = np.array(wrong, np.int64) - 1
            problem[rows[wrong_rows]] = records.WRONG_FIELDS
            rows = np.delete(rows, wrong_rows)
            assert len(texts) == len(rows), "the CSV parser and the record splitter disagree"
            is_header = _repeats_header(texts, columns)
            if is_header.any():  # as files glued together have it
                problem[rows[is_header]] = records.REPEATED_HEADER
                texts = texts.filter(pa.array(~is_header))
        good = problem == GOOD
        content = {"line": pa.array(part.line), "problem": pa.array(problem)}
        for name, position in columns.read.items():
            column = pa.nulls(0, TEXT) if texts is None else texts[f"c{position}"].combine_chunks()
            content[name] = column if good.all() else column.take(pa.array(np.cumsum(good) - 1, mask=~good))
        return pa.table(content)

    def _utf8(self, part: Records) -> bytes:
        """Return the good records of a part as UTF-8."""
        data = part.good_bytes()
        if zeros := data.count(b"\0"):
            self.noticed[ZERO_BYTES] += zeros
            data = data.replace(b"\0", b"")
        if data.isascii():
            return data
        try:
            data.decode("utf-8")
            return data
        except UnicodeDecodeError:
            lines = [part.data[begin:end].replace(b"\0", b"") for begin, end in part.good_spans()]
            texts = [_decode(line).encode() for line in lines]
            self.noticed[NOT_UTF8] += sum(text != line for text, line in zip(texts, lines, strict=True))
            return b"\n".join(texts)


def _parse_csv(data: bytes, columns: Columns, skip: Callable[[pyarrow.csv.InvalidRow], str]) -> pa.Table:
    names = [f"c{position}" for position in range(len(columns.names))]
    chosen = [names[position] for position in dict.fromkeys(columns.read.values())]
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
        parse_options=pyarrow.csv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=chosen, column_types=dict.fromkeys(chosen, TEXT), strings_can_be_null=False
        ),
    )


def _repeats_header(texts: pa.Table, columns: Columns) -> Bool:
    """Return which rows hold the column's own name in every column with a role."""
    is_header = np.full(len(texts), bool(columns.roles))
    for position in columns.roles.values():
        column = texts[f"c{position}"].combine_chunks()
        code = pc.index(column.dictionary, columns.names[position]).as_py()
        if code < 0:
            return np.zeros(len(texts), bool)
        is_header &= column.indices.to_numpy() == code
    return is_header


def is_plain(path: Path) -> bool:
    """Return whether the bytes of a file are its text: neither gzip nor UTF-16."""
    with path.open("rb") as file:
        begin = file.read(2)
    return begin != GZIP_MAGIC and begin not in UTF16_MARKS


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for its bytes as UTF-8, unpacked if they are gzip, whatever its name says."""
    with path.open("rb") as raw:
        is_packed = raw.read(2) == GZIP_MAGIC
    file = cast(BinaryIO, gzip.open(path, "rb") if is_packed else path.open("rb"))
    mark = file.read(2)
    file.seek(0)
    return cast(BinaryIO, _Utf16(file)) if mark in UTF16_MARKS else file


class _Utf16(io.RawIOBase):
    """UTF-16 bytes read as UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self.text = io.TextIOWrapper(file, encoding="utf-16", errors="replace", newline="")

    def read(self, size: int = -1) -> bytes:
        return self.text.read(size).encode("utf-8", errors="replace")

    def close(self) -> None:
        self.text.close()
        super().close()


def _header(stream: Counted, name: str, chunk_bytes: int) -> tuple[tuple[str, ...], bytes, int]:
    """Read the column names; return them, the bytes read beyond them, and the number of the line these start."""
    data, at_end = b"", False
    filled: list[int] = []
    while not at_end and len(data) <= records.MAX_LINE_BYTES and len(filled) <= PEEKED_ROWS:
        chunk = records.read_chunk(stream, min(chunk_bytes, HEADER_BYTES))
        data, at_end = data + chunk, not chunk
        starts, stops, nexts = records.lines_of(data, at_end)
        filled = [i for i, (a, b) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)) if data[a:b].strip()]
    if filled:
        lines = [data[starts[i] : stops[i]] for i in filled[: PEEKED_ROWS + 1]]
        names = _names(lines[0], name)
        commas = sum(line.endswith(b",") and records.count_fields(line) == len(names) + 1 for line in lines[1:])
        if 2 * commas > len(lines) - 1:  # rows end with a comma that the header lacks
            names = (*names, "")
        return names, data[int(nexts[filled[0]]) :], filled[0] + 2
    if at_end:
        raise UserError(name, allowed="is empty", remedy="Remove it or fetch it again")
    raise UserError(name, allowed="has no header line", remedy="The first line must hold the column names")


def _names(header: bytes, name: str) -> tuple[str, ...]:
    if b"\0" in header:
        allowed = "must be text; it holds zero bytes, as UTF-16 without a byte order mark does, or is no text at all"
        raise UserError(name, allowed=allowed, remedy="Save it as UTF-8")
    if records.count_fields(header) is None:
        raise UserError(name, allowed="has a header line with a quote that is not closed", remedy="Correct line 1")
    text = _decode(header).removeprefix("\ufeff")
    try:
        names = tuple(next(csv.reader([text])))
        fields = {delimiter: len(next(csv.reader([text], delimiter=delimiter))) for delimiter in DELIMITERS}
    except csv.Error as error:
        allowed = f"has a header line that cannot be read ({error})"
        raise UserError(name, allowed=allowed, remedy="The first line must hold the column names") from None
    other = max(fields, key=lambda delimiter: fields[delimiter])
    if fields[other] >= max(3, 2 * len(names)):
        allowed = f"separates its fields with {DELIMITERS[other]}, where commas are needed"
        raise UserError(name, allowed=allowed, remedy="Save it as a table with commas")
    return names


def _decode(data: bytes) -> str:
    """Return the text of one record: UTF-8, or else Windows-1252, in which every byte but five is a letter."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
