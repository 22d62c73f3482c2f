"""The incident files, as blocks of text columns in a scratch folder: bounded memory, any size of file, every row.

A file is opened by the kind of its name (READERS), its columns are chosen by the schema registry, and its rows leave
as Arrow files of one block each, in reading order. All values stay text, dictionary-encoded, so that whatever comes
next looks at each distinct value once. A row that cannot be read is in its block too, with its problem and no text.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu import progress
from hews_gpu.config import CityConfig
from hews_gpu.data import records, times
from hews_gpu.data.csv_rows import read_csv
from hews_gpu.data.json_rows import read_json
from hews_gpu.data.parquet_rows import read_parquet
from hews_gpu.data.rows import TEXT, Job, Texts
from hews_gpu.data.schemas import Columns, choose_columns, is_person_level
from hews_gpu.errors import UserError

__all__ = ["TEXT", "Source", "day_first_error", "first_rows", "incident_files", "read_sources"]

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
    columns: tuple[str, ...] = ()
    """What is read, by role or name."""
    has_place: bool = True
    """Whether it has columns for the coordinates."""
    charts_only: tuple[str, ...] = ()
    person_level_columns: int = 0
    rows: int = 0
    blank: Counter[str] = field(default_factory=Counter)
    """Column -> rows in which it is blank or could not be read."""
    noticed: Counter[str] = field(default_factory=Counter)
    """What else a user may want to know -> rows."""

    @property
    def layout(self) -> tuple[str, ...]:
        """Files of equal layout spell the same row the same way: same schema, kind of file and columns."""
        return (self.schema, _reader(self.path).__name__, *self.columns)


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
        UserError: a file is empty, has a header only, lacks a column, is cut off, or has dates that are day first.
    """
    blocks: list[Path] = []
    row_id = 0
    sizes = [source.path.stat().st_size for source in sources]
    with _ctrl_c_is_heard(), progress.step("reading", round(sum(sizes) / 1e6, 1), "MB") as bar:
        for source, size in zip(sources, sizes, strict=True):
            before, dates = row_id, set[times.SlashDate]()
            for table in _texts_of(source, city, block_rows, chunk_bytes or records.CHUNK_BYTES):
                blocks.append(scratch / f"block-{len(blocks):06d}.arrow")
                _write_block(blocks[-1], table, source.number, row_id)
                dates |= _slash_dates(table)
                row_id += len(table)
            source.rows = row_id - before
            if not source.rows:
                raise UserError(source.name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
            if times.is_day_first(dates):
                raise day_first_error(source.name, dates)
            bar.advance(size / 1e6, f"{row_id:,} rows")
    return blocks


def _slash_dates(table: pa.Table) -> set[times.SlashDate]:
    """The distinct dates with slashes of one block."""
    column = table[next(role for role in ("time", "date") if role in table.column_names)]
    texts = [pc.utf8_ltrim_whitespace(chunk.dictionary) for chunk in column.chunks]
    starts = [pc.unique(pc.utf8_slice_codeunits(text, 0, times.DATE_CHARACTERS + 1)).to_pylist() for text in texts]
    return times.slash_dates(text for distinct in starts for text in distinct)


def day_first_error(name: str, dates: set[times.SlashDate]) -> UserError:
    """What to say of a file whose dates are DD/MM/YYYY."""
    first, second, year = max(dates, key=lambda date: (date[1] <= 12, date))
    allowed = f"its dates look day-first, such as {first:02d}/{second:02d}/{year}, but slashes are read month first"
    return UserError(name, allowed=allowed, remedy="Write them as YYYY-MM-DD")


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
        source.columns, source.has_place = tuple(sorted(columns.read)), columns.has_place
        source.person_level_columns = columns.person_level
        return columns

    job = Job(name=source.name, choose=choose, block_rows=block_rows, chunk_bytes=chunk_bytes, noticed=source.noticed)
    with _reading(source):
        with source.path.open("rb") as file:
            source.bytes = source.path.stat().st_size
            source.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        for table in _reader(source.path)(source.path, job):
            for name in table.column_names[2:]:
                source.blank[name] += _count_blank(table[name])
            yield table


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    """Turn what goes wrong with a file into one line that names it."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        allowed = f"is not a whole gzip file ({error})"
        raise UserError(source.name, allowed=allowed, remedy="Fetch or copy it again") from None
    except OSError as error:
        if error.filename != str(source.path):
            raise
        raise UserError(source.name, allowed=f"cannot be read ({error.strerror})") from None


def first_rows(path: Path, count: int) -> dict[str, list[str]]:
    """Column name -> text of the first rows of one file of any kind, without columns that describe a person.

    Raises:
        UserError: the file is missing, of no known kind, or damaged.
    """

    def choose(found: tuple[str, ...]) -> Columns:
        named = {name: position for position, name in enumerate(found) if not is_person_level(name)}
        return Columns(schema="mapped", found=found, roles={}, compared=named)

    if not path.is_file():
        raise UserError("--from", path, allowed="does not exist", remedy="Name a table of incidents")
    source = Source(path=path, name=path.name, number=0)
    job = Job(name=path.name, choose=choose, block_rows=count, chunk_bytes=records.CHUNK_BYTES)
    with _reading(source):
        table = next(_reader(path)(path, job), None)
    if table is None:
        raise UserError(path.name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
    table = table.filter(pc.equal(table["problem"], records.GOOD)).slice(0, count)
    return {name: table[name].cast(pa.string()).fill_null("").to_pylist() for name in table.column_names[2:]}


Reader = Callable[[Path, Job], Texts]
READERS: Mapping[str, Reader] = {
    **dict.fromkeys((".csv", ".csv.gz"), read_csv),
    **dict.fromkeys((".geojson", ".geojson.gz", ".json", ".json.gz"), read_json),
    ".parquet": read_parquet,
}


def _reader(path: Path) -> Reader:
    for suffix, reader in READERS.items():
        if path.name.casefold().endswith(suffix):
            return reader
    known = ", ".join(READERS)
    raise UserError("[incidents] files", path.name, allowed=f"must be of a kind that can be read: {known}")


def _count_blank(column: pa.ChunkedArray) -> int:
    """Rows in which a text column is null, empty or all spaces."""
    total = int(column.null_count)
    for chunk in column.chunks:
        blank = [code for code, text in enumerate(chunk.dictionary.to_pylist()) if not text.strip()]
        total += int(np.isin(chunk.indices.drop_null().to_numpy(), blank).sum()) if blank else 0
    return total
