"""`hews status --follow`: look again and again until nothing waits or runs any more, and tell what changed."""

from __future__ import annotations

import time
from pathlib import Path

from hews_gpu.cluster.jobs import Submission
from hews_gpu.cluster.status import Row, is_over, rows_of
from hews_gpu.cluster.sweep import result_of, run_folder
from hews_gpu.errors import UserError
from hews_gpu.progress import log

__all__ = ["follow"]


def follow(folder: Path, submission: Submission, *, every_s: float) -> list[Row]:
    """Tell on standard error of every job that changes its state, until all are over.

    Args:
        folder: what the jobs were submitted for.
        submission: the jobs.
        every_s: from one look to the next.

    Returns:
        The rows at the end.
    """
    told: dict[str, tuple[str, int]] = {}
    while True:
        try:
            rows = rows_of(folder, submission)
        except UserError as error:  # a busy controller is no reason to stop following
            log(f"hews: {error} Looking again.")
            rows = []
        for row in rows:
            if told.get(row.job) != (row.state, row.requeued):
                told[row.job] = (row.state, row.requeued)
                log(_line(folder, submission, row))
        if rows and is_over(rows):
            return rows
        time.sleep(every_s)


def _line(folder: Path, submission: Submission, row: Row) -> str:
    parts = [f"{time.strftime('%H:%M:%S')} {row.stage} {row.job}: {row.state}"]
    parts += [f"requeued {row.requeued} times"] * (row.requeued > 0)
    if submission.kind == "sweep" and row.task is not None:
        best = result_of(run_folder(folder, row.task)).best
        parts += [] if best is None else [f"best {best:.4f} bits"]
    return ", ".join([*parts, *([row.why] if row.why and row.state != "running" else [])])
