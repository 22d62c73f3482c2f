"""What was submitted for a folder: `OUT/slurm/jobs.json` with the jobs, and `events/`, where they note what they do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError
from hews_gpu.files import write_json
from hews_gpu.own_files import read_json

__all__ = ["FOLDER", "JOBS", "Event", "Job", "Submission", "events_of", "last_submission", "write_submission"]

JOB = {**dict.fromkeys(("name", "id", "script", "log"), str), "tasks": int}
SUBMISSION = {"kind": str, "when": str, "jobs": [JOB], "extra": {"sweep?": str}}
FOLDER, JOBS, EVENTS = "slurm", "jobs.json", "events"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job; of an array all tasks together."""

    name: str  # of the stage: prepare, train, ...
    id: str
    script: str  # the file that was submitted
    log: str  # pattern of the log's path, with SLURM's %j, %A and %a
    tasks: int = 0  # of an array; 0: none

    def shown_log(self) -> str:
        """Return where the output goes, for people: of an array with a star for the task."""
        return str(self.log_path()).replace("None", "*") if self.tasks else str(self.log_path())

    def log_path(self, task: int | None = None) -> Path:
        """Return where the output of the job, or of a task of its array, goes."""
        filled = self.log.replace("%j", self.id).replace("%A", self.id)
        return Path(filled.replace("%a", str(task)))


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Jobs that were submitted together, in the order in which they run."""

    kind: str  # pipeline, sweep, backtest or bench
    when: str
    jobs: tuple[Job, ...]
    extra: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line that a job wrote about itself."""

    time: str
    job: str
    restart: int
    word: str  # begin, requeue or end
    detail: str  # node, reason or exit code


def write_submission(out: Path, submission: Submission) -> None:
    """Note what was submitted; an older note is kept among `earlier`."""
    path = out / FOLDER / JOBS
    older = _read(path)
    earlier = [*older.pop("earlier", []), older] if older else []
    write_json(path, {**asdict(submission), "earlier": earlier})


def last_submission(out: Path) -> tuple[Path, Submission]:
    """Return the last submission for a folder, or for the one that it lies in, after that folder.

    Raises:
        UserError: nothing was.
    """
    for folder in (out, out.absolute().parent):
        if content := _read(folder / FOLDER / JOBS):
            jobs = tuple(Job(**{key: job[key] for key in JOB}) for job in content["jobs"])
            return folder, Submission(**{key: content[key] for key in SUBMISSION} | {"jobs": jobs})
    remedy = "Give the --out folder of 'hews submit'"
    raise UserError("RUN", out, allowed="holds nothing that was submitted", remedy=remedy)


def events_of(out: Path, name: str, task: int | None = None) -> list[Event]:
    """Return what the jobs of a stage wrote, oldest first; lines that a full disk or a kill cut off are left out."""
    path = out / FOLDER / EVENTS / (f"{name}.tsv" if task is None else f"{name}-{task}.tsv")
    if not path.is_file():
        return []
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [
        Event(time=row[0], job=row[1], restart=int(row[2]), word=row[3], detail=row[4])
        for row in rows
        if len(row) == 5 and row[2].isdecimal()
    ]


def _read(path: Path) -> dict[str, Any]:
    remedy = "Remove it; 'squeue --me' lists your jobs"
    return dict(read_json(path, SUBMISSION, remedy=remedy)) if path.exists() else {}
