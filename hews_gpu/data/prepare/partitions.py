"""The first, cheap pass over the incident files: how they are cut into partitions that can be cleaned apart.

Nothing is parsed: a CSV file is cut at ends of records, which are counted on the way; a Parquet file by its own index;
a JSON file is one part. Many small files make one partition together. Text that is packed or in UTF-16 is unpacked into
the work folder first, and a sheet of Excel's written there as text, so that it can be cut, too. No result depends on
the cut.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hews_gpu import progress
from hews_gpu.data.readers.csv_rows import CsvTable, is_plain, open_bytes, open_csv
from hews_gpu.data.readers.excel_sheets import excel_text, open_excel
from hews_gpu.data.readers.files import IncidentFile, columns_of, kind_of, one_line_errors, open_table
from hews_gpu.data.readers.json_rows import open_json
from hews_gpu.data.readers.parquet_rows import ParquetTable
from hews_gpu.data.readers.schemas import ROW_BYTES, Columns, ReadSettings, Stretch
from hews_gpu.errors import UserError

__all__ = ["FilePart", "Partition", "PartitionPlan", "plan_partitions"]

MOST_BYTES = 64 << 20
"""Text of one partition: some 400,000 rows, of which a worker holds the numbers."""
LEAST_BYTES = 8 << 20
PARTITIONS = 16
"""Into which a table is cut at least, as long as they are not smaller than LEAST_BYTES."""


@dataclass(frozen=True, kw_only=True)
class FilePart:
    """Rows of one file that follow each other: what is read in one go."""

    file: IncidentFile
    path: Path
    """What is read: the file itself, or its unpacked text."""
    part: Stretch | None = None
    """Which rows; None: all."""
    columns: Columns | None = None
    """What is read of them; None: this is chosen when the file is read."""

    @property
    def rows(self) -> int:
        """How many rows it has, guessed where they are not counted."""
        return self.path.stat().st_size // ROW_BYTES if self.part is None else self.part.rows


Partition = tuple[FilePart, ...]


@dataclass(kw_only=True)
class PartitionPlan:
    """How the files of a table are cut."""

    files: list[IncidentFile]
    """With their sizes and digests."""
    partitions: list[Partition] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    """Number of a file -> what is wrong with it, of those that are left out whole."""

    def rows_of(self, number: int) -> int:
        """Return the rows of one partition, guessed where they are not counted."""
        return sum(part.rows for part in self.partitions[number])

    @property
    def rows(self) -> int:
        """Rows of all partitions."""
        return sum(map(self.rows_of, range(len(self.partitions))))


def plan_partitions(
    files: Sequence[IncidentFile],
    settings: ReadSettings,
    work: Path,
    *,
    most_bytes: int | None = None,
    leave_out_damaged: bool = False,
) -> PartitionPlan:
    """Cut the files.

    Args:
        files: in order.
        settings: how they are read.
        work: folder for unpacked text.
        most_bytes: text of a partition, at most; None: as suits the table.
        leave_out_damaged: leave out a file that is no table instead of refusing it.

    Raises:
        UserError: a file cannot be read as a table, has no rows, or lacks a column.
    """
    files = [replace(file, bytes=file.path.stat().st_size) for file in files]
    total = sum(file.bytes for file in files)
    most_bytes = most_bytes or min(MOST_BYTES, max(LEAST_BYTES, total // PARTITIONS))
    plan, parts = PartitionPlan(files=files), []
    with progress.step("reading", round(total / 1e6, 1), "MB") as bar:
        for file in files:
            try:
                parts.append(_parts_of(file, settings, work, most_bytes))
            except UserError as error:
                if not (leave_out_damaged and error.field == file.name):
                    raise
                plan.damaged[file.number] = error.allowed
                parts.append([])
            bar.advance(file.bytes / 1e6)
    plan.partitions = _gathered(parts, [file.bytes for file in files], most_bytes)
    return plan


def _parts_of(file: IncidentFile, settings: ReadSettings, work: Path, most_bytes: int) -> list[FilePart]:
    """Cut one file."""
    path, kind = file.path, kind_of(file.path)
    if kind is open_json:  # its columns are known only from its records, and looking at these takes time
        return [FilePart(file=file, path=path)]
    with one_line_errors(path, file.name):
        if kind is open_excel or (kind is open_csv and not is_plain(path)):
            path = work / f"text-{file.number:06d}.csv"
            opened = excel_text(file.path, file.name) if kind is open_excel else open_bytes(file.path)
            with opened as packed, path.open("wb") as text:
                shutil.copyfileobj(packed, text)
    with open_table(path, file.name, settings) as table:
        assert isinstance(table, CsvTable | ParquetTable)
        columns = columns_of(path, table.names, file=file.name, settings=settings)
        parts = [FilePart(file=file, columns=columns, path=path, part=part) for part in table.cut(most_bytes)]
    if not parts:
        raise UserError(file.name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
    return parts


def _gathered(parts: list[list[FilePart]], sizes: list[int], most_bytes: int) -> list[Partition]:
    """Return the parts of files as partitions: files much smaller than a partition share one, in their order."""
    partitions: list[Partition] = []
    few: list[FilePart] = []
    few_bytes = 0
    for of_file, size in zip(parts, sizes, strict=True):
        is_large = len(of_file) > 1 or (bool(of_file) and size >= most_bytes)
        if few and (is_large or few_bytes >= most_bytes):
            partitions.append(tuple(few))
            few, few_bytes = [], 0
        if is_large:
            partitions += [(part,) for part in of_file]
        elif of_file:
            few += of_file
            few_bytes += size
    return [*partitions, tuple(few)] if few else partitions
