"""CSV files, plain or gzip: every line of the file is in one row, numbered, whatever is on it.

Text is UTF-8. A record that is not is taken as Windows-1252, the common superset of Latin-1, record by record, so that
the result does not depend on where a file is cut. UTF-16 is recognized by its byte order mark.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv

from hews_gpu.data.readers import records
from hews_gpu.data.readers.blocks import TEXT, Job, Texts, spread, without_headers
from hews_gpu.data.readers.records import Counted, Records
from hews_gpu.data.readers.schemas import Columns
from hews_gpu.errors import UserError

__all__ = ["Stretch", "is_plain", "open_bytes", "read_csv", "read_stretch", "scan_csv"]

HEADER_BYTES = 1 << 16
"""Read at a time until the header's end is found."""
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = {";": "semicolons (;)", "\t": "tabs", "|": "bars (|)"}
NOT_UTF8 = "rows that are not UTF-8, read as Windows-1252"


@dataclass(frozen=True)
class Stretch:
    """Some records of a CSV file that follow each other."""

    begin: int
    """First byte, of the text as it is once unpacked; a record starts there."""
    end: int
    """First byte beyond."""
    first_line: int
    rows: int
    is_simple: bool
    """Whether each line of it is a record whose quotes close: this need not be found out again."""


def read_csv(path: Path, job: Job) -> Texts:
    """Blocks of a CSV file; `line` is the line on which the record starts, the header being line 1."""
    with open_bytes(path) as stream:
        counted = Counted(stream)
        found, begun, line = _header(counted, job)
        columns = job.choose(found)
        yield from _blocks(counted, columns, job, begun=begun, first_line=line)


def scan_csv(path: Path, job: Job, stretch_bytes: int, copy: BinaryIO | None = None) -> Iterator[Stretch]:
    """Count the records of a CSV file without looking at what they hold, and cut it into stretches of whole records.

    Args:
        path: the file.
        job: how it is read; `job.choose` is told the column names before the first stretch is given.
        stretch_bytes: how long a stretch should be.
        copy: what the unpacked text is written to as well.
    """
    with open_bytes(path) as stream:
        counted = Counted(stream, copy=copy)
        found, begun, line = _header(counted, job)
        job.choose(found)
        begin, first_line, rows, is_simple = counted.position - len(begun), line, 0, True
        chunks = records.iter_records(counted, len(found), begun=begun, first_line=line, chunk_bytes=job.chunk_bytes)
        for chunk in chunks:
            if rows and chunk.offset - begin >= stretch_bytes:
                yield Stretch(begin, chunk.offset, first_line, rows, is_simple)
                begin, first_line, rows, is_simple = chunk.offset, int(chunk.line[0]), 0, True
            rows += len(chunk)
            is_simple &= chunk.is_simple
        if rows:
            yield Stretch(begin, counted.position, first_line, rows, is_simple)


def read_stretch(path: Path, stretch: Stretch, columns: Columns, job: Job) -> Texts:
    """Blocks of one stretch of a plain CSV file: the same rows and lines as if the whole file were read."""
    with path.open("rb") as file:
        file.seek(stretch.begin)
        counted, line = Counted(cast(BinaryIO, _Part(file, stretch))), stretch.first_line
        yield from _blocks(counted, columns, job, first_line=line, is_simple=stretch.is_simple)


class _Part(io.RawIOBase):
    """The bytes of a file from where it stands up to the end of a stretch."""

    def __init__(self, file: BinaryIO, stretch: Stretch) -> None:
        self.file, self.left = file, stretch.end - stretch.begin

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(chunk)
        return chunk


def _blocks(
    stream: Counted, columns: Columns, job: Job, *, begun: bytes = b"", first_line: int, is_simple: bool = False
) -> Texts:
    chunks = records.iter_records(
        *(stream, len(columns.found)),
        begun=begun,
        first_line=first_line,
        chunk_bytes=job.chunk_bytes,
        is_simple=is_simple,
    )
    for chunk in chunks:
        for begin in range(0, len(chunk), job.block_rows):
            yield _parse(chunk.part(begin, min(begin + job.block_rows, len(chunk))), columns, job)


def is_plain(path: Path) -> bool:
    """Whether the bytes of a file are its text: neither gzip nor UTF-16."""
    with path.open("rb") as file:
        begin = file.read(2)
    return begin != GZIP_MAGIC and begin not in UTF16_MARKS


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of a file as UTF-8, unpacked if they are gzip, whatever its name says."""
    file = path.open("rb")
    packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    if packed:
        file.close()
        file = cast(io.BufferedReader, gzip.open(path, "rb"))
    if file.read(2) not in UTF16_MARKS:
        file.seek(0)
        return file
    file.seek(0)
    return cast(BinaryIO, _Utf16(file))


class _Utf16(io.RawIOBase):
    """UTF-16 bytes read as UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self.text = io.TextIOWrapper(file, encoding="utf-16", errors="replace", newline="")

    def read(self, size: int = -1) -> bytes:
        return self.text.read(size).encode("utf-8", errors="replace")

    def close(self) -> None:
        self.text.close()
        super().close()


def _header(stream: Counted, job: Job) -> tuple[tuple[str, ...], bytes, int]:
    """Column names, the bytes read beyond them, and the number of the line these start."""
    data, at_end, name = b"", False, job.name
    while not at_end and len(data) <= records.MAX_LINE_BYTES:
        chunk = records.read_chunk(stream, min(job.chunk_bytes, HEADER_BYTES))
        data, at_end = data + chunk, not chunk
        starts, stops, nexts = records.lines_of(data, at_end)
        for line, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            if data[start:stop].strip():
                return _names(data[start:stop], name), data[int(nexts[line]) :], line + 2
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
    """Text of one record: UTF-8, or else Windows-1252, in which every byte but five is a letter."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _parse(part: Records, columns: Columns, job: Job) -> pa.Table:
    """Line, problem and the chosen columns as text, one row per record; no text where there is a problem."""
    good = part.problem == records.GOOD
    wrong: list[int] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append(row.number)
        return "skip"

    texts = _parse_csv(_utf8(part, job), columns, note) if good.any() else None
    problem = part.problem.copy()
    problem[np.flatnonzero(good)[np.array(wrong, np.int64) - 1]] = records.WRONG_FIELDS
    good = problem == records.GOOD
    table = pa.table({"line": part.line, "problem": problem})
    if texts is not None:
        assert len(texts) == good.sum(), "the CSV parser and the record splitter disagree"
    for name, position in columns.read.items():
        column = pa.nulls(0, TEXT) if texts is None else texts[f"c{position}"].combine_chunks()
        table = table.append_column(name, spread(column, good))
    return without_headers(table, columns)


def _utf8(part: Records, job: Job) -> bytes:
    """The good records of a part as UTF-8."""
    data = part.good_bytes()
    if data.isascii():
        return data
    try:
        data.decode("utf-8")
        return data
    except UnicodeDecodeError:
        pieces = []
        for begin, end in part.good_spans():
            piece = part.data[begin:end]
            text = _decode(piece).encode()
            job.noticed[NOT_UTF8] += text != piece
            pieces.append(text)
        return b"\n".join(pieces)


def _parse_csv(data: bytes, columns: Columns, note: Callable[[pyarrow.csv.InvalidRow], str]) -> pa.Table:
    names = [f"c{position}" for position in range(len(columns.found))]
    chosen = [names[position] for position in dict.fromkeys(columns.read.values())]
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
        parse_options=pyarrow.csv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=chosen, column_types=dict.fromkeys(chosen, TEXT), strings_can_be_null=False
        ),
    )
