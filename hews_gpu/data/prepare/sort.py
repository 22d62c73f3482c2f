"""The tables of a prepared folder, written a partition at a time: parts on disk, then one external sort by time.

Each cleaned partition is spilled as three parts: kept rows sorted by time, their chart columns, and rows set aside.
The sort reads them bucket by bucket: a bucket is a stretch of whole days with a bounded number of rows, so that it
fits in memory, and what ties rows together (equal times, duplicates) is inside one. Only twins, and target rows whose
time one file revised, look across the edges, and the target rows are few enough to hold all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.data.prepare.backend import (
    Backend,
    array_of,
    as_array_like,
    concat,
    names_of,
    sort_by_time,
    take_arrow,
    to_arrow,
)
from hews_gpu.data.prepare.clean import REASONS
from hews_gpu.data.prepare.duplicates import (
    NEAR_TWIN,
    NONE,
    REVISED_EVENT,
    SAME_EVENT,
    TWIN,
    Ints,
    Places,
    Reach,
    nearest_target,
    repeats_of_earlier_downloads,
    repeats_of_earlier_layouts,
)
from hews_gpu.data.quality.counts import Counts
from hews_gpu.data.quality.dictionary_column import Block
from hews_gpu.units import DAY_S

__all__ = [
    "INCIDENTS",
    "QUARANTINE",
    "Bucket",
    "Files",
    "Part",
    "Targets",
    "buckets_of",
    "chart_texts",
    "charts_schema",
    "events_of",
    "finish",
    "incidents_table",
    "load_bucket",
    "open_arrow",
    "quarantined",
    "sorted_events",
    "targets_of",
    "write",
    "write_arrow",
]

BUCKET_ROWS = 500_000
NAME = pa.dictionary(pa.int32(), pa.string())
INCIDENTS = pa.schema(
    [
        ("time_s", pa.int64()),
        ("longitude", pa.float64()),
        ("latitude", pa.float64()),
        ("category", NAME),
        ("neighborhood", NAME),
        ("neighborhood_id", pa.int16()),
        ("is_nearest", pa.bool_()),
        ("is_target", pa.bool_()),
        ("source", NAME),
        ("line", pa.int64()),
        ("row_id", pa.int64()),
        ("duplicate_of", pa.int64()),
        ("is_overlap", pa.bool_()),
        ("twin_of", pa.int64()),
        ("near_twin_of", pa.int64()),
    ]
)
TEXTS = ("time_text", "longitude_text", "latitude_text", "category_text")
QUARANTINE = pa.schema(
    [("source", NAME), ("line", pa.int64()), ("row_id", pa.int64()), ("reason", NAME)]
    + [(name, pa.string()) for name in TEXTS]
)
EVENT_COLUMNS = ["time_s", "longitude", "latitude", "category", "neighborhood_id", "is_nearest", "is_target"]
EVENT_COLUMNS += ["source", "line", "row_id", "hash_a", "hash_b"]


def charts_schema(charts: Sequence[str]) -> pa.Schema:
    """Columns of charts_only.parquet."""
    return pa.schema([("row_id", pa.int64()), *((name, pa.string()) for name in charts)])


def events_of(verdicts: Any, position: dict[str, int]) -> Any:
    """The kept rows of a partition of `clean`, as numbers; category as its place in `position`, which grows."""
    codes = np.array([position.setdefault(name, len(position)) for name in names_of(verdicts["category"])], np.int32)
    code = array_of(verdicts["category"].cat.codes)
    rows = verdicts[EVENT_COLUMNS].assign(category=as_array_like(codes, code)[code])
    return rows[verdicts["reason"] == 0]


def sorted_events(frames: Sequence[Any]) -> pa.Table:
    """Kept rows of a partition, given in the order of their row ids, in order of time, then row id."""
    return to_arrow(sort_by_time(concat(frames)))


def chart_texts(block: Block, kept: npt.NDArray[np.bool_], charts: Sequence[str]) -> pa.Table:
    """The charts-only columns of the kept rows of a block."""
    columns = [block.table["row_id"].filter(pa.array(kept)), *(block.text(name).column(kept) for name in charts)]
    return pa.table(columns, ["row_id", *charts])


def quarantined(block: Block, reason: npt.NDArray[np.uint8], sources: Sequence[str]) -> pa.Table:
    """Rows set aside of a block, with the texts that may explain why."""
    aside = reason != 0
    texts = {name: block.text(name).column(aside).cast(pa.string()) for name in ("longitude", "latitude", "category")}
    when = [block.text(name).column(aside).cast(pa.string()) for name in ("date", "time_of_day", "time")]
    when_text = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*when, " "))
    rows = block.table.select(["source", "line", "row_id"]).filter(pa.array(aside))
    return pa.table(
        [
            _named(rows["source"], sources),
            rows["line"],
            rows["row_id"],
            _named(reason[aside], REASONS),
            when_text,
            *texts.values(),
        ],
        schema=QUARANTINE,
    )


def _named(codes: npt.ArrayLike, names: Sequence[str]) -> pa.DictionaryArray:
    """Codes as a dictionary column over all names, whether they occur or not: the same in every partition."""
    indices = pa.array(np.asarray(codes, np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))


@dataclass(frozen=True)
class Bucket:
    """A stretch of time, [begin_s, end_s)."""

    begin_s: int
    end_s: int


def buckets_of(days: Counts, rows: int = BUCKET_ROWS) -> list[Bucket]:
    """Stretches of whole days with at most `rows` rows each, unless one day alone has more."""
    buckets: list[Bucket] = []
    begin, count = None, 0
    for day, own in zip(days.numbers.tolist(), days.rows.tolist(), strict=True):
        if begin is None or count + own > rows:
            if begin is not None:
                buckets.append(Bucket(begin * DAY_S, day * DAY_S))
            begin, count = day, 0
        count += own
    if begin is not None:
        buckets.append(Bucket(begin * DAY_S, (int(days.numbers[-1]) + 1) * DAY_S))
    return buckets


@dataclass(frozen=True)
class Part:
    """The kept rows of one partition of the first pass, as they lie on disk: sorted by time and row id."""

    path: Path
    base: int
    """What to add to its row ids: rows of all partitions before it."""
    codes: npt.NDArray[np.int32]
    """Category in it -> category of the whole."""
    days: Ints  # [D] days since 1970, sorted
    ends: Ints  # [D] rows up to the end of each of these days

    def span(self, bucket: Bucket) -> tuple[int, int]:
        """First row in a bucket, and the first one beyond it."""
        low, high = np.searchsorted(self.days, [bucket.begin_s // DAY_S, bucket.end_s // DAY_S])
        return int(self.ends[low - 1]) if low else 0, int(self.ends[high - 1]) if high else 0

    def read(self, begin: int = 0, end: int | None = None, path: Path | None = None) -> pa.Table:
        """Some of its rows (or those of its file of targets), numbered and named as in the whole table."""
        table = open_arrow(path or self.path)
        table = table.slice(begin, None if end is None else end - begin).combine_chunks()
        row_id = table["row_id"].to_numpy() + self.base
        category = self.codes[table["category"].to_numpy()]
        for name, values in (("row_id", row_id), ("category", category)):
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        return table


def load_bucket(bucket: Bucket, parts: Iterable[Part], backend: Backend = "pandas") -> Any:
    """All kept rows of a stretch of time, sorted by time and row id; a frame of the backend's.

    The parts come in the order of their row ids, each sorted by both.
    """
    spans = [(part, *part.span(bucket)) for part in parts]
    table = pa.concat_tables([part.read(begin, end) for part, begin, end in spans if begin < end])
    return sort_by_time(take_arrow(table, backend))


@dataclass(frozen=True)
class Files:
    """What the files have in common, by number of the file."""

    layout: Ints
    """Number of its layout: files of equal layout spell the same row the same way."""
    download: Ints
    """Number of its download: the pages of one hold different rows, two may hold the same ones."""


@dataclass(frozen=True)
class Targets:
    """All kept target rows, and what they repeat."""

    by_time: Places
    row_id: Ints  # [T] sorted
    duplicate_of: Ints  # [T] in this order
    is_overlap: npt.NDArray[np.bool_]  # [T]


def targets_of(tables: Sequence[pa.Table], files: Files) -> Targets:
    """All kept target rows, those marked that repeat one of an earlier file, whatever day either gives."""
    frame = pa.concat_tables(tables).to_pandas().sort_values("row_id", ignore_index=True)
    marks = _repeats(frame, files, (SAME_EVENT, REVISED_EVENT))
    return Targets(_places(frame).sorted_by_time(), frame["row_id"].to_numpy(), *marks)


def _places(frame: pd.DataFrame) -> Places:
    return Places(*(frame[name].to_numpy() for name in ("time_s", "longitude", "latitude", "row_id")))


def finish(frame: pd.DataFrame, targets: Targets, files: Files) -> pd.DataFrame:
    """Add the marks to a bucket: row ids, or NONE; and is_overlap, whether another download has the event before."""
    is_target = frame["is_target"].to_numpy()
    others = frame[~is_target]
    known = np.searchsorted(targets.row_id, frame["row_id"].to_numpy()[is_target])
    duplicate_of, is_overlap = np.full(len(frame), NONE, np.int64), np.zeros(len(frame), bool)
    duplicate_of[is_target], is_overlap[is_target] = targets.duplicate_of[known], targets.is_overlap[known]
    duplicate_of[~is_target], is_overlap[~is_target] = _repeats(others, files, (SAME_EVENT,))
    marks: dict[str, npt.NDArray[Any]] = {"duplicate_of": duplicate_of, "is_overlap": is_overlap}
    for name, reach in (("twin_of", TWIN), ("near_twin_of", NEAR_TWIN)):
        marks[name] = np.full(len(frame), NONE, np.int64)
        marks[name][~is_target] = nearest_target(_places(others), targets.by_time, reach)
    return frame.assign(**marks)


def _repeats(frame: pd.DataFrame, files: Files, reaches: Sequence[Reach]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The row that each row repeats, never a repeat itself; and whether it is the same entry of another download.

    Word by word within a layout; as an event, of what is left, in an earlier one.
    """
    source, ids = frame["source"].to_numpy(), frame["row_id"].to_numpy()
    layout, download = files.layout[source], files.download[source]
    hashes = (frame["hash_a"].to_numpy(), frame["hash_b"].to_numpy())
    result, is_overlap = repeats_of_earlier_downloads(hashes, ids, layout, download)
    if (layout != layout[:1]).any():
        left = np.flatnonzero(~is_overlap)
        category = frame["category"].to_numpy(np.int64)[left]
        earlier = repeats_of_earlier_layouts(_places(frame).at(left), category, layout[left], reaches)
        found = earlier >= 0
        result[left[found]] = earlier[found]
        is_overlap[left[found]] = True
    return _first_of_all(result, ids), is_overlap


