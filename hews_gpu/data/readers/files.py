"""The incident files of a city, and one way to open any of them: bounded memory, any size of file, every row.

A file is opened by the kind of its name. Its columns are then chosen (`schemas`), and its rows leave as blocks, in
reading order: tables of line (int64), problem (uint8, index into `records.PROBLEMS`) and one dictionary-encoded text
column per column that is read, named by role or by column, so that whatever comes next looks at each distinct text
once. A row that cannot be read is in its block too, with its problem and nulls.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.config import CityConfig
from hews_gpu.data.readers.csv_rows import open_csv
from hews_gpu.data.readers.excel_sheets import open_excel
from hews_gpu.data.readers.json_rows import open_json
from hews_gpu.data.readers.parquet_rows import open_parquet
from hews_gpu.data.readers.records import GOOD
from hews_gpu.data.readers.schemas import TIME_ROLES, Columns, OpenTable, ReadSettings, choose_columns
from hews_gpu.data.readers.time_reading import choose_reading
from hews_gpu.errors import UserError

__all__ = [
    "LOOK_ROWS",
    "IncidentFile",
    "columns_of",
    "first_texts",
    "incident_files",
    "kind_of",
    "one_line_errors",
    "open_table",
    "require_unchanged",
    "with_digests",
]

LOOK_ROWS, LOOK_BYTES = 2000, 1 << 19
"""Of a file whose times are looked at before it is read."""

TableOpener = Callable[[Path, str, ReadSettings], AbstractContextManager[OpenTable]]
JSON = (".geojson", ".json", ".jsonl", ".ndjson")
KINDS: Mapping[str, TableOpener] = {
    **dict.fromkeys((".csv", ".csv.gz"), open_csv),
    **dict.fromkeys((f"{end}{packed}" for end in JSON for packed in ("", ".gz")), open_json),
    ".parquet": open_parquet,
    **dict.fromkeys((".xlsx", ".xls"), open_excel),
}


@dataclass(frozen=True, kw_only=True)
class IncidentFile:
    """One incident file, and what was learned of it."""

    path: Path
    name: str
    """Name in the output: without its folder unless two files share a name."""
    number: int
    bytes: int = 0
    sha256: str = ""
    state: tuple[int, ...] = ()
    """Size, time and number of the file when its digest was taken."""
    columns: Columns | None = None
    """What is read of it; None before it was opened."""
    rows: int = 0
    """None as long as it was not read."""

    @property
    def layout(self) -> tuple[str, ...]:
        """Files of equal layout spell the same row the same way: same schema, kind of file and columns."""
        assert self.columns is not None
        return (self.columns.schema, kind_of(self.path).__name__, *sorted(self.columns.read))


def incident_files(city: CityConfig) -> list[IncidentFile]:
    """Return the files that ``[incidents] files`` names, each once, in order.

    Raises:
        UserError: a name or glob matches nothing, or a kind of file that cannot be read.
    """
    paths: list[Path] = []
    for pattern in city.incidents.files:
        matches = _matches(city, pattern)
        if not matches:
            remedy = f"Names are relative to {city.path.parent}; put the table there or correct the name"
            raise UserError("[incidents] files", pattern, allowed="matches no file", remedy=remedy)
        paths.extend(path for path in matches if path not in paths)
    for path in paths:
        kind_of(path)
    once = Counter(path.name for path in paths)
    names = [path.name if once[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    return [
        IncidentFile(path=path, name=name, number=i) for i, (path, name) in enumerate(zip(paths, names, strict=True))
    ]


def _matches(city: CityConfig, pattern: str) -> list[Path]:
    """Return the files of one name or glob, in order; a file of that very name goes before what the glob would match.

    The folder of the city's file is no part of the glob: its name may hold brackets or a star.
    """
    path = city.resolve(pattern)
    if path.is_file():
        return [path]
    if pattern.startswith("~"):  # nor is the home folder
        home, _, pattern = pattern.partition("/")
        pattern = f"{glob.escape(str(Path(home).expanduser()))}/{pattern}"
    names = glob.glob(pattern, root_dir=city.path.parent, recursive=True)
    return sorted(path for path in map(city.path.parent.joinpath, names) if path.is_file())


def with_digests(files: Sequence[IncidentFile]) -> list[IncidentFile]:
    """Return the files with the digests of their bytes.

    Raises:
        UserError: one cannot be read.
    """
    result = []
    for file in files:
        with one_line_errors(file.path, file.name), file.path.open("rb") as content:
            state = _state(file.path)
            result.append(replace(file, sha256=hashlib.file_digest(content, "sha256").hexdigest(), state=state))
    return result


def require_unchanged(files: Sequence[IncidentFile]) -> None:
    """Refuse files that were written to since their digests were taken: what was read of them is of no one state.

    Raises:
        UserError: then.
    """
    for file in files:
        if not file.path.is_file() or _state(file.path) != file.state:
            allowed = "was changed while it was read"
            raise UserError(file.name, allowed=allowed, remedy="Wait until it is whole, then give the command again")


def _state(path: Path) -> tuple[int, ...]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


def kind_of(path: Path) -> TableOpener:
    """Return the function that opens a file, by the end of its name."""
    for suffix, opener in KINDS.items():
        if path.name.casefold().endswith(suffix):
            return opener
    allowed = f"must be of a kind that can be read: {', '.join(KINDS)}"
    raise UserError("[incidents] files", path.name, allowed=allowed)


@contextmanager
def open_table(path: Path, name: str, settings: ReadSettings) -> Iterator[OpenTable]:
    """Open a file of any kind, whose name for messages is `name`.

    Raises:
        UserError: while it is open: it is empty, is no table, is damaged or cut off, or holds what is no text.
    """
    with one_line_errors(path, name), kind_of(path)(path, name, settings) as table:
        yield table


def first_texts(
    path: Path, name: str, choose: Callable[[tuple[str, ...]], Mapping[str, int]], settings: ReadSettings
) -> dict[str, list[str]]:
    """Return the texts of the first rows, one block at most, of the columns that are chosen among all by position.

    Raises:
        UserError: the file is no table or has no rows.
    """
    with open_table(path, name, settings) as file:
        chosen = choose(file.names)
        table = next(file.blocks(Columns(schema="mapped", names=file.names, roles={}, compared=chosen)), None)
    if table is None:
        raise UserError(name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
    table = table.filter(pc.equal(table["problem"], GOOD)).slice(0, settings.block_rows)
    return {column: table[column].cast(pa.string()).fill_null("").to_pylist() for column in chosen}


def columns_of(path: Path, names: tuple[str, ...], *, file: str, settings: ReadSettings) -> Columns:
    """Decide which columns of a file are read, and how its times are: by a look at them if no schema says.

    Args:
        path: of the file, or of its unpacked text.
        names: of its columns.
        file: its name, for messages.
        settings: which schema, and what the user has mapped.

    Raises:
        UserError: a column is missing, or the times cannot be read in one way only.
    """
    columns = choose_columns(names, file=file, settings=settings)
    if columns.are_times_known:
        return columns
    look = {role: position for role, position in columns.roles.items() if role in (*TIME_ROLES, "longitude")}
    few = replace(settings, block_rows=LOOK_ROWS, chunk_bytes=LOOK_BYTES)
    texts = first_texts(path, file, lambda _: look, few)
    clock_name = columns.names[columns.roles["time_of_day"]] if "time_of_day" in columns.roles else ""
    degrees = pd.to_numeric(pd.Series(texts.pop("longitude", [])), errors="coerce").median()
    reading = choose_reading(
        file,
        texts,
        times=settings.times,
        city=settings.timezone,
        clock_name=clock_name,
        longitude_deg=float(np.nan_to_num(degrees)),
    )
    return replace(columns, reading=reading)


@contextmanager
def one_line_errors(path: Path, name: str) -> Iterator[None]:
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
