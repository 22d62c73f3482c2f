"""SLURM's client programs, each with a limit: without their controller they would wait for minutes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hews_gpu.errors import UserError

__all__ = ["OVER", "JobState", "cancel", "cluster_states", "objection", "submit", "submit_command"]

CLIENT_S = 60
OVER = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split()
)
"""States that a job does not leave again."""
REMEDIES = {
    "invalid partition": "Set SBATCH_PARTITION in the site file; 'sinfo --summarize' lists the partitions",
    "invalid account": "Set SBATCH_ACCOUNT in the site file; 'sacctmgr show associations user=$USER' lists yours",
    "invalid qos": "Set SBATCH_QOS in the site file; 'sacctmgr show qos' lists them",
    "node configuration is not available": "Ask for fewer; 'sinfo -o \"%n %c %G\"' lists each node's",
    "time limit": "Give a shorter --time; 'sinfo -o \"%P %l\"' shows the longest of each partition",
    "gres": "Ask for GPUs that the partition has; 'sinfo -o \"%P %G\"' shows them",
}


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What SLURM knows of a job, or of one task of an array."""

    state: str  # RUNNING, PENDING, ...
    reason: str  # why it waits or ended, as SLURM says it
    nodes: str
    elapsed: str  # [days-]hours:minutes:seconds


def submit(script: Path, *, after: str | None = None) -> str:
    """Give a job file to sbatch and return the job's id.

    Args:
        script: the file.
        after: id of a job that has to end well before this one starts; if it fails, this one is cancelled.

    Raises:
        UserError: there is no SLURM here, or it refuses the job.
    """
    output = _run(submit_command(script, after=after), what="sbatch refuses the job")
    return output.strip().partition(";")[0]  # a cluster's name may follow


def submit_command(script: Path, *, after: str | None = None) -> list[str]:
    """Return the command that `submit` runs."""
    chain = [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"] if after else []
    return ["sbatch", "--parsable", *chain, str(script)]


def objection(script: Path) -> str:
    """Return what SLURM would object to in a job now; empty if nothing. Of one that waits for another it says so late.

    It may be that nodes are merely down: so this is a warning, not a refusal.
    """
    try:
        _run(["sbatch", "--test-only", str(script)], what="sbatch has doubts")
    except UserError as error:
        return f"{error.allowed}. {error.remedy}"
    return ""


def cluster_states(ids: Sequence[str]) -> dict[str, JobState]:
    """Return what SLURM still knows of some jobs, by id; it forgets a job some minutes after its end.

    The tasks of an array are ``ARRAY_TASK``, those that wait the whole array.

    Raises:
        UserError: there is no SLURM here, or it does not answer.
    """
    if not ids:
        return {}
    columns = "JobArrayID:|,State:|,Reason:|,NodeList:|,TimeUsed"
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(ids)}", f"--Format={columns}"]
    output = _run(command, what="squeue has no answer", accept="Invalid job id")
    states: dict[str, JobState] = {}
    for line in output.splitlines():
        job, state, reason, nodes, elapsed = (part.strip() for part in line.split("|"))
        states[job] = JobState(state=state, reason="" if reason == "None" else reason, nodes=nodes, elapsed=elapsed)
    return states


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs.

    Raises:
        UserError: there is no SLURM here, or it refuses.
    """
    _run(["scancel", *ids], what="scancel cannot cancel it", accept="Invalid job id")


def _run(command: Sequence[str], *, what: str, accept: str | None = None) -> str:
    """Run a client and return what it printed; `accept`: part of an error that is no error here."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_S, check=False)
    except FileNotFoundError:
        remedy = "Run this on a login node of the cluster; --dry-run prints the jobs anywhere"
        raise UserError(command[0], allowed="is not installed here", remedy=remedy) from None
    except subprocess.TimeoutExpired:
        remedy = "Ask 'scontrol ping' whether the controller is up, and try again"
        raise UserError(command[0], allowed=f"did not answer within {CLIENT_S} s", remedy=remedy) from None
    errors = done.stderr.strip()
    if done.returncode and not (accept and accept in errors):
        last = errors.splitlines()[-1] if errors else f"code {done.returncode}"
        remedy = next((text for words, text in REMEDIES.items() if words in errors.lower()), "See docs/clusters.md")
        raise UserError(command[0], allowed=f"{what} ({last})", remedy=remedy)
    return done.stdout
