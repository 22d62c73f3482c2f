"""The two passes over a table, a partition at a time, as functions of a work folder and a number.

The first pass cleans pieces of files and leaves their kept rows sorted by time; the second one gathers a stretch of
time from all of them, marks what repeats and writes it. Both run in threads of this process or on any worker that sees
the folder, in any order, and again if a worker was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hews_gpu.data.prepare import sort as tables
from hews_gpu.data.prepare.backend import Backend, array_of, take_pandas, to_host, to_pandas
from hews_gpu.data.prepare.clean import NUMBERS, Rules, block_frame, clean
from hews_gpu.data.prepare.partitions import Piece
from hews_gpu.data.prepare.sort import Bucket, Files, Part, Targets
from hews_gpu.data.prepare.workdir import load, recall, save
from hews_gpu.data.quality import tallies as quality
from hews_gpu.data.quality import text_statistics as texts
from hews_gpu.data.quality.dictionary_column import Block
from hews_gpu.data.quality.tallies import Marks, Tally
from hews_gpu.data.quality.text_statistics import TextTally
from hews_gpu.data.readers.files import Reading, Seen, Span, layout_of, read_span
from hews_gpu.data.readers.schemas import vocabulary_of
from hews_gpu.errors import UserError
from hews_gpu.workers import STOPPING

__all__ = ["CleanJob", "Cleaned", "MarkJob", "bucket_path", "clean_piece", "mark_bucket", "piece_path"]

CLEAN_JOB, MARK_JOB = "clean.job", "mark.job"
VERDICTS = ("reason", "neighborhood_id", "is_nearest", "is_target")


@dataclass(frozen=True, kw_only=True)
class CleanJob:
    """What all partitions of the first pass share."""

    pieces: Sequence[Piece]
    paths: Sequence[Path]
    """Of the sources."""
    names: Sequence[str]
    how: Reading
    rules: Rules
    backend: Backend
    leave_out_damaged: bool


@dataclass(kw_only=True)
class Cleaned:
    """What one partition of the first pass found; its rows lie beside it on disk."""

    rows: int = 0
    counts: Tally = field(default_factory=Tally)
    of_texts: TextTally = field(default_factory=TextTally)
    seen: dict[int, Seen] = field(default_factory=dict)
    """Source -> what reading it showed."""
    categories: list[str] = field(default_factory=list)
    """What the numbers of categories in its rows mean."""
    damaged: dict[int, str] = field(default_factory=dict)
    """Source -> what is wrong with it, of those of which nothing is here."""


@dataclass(frozen=True, kw_only=True)
class MarkJob:
    """What all partitions of the second pass share."""

    buckets: Sequence[Bucket]
    parts: Sequence[Part]
    targets: Targets
    files: Files
    rows_of: Sequence[int]
    categories: Sequence[str]
    neighborhoods: Sequence[str]
    names: Sequence[str]
    backend: Backend


def piece_path(folder: Path, kind: str, number: int) -> Path:
    """A file that a partition of the first pass leaves: events, targets, charts, quarantine, or what it found."""
    return folder / f"{kind}-{number:06d}"


def bucket_path(folder: Path, kind: str, number: int) -> Path:
    """A file that a partition of the second pass leaves: its rows, or its counts of the marks."""
    return folder / f"{kind}-{number:06d}"


def clean_piece(folder: Path, number: int) -> int | UserError:
    """First pass, one piece: read, clean, count and leave its rows on disk.

    Returns:
        How many rows it has; or what is wrong with a file, for the one who leads to tell.
    """
    job: CleanJob = load(folder / CLEAN_JOB)
    work = _Piece(job)
    try:
        for span in job.pieces[number]:
            work.take(span)
    except UserError as error:
        return error
    work.leave(folder, number)
    return work.done.rows


class _Piece:
    """One piece of the first pass in the making."""

    def __init__(self, job: CleanJob) -> None:
        self.job = job
        self.done = Cleaned()
        self.position: dict[str, int] = {}
        self.events: list[Any] = []
        self.chart_rows: list[pa.Table] = []
        self.aside: list[pa.Table] = []

    def take(self, span: Span) -> None:
        """Read and clean one span; of a damaged file nothing is kept."""
        part = _Piece(self.job)
        part.done.rows, part.position = self.done.rows, self.position
        seen = Seen()
        try:
            for table in read_span(span, self.job.how, seen):
                if STOPPING.is_set():
                    raise CancelledError
                part.take_block(table, span, seen)
        except UserError as error:
            if not (self.job.leave_out_damaged and error.field == span.name):
                raise
            self.done.damaged[span.number] = error.allowed
            return
        self.done.rows = part.done.rows
        self.done.counts += part.done.counts
        self.done.of_texts += part.done.of_texts
        self.done.seen.setdefault(span.number, Seen()).__iadd__(seen)
        self.done.categories = list(self.position)
        self.events += part.events
        self.chart_rows += part.chart_rows
        self.aside += part.aside

    def take_block(self, table: pa.Table, span: Span, seen: Seen) -> None:
        """Clean one block; its rows are numbered from the first one of the piece."""
        assert seen.columns is not None
        charts = tuple(seen.columns.charts_only)
        rows = np.arange(self.done.rows, self.done.rows + len(table))
        self.done.rows += len(table)
        table = table.add_column(0, "row_id", pa.array(rows))
        table = table.add_column(0, "source", pa.array(np.full(len(table), span.number, np.int32)))
        block = Block(table)
        frame = block_frame(block, vocabulary_of(seen.columns.schema))
        verdicts = clean(take_pandas(frame[NUMBERS], self.job.backend), self.job.rules)
        self.events.append(tables.events_of(verdicts, self.position))
        judged = frame.assign(**{name: to_host(array_of(verdicts[name])) for name in VERDICTS})
        self.count(
            block, judged, charts, layout_of(self.job.paths[span.number], seen.columns.schema, seen.columns.read)
        )
        reason = judged["reason"].to_numpy()
        self.chart_rows.append(tables.chart_texts(block, reason == 0, charts))
        self.aside.append(tables.quarantined(block, reason, self.job.names))

    def leave(self, folder: Path, number: int) -> None:
        """Write what there is, last of all what was found: by this file the piece is known to be done."""
        if self.events:
            events = tables.sorted_events(self.events)
            tables.write_arrow(piece_path(folder, "events", number), events)
            tables.write_arrow(piece_path(folder, "targets", number), events.filter(events["is_target"]))
            charts = pa.concat_tables(self.chart_rows, promote_options="default").unify_dictionaries()
            tables.write_arrow(piece_path(folder, "charts", number), charts)
            tables.write_arrow(piece_path(folder, "quarantine", number), pa.concat_tables(self.aside))
        save(piece_path(folder, "found", number), self.done)

    def count(self, block: Block, judged: pd.DataFrame, charts: Sequence[str], layout: tuple[str, ...]) -> None:
        """Add a block's counts."""
        self.done.of_texts += texts.tally_texts(block, judged, charts, layout)
        self.done.counts += quality.tally(judged, np.array(self.job.rules.areas.bounds))


def mark_bucket(folder: Path, number: int) -> int:
    """Second pass, one stretch of time: gather, sort, mark and leave it as it is to be written.

    Returns:
        How many rows it has.
    """
    job: MarkJob = load(folder / MARK_JOB)
    loaded = tables.load_bucket(job.buckets[number], job.parts, job.backend)
    frame = tables.finish(to_pandas(loaded), job.targets, job.files)
    marks = Marks(rows_of=job.rows_of)
    marks.add(frame)
    rows = tables.incidents_table(frame, job.categories, job.neighborhoods, job.names)
    tables.write_arrow(bucket_path(folder, "bucket", number), rows)
    save(bucket_path(folder, "marks", number), marks)
    return len(frame)


def found(folder: Path, number: int) -> Cleaned:
    """What `clean_piece` found."""
    content: Cleaned = recall(piece_path(folder, "found", number))
    return content
