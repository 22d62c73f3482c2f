"""The first, cheap pass over the incident files: how they are cut into pieces that can be cleaned apart.

Nothing is parsed: a CSV file is cut at ends of records, which are counted on the way; a Parquet file by its own index;
a JSON file is one piece. Many small files make one piece together. Text that is packed or in UTF-16 is unpacked into
the work folder as it is counted, so that it can be cut, too. No result depends on the cut.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from hews_gpu import progress
from hews_gpu.data.readers.blocks import Job
from hews_gpu.data.readers.csv_rows import Stretch, is_plain, read_csv, scan_csv
from hews_gpu.data.readers.files import Reading, Seen, Source, Span, job_of, reader_of, whole_file
from hews_gpu.data.readers.parquet_rows import read_parquet, scan_parquet
from hews_gpu.errors import UserError

__all__ = ["PIECE_BYTES", "Piece", "Plan", "make_plan"]

PIECE_BYTES = 64 << 20
"""Text of one piece, at most: some 400,000 rows, of which a worker holds the numbers."""
LEAST_BYTES = 8 << 20
PIECES = 16
"""Into which a table is cut at least, as long as they are not smaller than LEAST_BYTES."""
ROW_BYTES = 150
"""Of a row in a file; what a JSON table's rows are guessed by before they are read."""

Piece = tuple[Span, ...]


@dataclass(kw_only=True)
class Plan:
    """How the files are cut."""

    pieces: list[Piece] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    """Source -> what is wrong with it, of those that are left out whole."""

    def rows_of(self, piece: int) -> int:
        """Rows of one piece, guessed where they cannot be counted."""
        return sum(
            span.path.stat().st_size // ROW_BYTES if span.rows is None else span.rows for span in self.pieces[piece]
        )

    @property
    def rows(self) -> int:
        """Rows of all pieces."""
        return sum(map(self.rows_of, range(len(self.pieces))))


def make_plan(
    sources: list[Source], how: Reading, work: Path, *, piece_bytes: int | None = None, leave_out_damaged: bool = False
) -> Plan:
    """Cut the files, and fill in their sizes and digests.

    Args:
        sources: the files, in order.
        how: they are read.
        work: folder for unpacked text.
        piece_bytes: text of a piece, at most.
        leave_out_damaged: whether a file that is no table is left out instead of refused.

    Raises:
        UserError: a file cannot be read as a table, has no rows, or lacks a column.
    """
    sizes = [source.path.stat().st_size for source in sources]
    piece_bytes = piece_bytes or min(PIECE_BYTES, max(LEAST_BYTES, sum(sizes) // PIECES))
    plan, gathered = Plan(), _Gathered(piece_bytes)
    with ThreadPoolExecutor(1) as digester, progress.step("reading", round(sum(sizes) / 1e6, 1), "MB") as bar:
        digests = [digester.submit(_digest, source) for source in sources]
        try:
            for source, size in zip(sources, sizes, strict=True):
                try:
                    gathered.add(_spans(source, how, work, piece_bytes), size)
                except UserError as error:
                    if not (leave_out_damaged and error.field == source.name):
                        raise
                    plan.damaged[source.number] = error.allowed
                bar.advance(size / 1e6)
        except BaseException:
            digester.shutdown(cancel_futures=True)
            raise
        for source, size, digest in zip(sources, sizes, digests, strict=True):
            source.bytes, source.sha256 = size, digest.result()
    plan.pieces = gathered.pieces
    return plan


class _Gathered:
    """Spans as pieces: files much smaller than a piece share one, in their order."""

    def __init__(self, piece_bytes: int) -> None:
        self.most = piece_bytes
        self.done: list[Piece] = []
        self.few: list[Span] = []
        self.few_bytes = 0

    @property
    def pieces(self) -> list[Piece]:
        """All pieces so far."""
        return [*self.done, *([tuple(self.few)] if self.few else [])]

    def add(self, spans: list[Span], size: int) -> None:
        """Add a file of so many bytes."""
        if len(spans) > 1 or size >= self.most or self.few_bytes >= self.most:
            self.done, self.few, self.few_bytes = self.pieces, [], 0
        if len(spans) > 1 or size >= self.most:
            self.done += [(span,) for span in spans]
        else:
            self.few += spans
            self.few_bytes += size


def _digest(source: Source) -> str:
    with whole_file(source.path, source.name), source.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _spans(source: Source, how: Reading, work: Path, piece_bytes: int) -> list[Span]:
    """One file, cut."""
    reader, seen = reader_of(source.path), Seen()
    whole = Span(number=source.number, name=source.name, path=source.path)
    job = job_of(source.name, how, seen)
    with whole_file(source.path, source.name):
        if reader is read_csv:
            path, stretches = _stretches(source, job, work, piece_bytes)
            spans = [replace(whole, path=path, part=part, columns=seen.columns) for part in stretches]
        elif reader is read_parquet:
            groups = scan_parquet(source.path, job, max(1, piece_bytes // ROW_BYTES))
            spans = [replace(whole, part=part) for part in groups]
        else:
            return [whole]
    if not spans:
        raise UserError(source.name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
    return spans


def _stretches(source: Source, job: Job, work: Path, piece_bytes: int) -> tuple[Path, list[Stretch]]:
    """A CSV file as stretches of plain text, and the file that they are in."""
    if is_plain(source.path):
        return source.path, list(scan_csv(source.path, job, piece_bytes))
    path = work / f"text-{source.number:06d}"
    with path.open("wb") as copy:
        return path, list(scan_csv(source.path, job, piece_bytes, copy))
