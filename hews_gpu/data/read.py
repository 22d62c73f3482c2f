"""The incident files, as blocks of text columns in a scratch folder: bounded memory, any size of file, every row.

A file is opened by the kind of its name (READERS), its columns are chosen by the schema registry, and its rows leave
as Arrow files of one block each, in reading order. All values stay text, dictionary-encoded, so that whatever comes
next looks at each distinct value once. A row that cannot be read is in its block too, with its problem and no text.
"""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv

from hews_gpu import progress
from hews_gpu.config import CityConfig
from hews_gpu.data import records
from hews_gpu.data.records import Records
from hews_gpu.data.schemas import Columns, choose_columns
from hews_gpu.errors import UserError

__all__ = ["TEXT", "Source", "incident_files", "read_sources"]

TEXT = pa.dictionary(pa.int32(), pa.string())
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
BLOCK_ROWS = 200_000


@dataclass(kw_only=True)
class Source:
    """One incident file, and what was seen of it."""

    path: Path
    name: str
    """Name in the output: without its folder unless two files share a name."""
    number: int
    bytes: int = 0
    sha256: str = ""
    schema: str = ""
    charts_only: tuple[str, ...] = ()
    person_level_columns: int = 0
    rows: int = 0
    blank: Counter[str] = field(default_factory=Counter)
    """Column -> rows in which it is blank or could not be read."""


Chooser = Callable[[tuple[str, ...]], Columns]
Texts = Iterator[pa.Table]


