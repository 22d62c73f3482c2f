"""The tables of a prepared folder, written a partition at a time: parts on disk, then one external sort by time.

Each cleaned partition leaves its kept rows, sorted by time. The sort reads them bucket by bucket: a bucket is a stretch
of whole days with a bounded number of rows, so that it fits in memory, and what ties rows together (equal times,
duplicates) is inside one. Only twins, and target rows whose time one file revised, look across the edges, and the
target rows are few enough to hold all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.arrays import Int32, Int64, UInt8
from hews_gpu.data.backend import Backend, array_of, as_array_like, names_of, sort_by_time, to_backend
from hews_gpu.data.clean import REASONS
from hews_gpu.data.prepare.duplicates import NONE
from hews_gpu.data.readers.dates import NOT_A_TIME
from hews_gpu.data.readers.dictionary_column import Block
from hews_gpu.data.readers.eido import sent_s
from hews_gpu.data.readers.schemas import INCIDENT, TOLD
from hews_gpu.files import atomic_file
from hews_gpu.units import DAY_S

__all__ = [
    "INCIDENTS",
    "QUARANTINE",
    "Part",
    "bucket_edges",
    "chart_texts",
    "events_of",
    "incidents_table",
    "load_bucket",
    "messages_of",
    "open_arrow",
    "other_messages",
    "quarantined",
    "write_arrow",
    "write_parquet",
]

NAME = pa.dictionary(pa.int32(), pa.string())
INCIDENTS = pa.schema(
    {
        "time_s": pa.int64(),
        "longitude": pa.float64(),
        "latitude": pa.float64(),
        "category": NAME,
        "neighborhood": NAME,
        "neighborhood_id": pa.int16(),
        "is_nearest": pa.bool_(),
        "is_target": pa.bool_(),
        "source": NAME,
        "line": pa.int64(),
        "row_id": pa.int64(),
        "duplicate_of": pa.int64(),
        "is_overlap": pa.bool_(),
        "twin_of": pa.int64(),
        "near_twin_of": pa.int64(),
        "known_s": pa.int64(),
        "end_s": pa.int64(),
    }
)
TEXTS = ("time_text", "longitude_text", "latitude_text", "category_text")
QUARANTINE = pa.schema(
    {"source": NAME, "line": pa.int64(), "row_id": pa.int64(), "reason": NAME, **dict.fromkeys(TEXTS, pa.string())}
)
EVENT_COLUMNS = ["time_s", "longitude", "latitude", "category", "neighborhood_id", "is_nearest", "is_target"]
EVENT_COLUMNS += ["source", "line", "row_id", "hash_a", "hash_b", "known_s", "end_s"]


def events_of(verdicts: Any, position: dict[str, int]) -> Any:
    """Return the kept rows of a block of `clean`, as numbers; category as its place in `position`, which grows."""
    codes = np.array([position.setdefault(name, len(position)) for name in names_of(verdicts["category"])], np.int32)
    code = array_of(verdicts["category"].cat.codes)
    rows = verdicts[EVENT_COLUMNS].assign(category=as_array_like(codes, code)[code])
    return rows[verdicts["reason"] == 0]


def chart_texts(block: Block, reason: UInt8, charts: Iterable[str]) -> pa.Table:
    """Return the charts-only columns of the kept rows of a block."""
    kept = reason == 0
    return pa.table({"row_id": block.row_id[kept], **{name: block.text(name).take(kept) for name in charts}})


def quarantined(block: Block, reason: UInt8, sources: Sequence[str]) -> pa.Table:
    """Return the rows of a block that are set aside, with the texts that may explain why."""
    aside = reason != 0

    def texts(*roles: str) -> list[pa.Array]:
        return [block.text(role).take(aside).cast(pa.string()) for role in roles]

    when = pc.binary_join_element_wise(*texts("date", "time_of_day", "time"), " ")
    columns = [
        _named(np.full(aside.sum(), block.file), sources),
        block.table["line"].filter(pa.array(aside)),
        pa.array(block.row_id[aside]),
        _named(reason[aside], REASONS),
        pc.utf8_trim_whitespace(when),
        *texts("longitude", "latitude", "category"),
    ]
    return pa.table(columns, schema=QUARANTINE)


def messages_of(block: Block, reason: UInt8) -> pa.Table:
    """Return row_id, incident (text) and sent_s (float64) of the kept rows of a block of messages on incidents."""
    kept, told = reason == 0, block.text(TOLD)
    sent = np.array([sent_s(text) for text in told.texts], np.float64)[told.codes]
    incident = block.text(INCIDENT).take(kept).cast(pa.string())
    return pa.table({"row_id": block.row_id[kept], "incident": incident, "sent_s": sent[kept]})


def other_messages(messages: Sequence[pa.Table], *, newest: bool) -> dict[int, int]:
    """Return each row that is one of several messages on an incident -> the one that counts, but for that one.

    It is the newest, or the first; of those sent at once, and of equal ones in several files, the first in the files.
    """
    if not messages:
        return {}
    every = pa.concat_tables(messages).to_pandas()
    every = every[every["incident"] != ""].sort_values(["sent_s", "row_id"], ascending=[not newest, True])
    counts = every.groupby("incident", sort=False)["row_id"].transform("first")
    other = every["row_id"] != counts
    return dict(zip(every["row_id"][other].tolist(), counts[other].tolist(), strict=True))


def _named(codes: npt.ArrayLike, names: Sequence[str]) -> pa.DictionaryArray:
    """Return codes as a dictionary column over all names, whether they occur or not: the same in every partition."""
    indices = pa.array(np.asarray(codes, np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))


def bucket_edges(days: Mapping[int, int], most_rows: int) -> Int64:
    """Return the seconds since 1970 at which buckets begin and the last one ends, given the rows by day since 1970.

    A bucket has more than `most_rows` only if one day alone has.
    """
    edges: list[int] = []
    rows = 0
    for day, own in sorted(days.items()):
        if not edges or rows + own > most_rows:
            edges.append(day)
            rows = 0
        rows += own
    return np.array([*edges, max(days) + 1] if edges else [], np.int64) * DAY_S


@dataclass(frozen=True)
class Part:
    """The kept rows of one partition, as they lie on disk: sorted by time and row id."""

    path: Path
    base: int
    """What to add to its row ids: rows of all partitions before it."""
    codes: Int32
    """Category in it -> category of the whole."""
    ends: Int64  # [buckets + 1] its rows up to each edge of the buckets

    def read(self, table: pa.Table) -> pa.Table:
        """Return rows of it, numbered and named as in the whole table."""
        table = table.combine_chunks()
        columns = {
            "row_id": table["row_id"].to_numpy() + self.base,
            "category": self.codes[table["category"].to_numpy()],
        }
        for name, values in columns.items():
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        return table


def load_bucket(number: int, parts: Iterable[Part], backend: Backend = "pandas") -> Any:
    """Return all kept rows of a bucket, sorted by time and row id; a frame of the backend's.

    The parts come in the order of their row ids, each sorted by both.
    """
    pieces = []
    for part in parts:
        begin, end = part.ends[number : number + 2].tolist()
        if begin < end:
            pieces.append(part.read(open_arrow(part.path).slice(begin, end - begin)))
    return sort_by_time(to_backend(pa.concat_tables(pieces), backend))


def incidents_table(
    frame: pd.DataFrame, categories: Sequence[str], neighborhoods: Sequence[str], sources: Sequence[str]
) -> pa.Table:
    """Return a bucket of `duplicates.with_duplicates` as it is written."""
    names = {"category": categories, "neighborhood": neighborhoods, "source": sources}
    frame = frame.assign(neighborhood=frame["neighborhood_id"])
    columns = []
    for spec in INCIDENTS:
        values: npt.NDArray[Any] = frame[spec.name].to_numpy()
        if spec.name in names:
            columns.append(_named(values, names[spec.name]))
        elif spec.name.endswith("_of"):
            columns.append(pa.array(values, spec.type, mask=values == NONE))
        elif spec.name == "known_s":
            columns.append(pa.array(values, spec.type, mask=values == NOT_A_TIME))
        elif spec.name == "end_s":  # only of rows that may have happened later than they begin
            columns.append(pa.array(values, spec.type, mask=values == frame["time_s"].to_numpy()))
        else:
            columns.append(pa.array(values, spec.type))
    return pa.table(columns, schema=INCIDENTS)


def write_parquet(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables as one Parquet file, one after the other.

    Numbers that grow or repeat go as differences, and places and names by dictionary: of 2.4 million incidents, a sixth
    smaller and two thirds of the time of a dictionary for all.
    """
    whole = [spec.name for spec in schema if spec.type == pa.int64()]
    others = [spec.name for spec in schema if spec.type not in (pa.int64(), pa.int16(), pa.bool_())]
    encoding = dict.fromkeys(whole, "DELTA_BINARY_PACKED")
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=others, column_encoding=encoding) as writer:
        for table in tables:
            writer.write_table(table)


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write one Arrow file, whole or not at all: two workers may be at it at once, and either may be killed."""
    with atomic_file(path, durable=False) as partial, pa.ipc.new_file(partial, table.schema) as writer:
        writer.write_table(table)


def open_arrow(path: Path) -> pa.Table:
    """Open an Arrow file, of which only what is looked at is read."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
