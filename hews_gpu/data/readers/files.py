"""The incident files, as blocks of text columns: bounded memory, any size of file, every row.

A file is opened by the kind of its name (READERS), its columns are chosen by the schema registry, and its rows leave
as blocks, in reading order; a stretch of a large file can be read alone (`Span`). All values stay text,
dictionary-encoded, so that whatever comes next looks at each distinct value once. A row that cannot be read is in its
block too, with its problem and no text.
"""

from __future__ import annotations

import glob
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.config import CityConfig
from hews_gpu.data.quality.dictionary_column import is_blank
from hews_gpu.data.readers import dates as times
from hews_gpu.data.readers import records
from hews_gpu.data.readers.blocks import Job, Texts
from hews_gpu.data.readers.csv_rows import Stretch, read_csv, read_stretch
from hews_gpu.data.readers.json_rows import read_json
from hews_gpu.data.readers.parquet_rows import Groups, read_parquet
from hews_gpu.data.readers.schemas import Columns, choose_columns, is_person_level
from hews_gpu.errors import UserError

__all__ = [
    "Reading",
    "Seen",
    "Source",
    "Span",
    "ctrl_c_is_heard",
    "day_first_error",
    "first_rows",
    "incident_files",
    "job_of",
    "read_span",
    "reader_of",
    "whole_file",
]

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

    def take(self, seen: Seen) -> None:
        """Fill in what reading the whole file showed."""
        assert seen.columns is not None
        self.schema, self.charts_only = seen.columns.schema, tuple(seen.columns.charts_only)
        self.columns, self.has_place = tuple(sorted(seen.columns.read)), seen.columns.has_place
        self.person_level_columns = seen.columns.person_level
        self.rows, self.blank, self.noticed = seen.rows, seen.blank, seen.noticed

    @property
    def layout(self) -> tuple[str, ...]:
        """Files of equal layout spell the same row the same way: same schema, kind of file and columns."""
        return layout_of(self.path, self.schema, self.columns)


