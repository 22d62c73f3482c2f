"""`hews status`: where each job of a submission is, and of one that failed why, and which log says more.

Two sources. SLURM knows a job until some minutes after its end; the words that a job leaves in OUT/slurm/events/ stay,
but are missing where it was killed. What neither knows is called lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hews_gpu.cluster import slurm
from hews_gpu.cluster.jobs import Event, Job, Submission, events_of, last_submission
from hews_gpu.cluster.slurm import JobState

__all__ = ["BAD", "Row", "as_json", "is_over", "log_of", "rows_of", "status", "table", "verdict"]

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
    why: str  # it waits or failed, or what its log said last
    log: str
    requeued: int


def status(out: Path) -> tuple[Path, Submission, list[Row]]:
    """Where the jobs are that were last submitted for a folder.

    Returns:
        The folder that they were submitted for, what was submitted, and a row for each job or array task.

    Raises:
        UserError: nothing was submitted for it, or there is no SLURM here.
    """
    folder, submission = last_submission(out)
    return folder, submission, rows_of(folder, submission)


def rows_of(folder: Path, submission: Submission) -> list[Row]:
    """A row for each job or array task, in order."""
    known = slurm.cluster_states([job.id for job in submission.jobs])
    rows: list[Row] = []
    for job in submission.jobs:
        before = rows[-1] if rows else None
        for task in range(job.tasks) if job.tasks else [None]:
            found = known.get(job.id if task is None else f"{job.id}_{task}")
            events = [e for e in events_of(folder, job.name, task) if task is not None or e.job == job.id]
            events = [event for event in events if _moment(event.time) >= _moment(submission.when)]
            rows.append(_row(job, task, found, events, before))
    return rows


def _moment(text: str) -> str:
    """A time of either source, to be compared as text: year to second."""
    return text[:19]


def _row(job: Job, task: int | None, found: JobState | None, events: Sequence[Event], before: Row | None) -> Row:
    log = job.log_path(task)
    last = events[-1] if events else None
    state = _state(found, last)
    begun = next((event for event in reversed(events) if event.word == "begin"), None)
    return Row(
        stage=job.name,
        job=job.id if task is None else f"{job.id}_{task}",
        task=task,
        state=state,
        node=(found.nodes if found and found.nodes else "") or (begun.detail if begun else ""),
        elapsed=found.elapsed if found else "",
        why=_why(state, found, last, log, before),
        log=str(log) if log.is_file() else "",
        requeued=max((event.restart for event in events), default=0),
    )


def _state(found: JobState | None, last: Event | None) -> str:
    if found and found.state not in slurm.OVER:
        return WAITING if found.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "CONFIGURING") else RUNNING
    if found and found.state in ("COMPLETED", "CANCELLED"):
        return DONE if found.state == "COMPLETED" else "cancelled"
    if found:
        return "failed"
    if last is None:
        return "cancelled"  # SLURM has forgotten it, and it never began
    if last.word == "end":
        return DONE if last.detail == "0" else "failed"
    return "lost"


def _why(state: str, found: JobState | None, last: Event | None, log: Path, before: Row | None) -> str:
    reason = found.reason if found else ""
    if state == WAITING:
        waits_for = f"waits for {before.stage}" if before else "waits for another job"
        return waits_for if reason == "Dependency" else REASONS.get(reason, reason)
    if state == "cancelled":
        broken = before is not None and before.state in BAD
        return f"{before.stage} {before.state}" if broken and before else "cancelled, or never started"
    said = _last_words(log)
    if state == "failed":
        how = found.state if found and found.state != "FAILED" else ""
        code = f"code {last.detail}" if last and last.word == "end" else ""
        return ": ".join(part for part in (how or ("" if said else code), said) if part)
    if state == "lost":
        return "SLURM has forgotten it and it left no last word: it was killed, for memory or with its node"
    return said if state == RUNNING else ""


def _last_words(log: Path) -> str:
    """The last line in which hews itself speaks, else the last line of the log."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_END_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("hews: ")] or lines
    return said[-1].removeprefix("hews: ")[:CLIPPED] if said else ""


def log_of(row: Row) -> str:
    """The log of a row, or where it would be."""
    return row.log or "no log yet"


def is_over(rows: Sequence[Row]) -> bool:
    """Whether nothing waits or runs any more."""
    return all(row.state not in (WAITING, RUNNING) for row in rows)


def verdict(rows: Sequence[Row]) -> str:
    """One line: how far it is; of a failure where, why and which log."""
    bad = next((row for row in rows if row.state in BAD), None)
    if bad:
        name = bad.stage if bad.task is None else f"{bad.stage}, job {bad.task},"
        where = f" on {bad.node}" if bad.node else ""
        return f"{name} {bad.state}{where}: {bad.why or 'no reason is known'}\nLog: {log_of(bad)}"
    if is_over(rows):
        return "All done."
    done = sum(row.state == DONE for row in rows)
    return f"{done} of {len(rows)} done; nothing has failed."


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The rows as text, heading first."""
    heading = ["stage", "job", "state", "node", "time", "requeued", ""]
    return [
        heading,
        *([r.stage, r.job, r.state, r.node, r.elapsed, str(r.requeued) if r.requeued else "", r.why] for r in rows),
    ]


def as_json(submission: Submission, rows: Sequence[Row]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "kind": submission.kind,
        "submitted": submission.when,
        "verdict": verdict(rows),
        "jobs": [vars(row) for row in rows],
    }
