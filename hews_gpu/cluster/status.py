"""`hews status`: where each job of a submission is, and of one that failed why, and which log says more.

Two sources. SLURM knows a job until some minutes after its end; the lines that a job writes to OUT/slurm/events/ stay,
but the last is missing where it was killed. What neither knows is called lost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hews_gpu.cluster import slurm
from hews_gpu.cluster.jobs import Event, Job, Submission, events_of, last_submission
from hews_gpu.cluster.slurm import JobState
from hews_gpu.cluster.sweep import result_of, run_folder
from hews_gpu.errors import UserError
from hews_gpu.progress import log

__all__ = ["BAD", "Row", "as_json", "follow", "is_over", "rows_of", "status", "table", "verdict"]

WAITING, RUNNING, DONE = "waiting", "running", "done"
BAD = ("failed", "cancelled", "lost")
REASONS = {
    "Resources": "waits for free nodes",
    "Priority": "others come first",
    "BeginTime": "starts again within about two minutes",
    "JobArrayTaskLimit": "waits for another task of the array",
    "PartitionTimeLimit": "asks for more time than its partition allows: cancel it, and give a shorter --time",
    "PartitionNodeLimit": "asks for more nodes than its partition has: cancel it, and give fewer --nodes",
    "BadConstraints": "asks for what no node has: cancel it, and ask for less",
    "AssocGrpGRES": "your account has as many GPUs as it may",
    "QOSMaxGRESPerUser": "you have as many GPUs as you may",
    "DependencyNeverSatisfied": "the stage before it failed",
}
CLIPPED = 200
LOG_END_BYTES = 65_536


@dataclass(frozen=True, kw_only=True)
class Row:
    """One job, or one task of an array."""

    stage: str
    job: str
    task: int | None
    state: str  # waiting, running, done, or one of `BAD`
    node: str
    elapsed: str
    why: str  # it waits or failed, or the last line of its log
    log: str
    requeued: int


def status(out: Path) -> tuple[Path, Submission, list[Row]]:
    """Return the folder that jobs were last submitted for, what was submitted, and a row for each job or array task.

    Raises:
        UserError: nothing was submitted for it, or there is no SLURM here.
    """
    folder, submission = last_submission(out)
    return folder, submission, rows_of(folder, submission)


def rows_of(folder: Path, submission: Submission) -> list[Row]:
    """Return a row for each job or array task, in order."""
    known = slurm.cluster_states([job.id for job in submission.jobs])
    rows: list[Row] = []
    for job in submission.jobs:
        before = rows[-1] if rows else None
        for task in range(job.tasks) if job.tasks else [None]:
            now = known.get(job.id if task is None else f"{job.id}_{task}")
            events = [e for e in events_of(folder, job.name, task) if task is not None or e.job == job.id]
            events = [event for event in events if _moment(event.time) >= _moment(submission.when)]
            rows.append(_row(job, task, now, events, before))
    return rows


def _moment(text: str) -> str:
    """Return a time of either source so that it compares as text: year to second."""
    return text[:19]


def _row(job: Job, task: int | None, now: JobState | None, events: Sequence[Event], before: Row | None) -> Row:
    path = job.log_path(task)
    last = events[-1] if events else None
    state = _state(now, last)
    begun = next((event for event in reversed(events) if event.word == "begin"), None)
    return Row(
        stage=job.name,
        job=job.id if task is None else f"{job.id}_{task}",
        task=task,
        state=state,
        node=(now.nodes if now else "") or (begun.detail if begun else ""),
        elapsed=now.elapsed if now else "",
        why=_why(state, now, last, path, before),
        log=str(path) if path.is_file() else "",
        requeued=max((event.restart for event in events), default=0),
    )


def _state(now: JobState | None, last: Event | None) -> str:
    if now and now.state not in slurm.OVER:
        return WAITING if now.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "CONFIGURING") else RUNNING
    if now and now.state in ("COMPLETED", "CANCELLED"):
        return DONE if now.state == "COMPLETED" else "cancelled"
    if now:
        return "failed"
    if last is None:
        return "cancelled"  # SLURM has forgotten it, and it never began
    if last.word == "end":
        return DONE if last.detail == "0" else "failed"
    return "lost"


def _why(state: str, now: JobState | None, last: Event | None, log_path: Path, before: Row | None) -> str:
    reason = now.reason if now else ""
    if state == WAITING:
        waits_for = f"waits for {before.stage}" if before else "waits for another job"
        return waits_for if reason == "Dependency" else REASONS.get(reason, reason)
    if state == "cancelled":
        broken = before is not None and before.state in BAD
        return f"{before.stage} {before.state}" if broken and before else "cancelled, or never started"
    message = _last_message(log_path)
    if state == "failed":
        how = now.state if now and now.state != "FAILED" else ""
        code = f"code {last.detail}" if last and last.word == "end" else ""
        return ": ".join(part for part in (how or ("" if message else code), message) if part)
    if state == "lost":
        return "SLURM has forgotten it and it did not note its end: it was killed, for memory or with its node"
    return message if state == RUNNING else ""


def _last_message(path: Path) -> str:
    """Return the last line of a log that hews itself wrote, else its last line."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_END_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("hews: ")] or lines
    return ours[-1].removeprefix("hews: ")[:CLIPPED] if ours else ""


def is_over(rows: Sequence[Row]) -> bool:
    """Return whether nothing waits or runs any more."""
    return all(row.state not in (WAITING, RUNNING) for row in rows)


def verdict(rows: Sequence[Row]) -> str:
    """Say how far it is, in one line; of a failure where, why and which log."""
    bad = next((row for row in rows if row.state in BAD), None)
    if bad:
        name = bad.stage if bad.task is None else f"{bad.stage}, job {bad.task},"
        where = f" on {bad.node}" if bad.node else ""
        return f"{name} {bad.state}{where}: {bad.why or 'no reason is known'}\nLog: {bad.log or 'no log yet'}"
    if is_over(rows):
        return "All done."
    done = sum(row.state == DONE for row in rows)
    return f"{done} of {len(rows)} done; nothing has failed."


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Return the rows as text, heading first."""
    heading = ["stage", "job", "state", "node", "time", "requeued", ""]
    return [
        heading,
        *([r.stage, r.job, r.state, r.node, r.elapsed, str(r.requeued) if r.requeued else "", r.why] for r in rows),
    ]


def as_json(submission: Submission, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "kind": submission.kind,
        "submitted": submission.when,
        "verdict": verdict(rows),
        "jobs": [vars(row) for row in rows],
    }


def follow(folder: Path, submission: Submission, *, every_s: float) -> list[Row]:
    """Tell on standard error of every job that changes its state, until all are over; return their rows then."""
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
                log(_change(folder, submission, row))
        if rows and is_over(rows):
            return rows
        time.sleep(every_s)


def _change(folder: Path, submission: Submission, row: Row) -> str:
    parts = [f"{time.strftime('%H:%M:%S')} {row.stage} {row.job}: {row.state}"]
    parts += [f"requeued {row.requeued} times"] * (row.requeued > 0)
    if submission.kind == "sweep" and row.task is not None:
        best = result_of(run_folder(folder, row.task)).best
        parts += [] if best is None else [f"best {best:.4f} bits"]
    return ", ".join([*parts, *([row.why] if row.why and row.state != RUNNING else [])])