def incident_files(city: CityConfig) -> list[Source]:
    """The files that ``[incidents] files`` names, each once, in order.

    Raises:
        UserError: a name or glob matches nothing, or a kind of file that no reader knows.
    """
    paths: list[Path] = []
    for pattern in city.incidents.files:
        matches = sorted(Path(name) for name in glob.glob(str(city.resolve(pattern)), recursive=True))
        matches = [path for path in matches if path.is_file()]
        if not matches:
            remedy = f"Names are relative to {city.path.parent}; put the table there or correct the name"
            raise UserError("[incidents] files", pattern, allowed="matches no file", remedy=remedy)
        paths.extend(path for path in matches if path not in paths)
    for path in paths:
        _reader(path)
    once = Counter(path.name for path in paths)
    names = [path.name if once[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    return [Source(path=path, name=name, number=i) for i, (path, name) in enumerate(zip(paths, names, strict=True))]


def read_sources(
    city: CityConfig, sources: list[Source], scratch: Path, block_rows: int = BLOCK_ROWS, chunk_bytes: int | None = None
) -> list[Path]:
    """Read all files into blocks of at most `block_rows` rows; fills in what each source says of itself.

    Returns:
        Arrow files in reading order; columns source (int32), row_id and line (int64), problem (uint8, index into
        `records.PROBLEMS`) and a dictionary-encoded text per column that is read, named by role or by column.

    Raises:
        UserError: a file is empty, has a header only, lacks a column, or is cut off.
    """
    blocks: list[Path] = []
    row_id = 0
    sizes = [source.path.stat().st_size for source in sources]
    with _ctrl_c_is_heard(), progress.step("reading", round(sum(sizes) / 1e6, 1), "MB") as bar:
        for source, size in zip(sources, sizes, strict=True):
            before = row_id
            for table in _texts_of(source, city, block_rows, chunk_bytes or records.CHUNK_BYTES):
                blocks.append(scratch / f"block-{len(blocks):06d}.arrow")
                _write_block(blocks[-1], table, source.number, row_id)
                row_id += len(table)
            source.rows = row_id - before
            if not source.rows:
                raise UserError(source.name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
            bar.advance(size / 1e6, f"{row_id:,} rows")
    return blocks


@contextmanager
def _ctrl_c_is_heard() -> Iterator[None]:
    """Keep Arrow's parser from taking SIGINT over: one that arrives just as it hands it back is lost (1 of 20 was)."""
    pa.enable_signal_handlers(False)
    try:
        yield
    finally:
        pa.enable_signal_handlers(True)


def _write_block(path: Path, table: pa.Table, source: int, row_id: int) -> None:
    count = len(table)
    table = table.add_column(0, "row_id", pa.array(np.arange(row_id, row_id + count)))
    table = table.add_column(0, "source", pa.array(np.full(count, source, np.int32)))
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def _texts_of(source: Source, city: CityConfig, block_rows: int, chunk_bytes: int) -> Texts:
    """Blocks of one file; what goes wrong while reading it becomes one line that names it."""

    def choose(found: tuple[str, ...]) -> Columns:
        incidents = city.incidents
        columns = choose_columns(found, file=source.name, schema=incidents.schema, mapped=incidents.columns)
        source.schema, source.charts_only = columns.schema, tuple(columns.charts_only)
        source.person_level_columns = columns.person_level
        return columns

    try:
        with source.path.open("rb") as file:
            source.bytes = source.path.stat().st_size
            source.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        for table in _reader(source.path)(source.path, source.name, choose, block_rows, chunk_bytes):
            for name in table.column_names[2:]:
                source.blank[name] += _count_blank(table[name])
            yield table
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        allowed = f"is not a whole gzip file ({error})"
        raise UserError(source.name, allowed=allowed, remedy="Fetch or copy it again") from None
    except OSError as error:
        if error.filename != str(source.path):
            raise
        raise UserError(source.name, allowed=f"cannot be read ({error.strerror})") from None


def read_csv(path: Path, name: str, choose: Chooser, block_rows: int, chunk_bytes: int) -> Texts:
    """Blocks of a CSV file, plain or gzip: line, problem and the chosen columns as text."""
    with _open(path) as stream:
        found, begun, line = _header(stream, name)
        columns = choose(found)
        chunks = records.iter_records(stream, len(found), begun=begun, first_line=line, chunk_bytes=chunk_bytes)
        for chunk in chunks:
            for begin in range(0, len(chunk), block_rows):
                yield _parse(chunk.part(begin, min(begin + block_rows, len(chunk))), columns)


Reader = Callable[[Path, str, Chooser, int, int], Texts]
READERS: Mapping[str, Reader] = {".csv": read_csv, ".csv.gz": read_csv}


def _reader(path: Path) -> Reader:
    for suffix, reader in READERS.items():
        if path.name.casefold().endswith(suffix):
            return reader
    known = ", ".join(READERS)
    raise UserError("[incidents] files", path.name, allowed=f"must be of a kind that can be read: {known}")


def _open(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked if they are gzip, whatever its name says."""
    file = path.open("rb")
    packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    if not packed:
        return file
    file.close()
    return cast(BinaryIO, gzip.open(path, "rb"))


def _header(stream: BinaryIO, name: str) -> tuple[tuple[str, ...], bytes, int]:
    """Column names, the bytes read beyond them, and the number of the line these start."""
    data, at_end = b"", False
    while not at_end and len(data) <= records.MAX_LINE_BYTES:
        chunk = records.read_chunk(stream, 1 << 16)
        data, at_end = data + chunk, not chunk
        starts, stops, nexts = records.lines_of(data, at_end)
        for line, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            if data[start:stop].strip():
                return _names(data[start:stop], name), data[int(nexts[line]) :], line + 2
    if at_end:
        raise UserError(name, allowed="is empty", remedy="Remove it or fetch it again")
    raise UserError(name, allowed="has no header line", remedy="The first line must hold the column names")


def _names(header: bytes, name: str) -> tuple[str, ...]:
    if header.startswith(UTF16_MARKS):
        raise UserError(name, allowed="must be UTF-8 text; it looks like UTF-16", remedy="Save it as UTF-8")
    if records.count_fields(header) is None:
        raise UserError(name, allowed="has a header line with a quote that is not closed", remedy="Correct line 1")
    return tuple(next(csv.reader([header.decode("utf-8", errors="replace").removeprefix("\ufeff")])))


def _parse(part: Records, columns: Columns) -> pa.Table:
    """Line, problem and the chosen columns as text, one row per record; no text where there is a problem."""
    good = part.problem == records.GOOD
    wrong: list[int] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append(row.number)
        return "skip"

    texts = _parse_csv(part.good_bytes(), columns, note) if good.any() else None
    problem = part.problem.copy()
    problem[np.flatnonzero(good)[np.array(wrong, np.int64) - 1]] = records.WRONG_FIELDS
    good = problem == records.GOOD
    table = pa.table({"line": part.line, "problem": problem})
    if texts is not None:
        assert len(texts) == good.sum(), "the CSV parser and the record splitter disagree"
    for name, position in columns.read.items():
        column = pa.nulls(0, TEXT) if texts is None else texts[f"c{position}"].combine_chunks()
        if not good.all():
            column = column.take(pa.array(np.cumsum(good) - 1, mask=~good))
        table = table.append_column(name, column)
    return table


def _parse_csv(data: bytes, columns: Columns, note: Callable[[pyarrow.csv.InvalidRow], str]) -> pa.Table:
    if not data.isascii():
        data = data.decode("utf-8", errors="replace").encode()  # the parser's report of a bad row must be text
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


def _count_blank(column: pa.ChunkedArray) -> int:
    """Rows in which a text column is null, empty or all spaces."""
    total = int(column.null_count)
    for chunk in column.chunks:
        blank = [code for code, text in enumerate(chunk.dictionary.to_pylist()) if not text.strip()]
        total += int(np.isin(chunk.indices.drop_null().to_numpy(), blank).sum()) if blank else 0
    return total