def layout_of(path: Path, schema: str, columns: Iterable[str]) -> tuple[str, ...]:
    """The layout of a file with such columns, see `Source.layout`."""
    return (schema, reader_of(path).__name__, *sorted(columns))


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
        reader_of(path)
    once = Counter(path.name for path in paths)
    names = [path.name if once[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    return [Source(path=path, name=name, number=i) for i, (path, name) in enumerate(zip(paths, names, strict=True))]


def _slash_dates(table: pa.Table) -> times.Ints:
    """The distinct dates with slashes of one block."""
    column = table[next(role for role in ("time", "date") if role in table.column_names)]
    texts = [pc.utf8_ltrim_whitespace(chunk.dictionary) for chunk in column.chunks]
    starts = [pc.unique(pc.utf8_slice_codeunits(text, 0, times.DATE_CHARACTERS + 1)) for text in texts]
    return times.slash_dates(pa.concat_arrays(starts) if starts else [])


def day_first_error(name: str, dates: times.Ints) -> UserError:
    """What to say of a file whose dates are DD/MM/YYYY."""
    fields = zip(*(part.tolist() for part in times.slash_fields(dates)), strict=True)
    first, second, year = max(fields, key=lambda date: (date[1] <= 12, date))
    allowed = f"its dates look day-first, such as {first:02d}/{second:02d}/{year}, but slashes are read month first"
    return UserError(name, allowed=allowed, remedy="Write them as YYYY-MM-DD")


@contextmanager
def ctrl_c_is_heard() -> Iterator[None]:
    """Keep Arrow's parser from taking SIGINT over: one that arrives just as it hands it back is lost (1 of 20 was)."""
    pa.enable_signal_handlers(False)
    try:
        yield
    finally:
        pa.enable_signal_handlers(True)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the files of a city are read."""

    schema: str
    """As `choose_columns` takes it."""
    mapped: Mapping[str, str]
    """Role -> column name, from ``[incidents.columns]``."""
    block_rows: int = BLOCK_ROWS
    """Rows of a block, at most."""
    chunk_bytes: int = records.CHUNK_BYTES
    """How much is read at a time."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Rows of one file that follow each other: what is read in one go."""

    number: int
    """Of the source."""
    name: str
    """Of the file, for messages."""
    path: Path
    """What is read: the file itself, or its unpacked text."""
    part: Stretch | Groups | None = None
    """Which rows; None: all."""
    columns: Columns | None = None
    """What is read of a stretch of text, which has no header of its own."""

    @property
    def rows(self) -> int | None:
        """How many rows it has, where that is known without reading them."""
        return None if self.part is None else self.part.rows


@dataclass(kw_only=True)
class Seen:
    """What reading rows of one file showed of it; `+=` adds what other rows of it showed."""

    columns: Columns | None = None
    rows: int = 0
    blank: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)
    dates: times.Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Distinct dates with slashes, see `times.slash_dates`."""

    def __iadd__(self, other: Seen) -> Seen:
        """Add what other rows of the file showed."""
        self.columns = self.columns or other.columns
        self.rows += other.rows
        for name, rows in other.blank.items():  # names stay in order, and those of whole columns stay
            self.blank[name] += rows
        self.noticed += other.noticed
        self.dates = np.union1d(self.dates, other.dates)
        return self


def job_of(name: str, how: Reading, seen: Seen) -> Job:
    """How a reader is to read a file; the columns it chooses and what it notices go into `seen`."""

    def choose(found: tuple[str, ...]) -> Columns:
        seen.columns = choose_columns(found, file=name, schema=how.schema, mapped=how.mapped)
        return seen.columns

    return Job(name=name, choose=choose, block_rows=how.block_rows, chunk_bytes=how.chunk_bytes, noticed=seen.noticed)


def read_span(span: Span, how: Reading, seen: Seen) -> Texts:
    """Blocks of text rows; what there is to say of the file goes into `seen`.

    Raises:
        UserError: the file is empty, has a header only, lacks a column, or is cut off.
    """
    job = job_of(span.name, how, seen)
    with whole_file(span.path, span.name):
        for table in _open_span(span, how, job, seen):
            for name in table.column_names[2:]:
                seen.blank[name] += _count_blank(table[name])
            seen.dates = np.union1d(seen.dates, _slash_dates(table))
            seen.rows += len(table)
            yield table


def _open_span(span: Span, how: Reading, job: Job, seen: Seen) -> Texts:
    if isinstance(span.part, Groups):
        return read_parquet(span.path, job, span.part)
    if isinstance(span.part, Stretch):
        assert span.columns is not None
        seen.columns = span.columns
        return read_stretch(span.path, span.part, span.columns, job)
    return reader_of(span.path)(span.path, job)


@contextmanager
def whole_file(path: Path, name: str) -> Iterator[None]:
    """Turn what goes wrong with a file into one line that names it."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        allowed = f"is not a whole gzip file ({error})"
        raise UserError(name, allowed=allowed, remedy="Fetch or copy it again") from None
    except OSError as error:
        if error.filename != str(path):
            raise
        raise UserError(name, allowed=f"cannot be read ({error.strerror})") from None


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
    job = Job(name=path.name, choose=choose, block_rows=count, chunk_bytes=records.CHUNK_BYTES)
    with whole_file(path, path.name):
        table = next(reader_of(path)(path, job), None)
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


def reader_of(path: Path) -> Reader:
    """What reads a file, by the end of its name."""
    for suffix, reader in READERS.items():
        if path.name.casefold().endswith(suffix):
            return reader
    known = ", ".join(READERS)
    raise UserError("[incidents] files", path.name, allowed=f"must be of a kind that can be read: {known}")


def _count_blank(column: pa.ChunkedArray) -> int:
    """Rows in which a text column is null, empty or all spaces."""
    total = int(column.null_count)
    for chunk in column.chunks:
        blank = is_blank(chunk.dictionary)
        total += int(blank[chunk.indices.drop_null().to_numpy()].sum()) if blank.any() else 0
    return total