def _first_of_all(repeated: Ints, ids: Ints) -> Ints:
    """Where a row repeats a repeat, the row that this one repeats: a few steps, at most one per file."""
    order = np.argsort(ids)
    while True:
        of = np.flatnonzero(repeated >= 0)
        further = repeated[order[np.searchsorted(ids[order], repeated[of])]]
        if not (further >= 0).any():
            return repeated
        repeated[of] = np.where(further >= 0, further, repeated[of])


def incidents_table(
    frame: pd.DataFrame, categories: Sequence[str], neighborhoods: Sequence[str], sources: Sequence[str]
) -> pa.Table:
    """A finished bucket as it is written."""
    names = {"category": categories, "neighborhood": neighborhoods, "source": sources}
    frame = frame.assign(neighborhood=frame["neighborhood_id"])
    columns = []
    for spec in INCIDENTS:
        values: npt.NDArray[Any] = frame[spec.name].to_numpy()
        if spec.name in names:
            columns.append(_named(values, names[spec.name]))
        elif spec.name.endswith("_of"):
            columns.append(pa.array(values, spec.type, mask=values == NONE))
        else:
            columns.append(pa.array(values, spec.type))
    return pa.table(columns, schema=INCIDENTS)


def write(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
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
    partial = path.with_name(f"{path.name}.{uuid4().hex}")
    with pa.ipc.new_file(partial, table.schema) as writer:
        writer.write_table(table)
    partial.replace(path)


def open_arrow(path: Path) -> pa.Table:
    """An Arrow file, of which only what is looked at is read."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
