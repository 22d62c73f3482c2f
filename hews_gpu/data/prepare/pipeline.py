"""The two passes over a table, a partition at a time: clean the files' rows, then sort them by time and write them.

The first pass reads and cleans partitions of files and leaves their kept rows sorted by time; the second one gathers a
bucket, a stretch of time, from all of them, finds what repeats and writes it. A partition of either pass is a function
of a work folder and a number: it runs in threads of this process or on any worker that sees the folder, in any order,
and again if a worker was lost. Nothing here needs polygons as such, so that it runs where neither shapely nor geopandas
is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hews_gpu import progress
from hews_gpu.arrays import Int64
from hews_gpu.data.backend import Backend, array_of, concat, sort_by_time, to_arrow, to_backend, to_host, to_pandas
from hews_gpu.data.clean import NUMBERS, VERDICTS, Rules, block_frame, clean
from hews_gpu.data.events import CHARTS
from hews_gpu.data.prepare import sort
from hews_gpu.data.prepare.duplicates import NONE, FileGroups, targets_of, with_duplicates
from hews_gpu.data.prepare.partitions import FilePart, PartitionPlan
from hews_gpu.data.prepare.sort import Part, open_arrow, write_arrow, write_parquet
from hews_gpu.data.quality.tallies import DuplicateTally, RowTally, Tally, tally_duplicates, tally_rows
from hews_gpu.data.quality.text_statistics import TextTally, tally_texts
from hews_gpu.data.readers.dates import require_month_first
from hews_gpu.data.readers.dictionary_column import Block
from hews_gpu.data.readers.files import IncidentFile, columns_of, open_table
from hews_gpu.data.readers.schemas import TOLD, Columns, ReadSettings
from hews_gpu.errors import UserError
from hews_gpu.work_folder import read_object, read_shared, write_object
from hews_gpu.workers import STOPPING, Workers

__all__ = ["BUCKET_ROWS", "CleanJob", "CleanedTable", "clean_table", "sort_table"]

BUCKET_ROWS = 500_000
CLEAN_JOB, SORT_JOB = "clean.job", "sort.job"
PAGE = re.compile(r"(.+)-\d{5}(\.[a-z.]+)")


@dataclass(frozen=True, kw_only=True)
class CleanJob:
    """What all partitions of the first pass share."""

    plan: PartitionPlan
    settings: ReadSettings
    rules: Rules
    backend: Backend
    leave_out_damaged: bool


@dataclass(kw_only=True)
class CleanedRows(Tally):
    """What is known of the rows of one partition of the first pass, which lie beside it on disk."""

    tally: RowTally = field(default_factory=RowTally)
    texts: TextTally = field(default_factory=TextTally)
    columns: dict[int, Columns] = field(default_factory=dict)
    """File -> what is read of it."""
    damaged: dict[int, str] = field(default_factory=dict)
    """File -> what is wrong with it, of those of which nothing is here."""
    categories: list[str] = field(default_factory=list)
    """What the numbers of categories in its rows mean."""
    events: list[Any] = field(default_factory=list)
    """Kept rows, a frame for each block, until they are written; so are the tables below."""
    charts: list[pa.Table] = field(default_factory=list)
    quarantine: list[pa.Table] = field(default_factory=list)
    messages: list[pa.Table] = field(default_factory=list)
    """Of kept rows that are messages on incidents: which incident, and when each was sent."""


@dataclass(kw_only=True)
class CleanedTable:
    """The whole table after the first pass: what is known of it, and where its rows lie."""

    files: list[IncidentFile]
    damaged: dict[int, str]
    """File -> what is wrong with it, of those that are left out whole."""
    tally: RowTally = field(default_factory=RowTally)
    texts: TextTally = field(default_factory=TextTally)
    bases: dict[int, int] = field(default_factory=dict)
    """Partition -> rows of all partitions before it."""
    categories: dict[int, list[str]] = field(default_factory=dict)
    """Partition -> what the numbers of categories in its rows mean."""


@dataclass(frozen=True, kw_only=True)
class SortJob:
    """What all partitions of the second pass share."""

    parts: Sequence[Part]
    targets: pd.DataFrame
    """All kept target rows, and what they repeat."""
    groups: FileGroups
    files: Sequence[IncidentFile]
    categories: Sequence[str]
    neighborhoods: Sequence[str]
    backend: Backend
    other_message: dict[int, int]
    """Row that is a message on an incident of which another one counts -> that one."""


def clean_table(work: Path, job: CleanJob, team: Workers) -> CleanedTable:
    """Clean all partitions that are not done in the work folder yet.

    Raises:
        UserError: a file is damaged or its dates are day first; of several such mistakes the first one in the files.
    """
    write_object(work / CLEAN_JOB, job)
    plan = job.plan
    missing = [number for number in range(len(plan.partitions)) if not _path(work, "cleaned", number).is_file()]
    if len(missing) < len(plan.partitions):
        done = len(plan.partitions) - len(missing)
        progress.log(f"cleaning: {done} of {len(plan.partitions)} partitions are there already")
    failed: dict[int, UserError] = {}
    left = set(missing)
    with progress.step("cleaning", sum(plan.rows_of(number) for number in missing), "rows") as bar:
        for number, rows in team.run(clean_partition, work, missing):
            left.discard(number)
            if isinstance(rows, UserError):
                failed[number] = rows
            else:
                bar.advance(rows)
            if failed and min(failed) < min(left, default=len(plan.partitions)):
                raise failed[min(failed)]
    return _whole_table(work, plan)


def clean_partition(folder: Path, number: int) -> int | UserError:
    """Clean the rows of one partition, leave them on disk, and return their number or what is wrong with a file."""
    job: CleanJob = read_shared(folder / CLEAN_JOB)
    whole, position = CleanedRows(), dict[str, int]()
    try:
        for part in job.plan.partitions[number]:
            try:
                whole += _clean_part(part, job, whole.tally.rows, position)
            except UserError as error:
                if not (job.leave_out_damaged and error.field == part.file.name):
                    raise
                whole.damaged[part.file.number] = error.allowed
    except UserError as error:
        return error
    whole.categories = list(position)
    if whole.events:
        events = to_arrow(sort_by_time(concat(whole.events)))  # before, they are in the order of their row ids
        write_arrow(_path(folder, "events", number), events)
        write_arrow(_path(folder, "targets", number), events.filter(events["is_target"]))
        charts = pa.concat_tables(whole.charts, promote_options="default").unify_dictionaries()
        write_arrow(_path(folder, "charts", number), charts)
        write_arrow(_path(folder, "quarantine", number), pa.concat_tables(whole.quarantine))
        if whole.messages:
            write_arrow(_path(folder, "messages", number), pa.concat_tables(whole.messages))
    # last: by this file the partition is known to be done
    left = replace(whole, events=[], charts=[], quarantine=[], messages=[])
    write_object(_path(folder, "cleaned", number), left)
    return whole.tally.rows


def _clean_part(part: FilePart, job: CleanJob, first_row: int, position: dict[str, int]) -> CleanedRows:
    """Read and clean the rows of one file, numbered from `first_row` on; categories are numbered in `position`."""
    whole, number, name = CleanedRows(), part.file.number, part.file.name
    names = [file.name for file in job.plan.files]
    with open_table(part.path, name, job.settings) as table:
        columns = part.columns or columns_of(part.path, table.names, file=name, settings=job.settings)
        layout = replace(part.file, columns=columns).layout
        for rows in table.blocks(columns, part.part):
            if STOPPING.is_set():
                raise CancelledError
            block = Block(rows, number, first_row + whole.tally.rows)
            frame = block_frame(block, columns.vocabulary, job.rules.marks, columns.reading, job.rules.names)
            verdicts = clean(to_backend(frame[NUMBERS], job.backend), job.rules)
            frame = frame.assign(**{name: to_host(array_of(verdicts[name])) for name in VERDICTS})
            reason = frame["reason"].to_numpy()
            whole.tally += tally_rows(frame, number, job.rules.areas.bounds)
            whole.texts += tally_texts(block, frame, columns.charts_only, layout)
            whole.events.append(sort.events_of(verdicts, position))
            whole.charts.append(sort.chart_texts(block, reason, columns.charts_only))
            whole.quarantine.append(sort.quarantined(block, reason, names))
            if TOLD in block.texts:
                whole.messages.append(sort.messages_of(block, reason))
        whole.texts.noticed.update({(number, what): n for what, n in table.noticed.items()})
        whole.columns[number] = columns
    return whole


def _path(folder: Path, kind: str, number: int) -> Path:
    """Return where a partition leaves events, targets, charts, quarantine and cleaned, or sorted and duplicates."""
    return folder / f"{kind}-{number:06d}"


def _whole_table(work: Path, plan: PartitionPlan) -> CleanedTable:
    """Put together what all partitions have left; refuse a table of which nothing can be read, or dates misread."""
    table = CleanedTable(files=plan.files, damaged=dict(plan.damaged))
    for number in range(len(plan.partitions)):
        table.damaged |= read_object(_path(work, "cleaned", number)).damaged
    if len(table.damaged) == len(plan.files):
        first = plan.files[0]
        raise UserError(first.name, allowed=f"{table.damaged[first.number]}; no other file can be read either")
    columns: dict[int, Columns] = {}
    rows = 0
    for number, parts in enumerate(plan.partitions):
        if all(part.file.number in table.damaged for part in parts):
            continue  # another partition of the file could not be read: nothing of it is used
        cleaned: CleanedRows = read_object(_path(work, "cleaned", number))
        table.bases[number], table.categories[number] = rows, cleaned.categories
        rows += cleaned.tally.rows
        table.tally += cleaned.tally
        table.texts += cleaned.texts
        columns |= cleaned.columns
    rows_of = table.tally.by(lambda kind: kind.source)
    table.files = [replace(file, columns=columns.get(file.number), rows=rows_of[file.number]) for file in plan.files]
    for file in table.files:
        require_month_first(file.name, table.texts.slash_dates.get(file.number, set()))
    return table


def sort_table(
    folder: Path,
    work: Path,
    table: CleanedTable,
    neighborhoods: Sequence[str],
    team: Workers,
    bucket_rows: int,
    *,
    newest_message: bool = True,
) -> tuple[DuplicateTally, tuple[int, int] | None]:
    """Sort what `clean_table` left in the work folder, find what repeats, and write the tables to `folder`.

    These are incidents, quarantine and charts_only.parquet. A stretch of time has about `bucket_rows` rows. Of several
    messages on an incident the newest counts, or the first.

    Returns:
        What repeats, and the times of the first and of the last row.
    """
    days: Counter[int] = sum(table.tally.days.values(), Counter())
    edges_s = sort.bucket_edges(days, bucket_rows)
    other = sort.other_messages(list(_numbered(work, "messages", table.bases)), newest=newest_message)
    job, span_s = _sort_job(work, table, neighborhoods, edges_s, team.backend, other)
    write_object(work / SORT_JOB, job)
    duplicates = DuplicateTally()
    with progress.step("sorting", table.tally.kept, "rows") as bar:
        buckets = _in_order(work, max(0, len(edges_s) - 1), team, duplicates, bar)
        write_parquet(folder / "incidents.parquet", sort.INCIDENTS, buckets)
    write_parquet(folder / "quarantine.parquet", sort.QUARANTINE, _numbered(work, "quarantine", table.bases))
    charts = dict.fromkeys(name for file in table.files if file.columns for name in file.columns.charts_only)
    schema = pa.schema({"row_id": pa.int64(), **dict.fromkeys(charts, pa.string())})
    write_parquet(folder / CHARTS, schema, _aligned(_numbered(work, "charts", table.bases), schema))
    return duplicates, span_s


def sort_bucket(folder: Path, number: int) -> int:
    """Sort one stretch of time, find what repeats, leave it on disk as it is to be written, and return its rows."""
    job: SortJob = read_shared(folder / SORT_JOB)
    loaded = sort.load_bucket(number, job.parts, job.backend)
    frame = _with_repeats(to_pandas(loaded), job)
    rows = sort.incidents_table(frame, job.categories, job.neighborhoods, [file.name for file in job.files])
    write_arrow(_path(folder, "sorted", number), rows)
    write_object(_path(folder, "duplicates", number), tally_duplicates(frame, [file.rows for file in job.files]))
    return len(frame)


def _with_repeats(rows: pd.DataFrame, job: SortJob) -> pd.DataFrame:
    """Return rows of a stretch of time with what each repeats; a message that does not count repeats the one that does.

    It is nothing that a row of another table could repeat in turn.
    """
    is_other = rows["row_id"].isin(list(job.other_message))
    if not is_other.any():
        return with_duplicates(rows, job.targets, job.groups)
    counting = with_duplicates(rows[~is_other], job.targets, job.groups)
    aside = rows[is_other].assign(is_overlap=True, twin_of=NONE, near_twin_of=NONE)
    aside["duplicate_of"] = aside["row_id"].map(job.other_message).astype(np.int64)
    return pd.concat([counting, aside]).sort_values(["time_s", "row_id"], ignore_index=True)


def _sort_job(
    work: Path,
    table: CleanedTable,
    neighborhoods: Sequence[str],
    edges_s: Int64,
    backend: Backend,
    other_message: dict[int, int],
) -> tuple[SortJob, tuple[int, int] | None]:
    """Return what the second pass needs, above all all target rows; and the times of the first and of the last row."""
    categories = sorted(table.tally.categories)
    order = {name: code for code, name in enumerate(categories)}
    layouts = _numbers([file.layout if file.columns else () for file in table.files])
    groups = FileGroups(layouts, _downloads(table.files))
    parts, targets, spans = [], [], []
    for number, base in table.bases.items():
        codes = np.array([order.get(name, -1) for name in table.categories[number]], np.int32)
        path = _path(work, "events", number)
        time_s = open_arrow(path)["time_s"].to_numpy()
        part = Part(path, base, codes, np.searchsorted(time_s, edges_s))
        parts.append(part)
        targets.append(part.read(open_arrow(_path(work, "targets", number))))
        if len(time_s):
            spans.append((int(time_s[0]), int(time_s[-1])))
    told = pa.concat_tables(targets).to_pandas()
    job = SortJob(
        parts=parts,
        targets=targets_of(told[~told["row_id"].isin(other_message)], groups),
        groups=groups,
        files=table.files,
        categories=categories,
        neighborhoods=neighborhoods,
        backend=backend,
        other_message=other_message,
    )
    return job, (min(spans)[0], max(last for _, last in spans)) if spans else None


def _numbers(keys: Sequence[Any]) -> Int64:
    """Number the distinct keys in the order of their first occurrence, and return the number of each key."""
    first = list(dict.fromkeys(keys))
    return np.array([first.index(key) for key in keys], np.int64)


def _downloads(files: Sequence[IncidentFile]) -> Int64:
    """Return the number of the download of each file, in the order of the files.

    Files of one folder that are named as `hews fetch` names pages (incidents-00001.csv, incidents-00002.csv) are one
    download: no page repeats another's rows, so that equal rows of two pages are two entries, such as two victims. Any
    other file is a download of its own, however it was named in the city's file: the glob that finds the pages of one
    table finds yearly or older copies of it as well. Should it be a page after all, then only an event whose rows are
    equal in every word and end up in two files is counted too low; the other mistake would count whole files twice.
    """
    pages = [PAGE.fullmatch(file.path.name) for file in files]
    names = [page[1] + page[2] if page else file.path.name for page, file in zip(pages, files, strict=True)]
    return _numbers([file.path.with_name(name) for name, file in zip(names, files, strict=True)])


def _in_order(work: Path, buckets: int, team: Workers, tally: DuplicateTally, bar: progress.Step) -> Iterator[pa.Table]:
    """Sort all buckets that are not done yet; give the rows of each as it is its turn, and add up what repeats."""
    ready = {number for number in range(buckets) if _path(work, "duplicates", number).is_file()}
    missing = [number for number in range(buckets) if number not in ready]
    if ready:
        progress.log(f"sorting: {len(ready)} of {buckets} stretches of time are there already")
    done = (number for number, _ in team.run(sort_bucket, work, missing))
    turn = 0
    for number in chain(sorted(ready)[:1], done):  # what is ready may be given at once
        ready.add(number)
        while turn in ready:
            rows = open_arrow(_path(work, "sorted", turn))
            tally += read_object(_path(work, "duplicates", turn))
            bar.advance(len(rows))
            turn += 1
            yield rows


def _numbered(work: Path, kind: str, bases: Mapping[int, int]) -> Iterator[pa.Table]:
    """Give what the partitions left of one kind, in order, its rows numbered as in the whole table."""
    for number, base in bases.items():
        if not _path(work, kind, number).is_file():
            continue  # no row of the partition is of that kind
        table = open_arrow(_path(work, kind, number))
        at = table.column_names.index("row_id")
        yield table.set_column(at, "row_id", pa.array(table["row_id"].to_numpy() + base))


def _aligned(tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Give tables with the columns of a schema; text that a table has no column for is blank."""
    for table in tables:
        blank = pa.repeat("", len(table))
        columns = [
            table[name].cast(pa.string()).fill_null("") if name in table.column_names else blank
            for name in schema.names[1:]
        ]
        yield pa.table([table["row_id"], *columns], schema=schema)
