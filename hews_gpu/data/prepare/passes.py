"""The two passes over all partitions, and the tables they make: what `prepare` does once it knows files and polygons.

Nothing here needs polygons as such, so that it runs where neither shapely nor geopandas is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from hews_gpu import progress
from hews_gpu.data.prepare import sort as tables
from hews_gpu.data.prepare import stages
from hews_gpu.data.prepare.partitions import Plan
from hews_gpu.data.prepare.sort import BUCKET_ROWS, INCIDENTS, QUARANTINE, Part
from hews_gpu.data.prepare.stages import CleanJob, MarkJob, bucket_path, clean_piece, mark_bucket, piece_path
from hews_gpu.data.prepare.workdir import recall, save
from hews_gpu.data.quality.counts import Counts
from hews_gpu.data.quality.tallies import Marks, Tally
from hews_gpu.data.quality.text_statistics import TextTally
from hews_gpu.data.readers.dates import is_day_first
from hews_gpu.data.readers.files import Seen, Source, day_first_error
from hews_gpu.errors import UserError
from hews_gpu.workers import Workers

__all__ = ["Table", "build_tables", "first_files"]

PAGE = re.compile(r"(.+)-\d{5}(\.[a-z.]+)")


@dataclass(kw_only=True)
class Table:
    """The whole table after the first pass: what is known of it, and where its rows lie."""

    sources: list[Source]
    counts: Tally = field(default_factory=Tally)
    of_texts: TextTally = field(default_factory=TextTally)
    parts: list[Part] = field(default_factory=list)
    """Kept rows, in the order of the pieces."""
    bases: dict[int, int] = field(default_factory=dict)
    """Piece -> rows of all pieces before it."""

    @property
    def charts(self) -> list[str]:
        """Charts-only columns of all files."""
        return list(dict.fromkeys(name for source in self.sources for name in source.charts_only))

    @property
    def categories(self) -> list[str]:
        """Of kept rows, in the order of their numbers."""
        return sorted(self.counts.categories)


def build_tables(
    folder: Path,
    work: Path,
    job: CleanJob,
    plan: Plan,
    sources: list[Source],
    team: Workers,
    *,
    neighborhoods: Sequence[str],
    check: Callable[[Tally], None],
    bucket_rows: int = BUCKET_ROWS,
) -> tuple[Table, Marks]:
    """Clean all pieces, sort and mark their rows, and write the three tables.

    Args:
        folder: where incidents.parquet, quarantine.parquet and charts_only.parquet go.
        work: the work folder; what is done in it already is not done again.
        job: of the first pass.
        plan: how the files are cut; those that turn out to be damaged are added to it.
        sources: the files; what reading shows of them is filled in.
        team: who does the partitions.
        neighborhoods: their names.
        check: raises if the counts of the first pass make no sense.
        bucket_rows: rows of a stretch of time, about.

    Raises:
        UserError: a file is damaged or its dates are day first, or what `check` raises.
    """
    save(work / stages.CLEAN_JOB, job)
    _clean_pieces(work, plan, team)
    table = _merged(work, plan, sources)
    check(table.counts)
    marking = _mark_job(work, table, job, neighborhoods, bucket_rows)
    save(work / stages.MARK_JOB, marking)
    marks = Marks(rows_of=marking.rows_of)
    with progress.step("sorting", table.counts.reasons[0], "rows") as bar:
        tables.write(folder / "incidents.parquet", INCIDENTS, _in_order(work, len(marking.buckets), team, marks, bar))
    tables.write(folder / "quarantine.parquet", QUARANTINE, _numbered(work, "quarantine", table.bases))
    schema = tables.charts_schema(table.charts)
    tables.write(folder / "charts_only.parquet", schema, _aligned(_numbered(work, "charts", table.bases), schema))
    return table, marks


def _clean_pieces(work: Path, plan: Plan, team: Workers) -> None:
    """First pass over all pieces that are not done yet; of several mistakes the first one in the files is told."""
    missing = [number for number in range(len(plan.pieces)) if not piece_path(work, "found", number).is_file()]
    if len(missing) < len(plan.pieces):
        progress.log(f"cleaning: {len(plan.pieces) - len(missing)} of {len(plan.pieces)} pieces are there already")
    failed: dict[int, UserError] = {}
    left = set(missing)
    with progress.step("cleaning", sum(plan.rows_of(number) for number in missing), "rows") as bar:
        for number, rows in team.run(clean_piece, work, missing):
            left.discard(number)
            if isinstance(rows, UserError):
                failed[number] = rows
            else:
                bar.advance(rows)
            if failed and min(failed) < min(left, default=len(plan.pieces)):
                raise failed[min(failed)]


def _merged(work: Path, plan: Plan, sources: list[Source]) -> Table:
    """What all pieces found, together; fills in the sources."""
    for number in range(len(plan.pieces)):
        plan.damaged |= stages.found(work, number).damaged
    table = Table(sources=sources)
    seen = {source.number: Seen() for source in sources}
    left: list[tuple[Path, int, list[str], Counts]] = []
    rows = 0
    for number, spans in enumerate(plan.pieces):
        if all(span.number in plan.damaged for span in spans):
            continue  # another piece of the file could not be read: nothing of it is used
        piece = stages.found(work, number)
        table.counts += piece.counts
        table.of_texts += piece.of_texts
        for source, shown in piece.seen.items():
            seen[source] += shown
        table.bases[number] = rows
        left.append((piece_path(work, "events", number), rows, piece.categories, piece.counts.days))
        rows += piece.rows
    _fill_in(sources, seen, plan)
    _number_layouts(table)
    order = {name: code for code, name in enumerate(table.categories)}
    table.parts = [_part(*one, order) for one in left]
    return table


def _fill_in(sources: list[Source], seen: dict[int, Seen], plan: Plan) -> None:
    """Tell the sources what reading them showed; refuse one that would be misread, or that all are damaged."""
    if len(plan.damaged) == len(sources):
        first = sources[0]
        raise UserError(first.name, allowed=f"{plan.damaged[first.number]}; no other file can be read either")
    for source in sources:
        if source.number not in plan.damaged:
            source.take(seen[source.number])
            if is_day_first(seen[source.number].dates):
                raise day_first_error(source.name, seen[source.number].dates)


def _mark_job(work: Path, table: Table, job: CleanJob, neighborhoods: Sequence[str], bucket_rows: int) -> MarkJob:
    """What the second pass needs: where its stretches of time begin, and all target rows."""
    files = tables.Files(np.array(layouts_of(table.sources)), np.array(_downloads(table.sources)))
    targets = [
        part.read(path=piece_path(work, "targets", number))
        for number, part in zip(table.bases, table.parts, strict=True)
    ]
    return MarkJob(
        buckets=tables.buckets_of(table.counts.days, bucket_rows),
        parts=table.parts,
        targets=tables.targets_of(targets, files),
        files=files,
        rows_of=[source.rows for source in table.sources],
        categories=table.categories,
        neighborhoods=neighborhoods,
        names=job.names,
        backend=job.backend,
    )


def _part(path: Path, base: int, categories: list[str], days: Counts, order: dict[str, int]) -> Part:
    """The rows that a piece has left, with where each day ends in them."""
    codes = np.array([order.get(name, -1) for name in categories], np.int32)
    return Part(path, base, codes, days.numbers, np.cumsum(days.rows))


def _number_layouts(table: Table) -> None:
    """Tell layouts by their number instead of by what they are made of."""
    number = dict(zip((source.layout for source in table.sources), layouts_of(table.sources), strict=True))
    columns = table.of_texts.columns
    table.of_texts.columns = {(number[layout], name): counts for (layout, name), counts in columns.items()}


def _in_order(work: Path, buckets: int, team: Workers, marks: Marks, bar: progress.Step) -> Iterator[pa.Table]:
    """Second pass: the rows of each stretch of time as it is their turn; adds up their marks."""
    ready = {number for number in range(buckets) if bucket_path(work, "marks", number).is_file()}
    missing = [number for number in range(buckets) if number not in ready]
    if ready:
        progress.log(f"sorting: {len(ready)} of {buckets} stretches of time are there already")
    turn = 0

    def next_ones() -> Iterator[pa.Table]:
        nonlocal turn
        while turn in ready:
            rows = tables.open_arrow(bucket_path(work, "bucket", turn))
            marks.__iadd__(recall(bucket_path(work, "marks", turn)))
            bar.advance(len(rows))
            turn += 1
            yield rows

    yield from next_ones()
    for number, _ in team.run(mark_bucket, work, missing):
        ready.add(number)
        yield from next_ones()


def _numbered(work: Path, kind: str, bases: dict[int, int]) -> Iterator[pa.Table]:
    """What the pieces left of one kind, in order, its rows numbered as in the whole table."""
    for number, base in bases.items():
        path = piece_path(work, kind, number)
        if path.is_file():
            table = tables.open_arrow(path)
            at = table.column_names.index("row_id")
            yield table.set_column(at, "row_id", pa.array(table["row_id"].to_numpy() + base))


def _aligned(parts: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables with the columns of a schema; text that a table has no column for is blank."""
    for table in parts:
        blank = pa.array([""]).take(pa.array(np.zeros(len(table), np.int64)))
        columns = [
            table[name].cast(pa.string()).fill_null("") if name in table.column_names else blank
            for name in schema.names[1:]
        ]
        yield pa.table([table["row_id"], *columns], schema=schema)


def layouts_of(sources: list[Source]) -> list[int]:
    """Number of the layout of each source, in the order of the files."""
    layouts = list(dict.fromkeys(source.layout for source in sources))
    return [layouts.index(source.layout) for source in sources]


def _downloads(sources: list[Source]) -> list[int]:
    """Number of the download of each source, in the order of the files.

    Files of one folder that are named as `hews fetch` names pages (incidents-00001.csv, incidents-00002.csv) are one
    download: no page repeats another's rows, so that equal rows of two pages are two entries, such as two victims. Any
    other file is a download of its own, however it was named in the city's file: the glob that finds the pages of one
    table finds yearly or older copies of it as well. Should it be a page after all, then only an event whose rows are
    equal in every word and end up in two files is counted too low; the other mistake would count whole files twice.
    """
    names = []
    for source in sources:
        page = PAGE.fullmatch(source.path.name)
        names.append(str(source.path) if page is None else str(source.path.with_name(page[1] + page[2])))
    first = list(dict.fromkeys(names))
    return [first.index(name) for name in names]


def first_files(sources: list[Source]) -> list[str]:
    """Name of the first file of each layout."""
    layouts = layouts_of(sources)
    return [sources[layouts.index(number)].name for number in sorted(set(layouts))]
