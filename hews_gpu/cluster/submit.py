"""`hews submit`: a chain of jobs, each started by the end of the one before it, from the shipped job files.

Everything is checked and every file written before the first job is submitted; `--dry-run` stops there. A chain that
was cut off is submitted again by the same command: what is there already is left out, and training goes on from its
last checkpoint.
"""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hews_gpu.cluster import slurm
from hews_gpu.cluster.jobs import FOLDER, JOBS, Job, Submission, last_submission, write_submission
from hews_gpu.cluster.script import job_text
from hews_gpu.cluster.site import SHIPPED, Site
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import MANIFEST, atomic_file, disk_full_is_a_user_error
from hews_gpu.progress import log

__all__ = ["Plan", "Resources", "Stage", "backtest_plan", "bench_plan", "pipeline_plan", "sent", "sweep_plan"]

LOGS = "logs"
ARRAY_LIMIT = 1000  # slurm.conf's MaxArraySize is 1001 unless a site says otherwise


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What training gets."""

    nodes: int = 1
    gpus_per_node: int = 1
    """One task each; 0: one task on the processors of each node."""
    time: str | None = None
    """Of a job that trains, as sbatch takes it; the job file's unless given."""

    def __post_init__(self) -> None:
        for name, value, least in (("--nodes", self.nodes, 1), ("--gpus-per-node", self.gpus_per_node, 0)):
            if value < least:
                raise UserError(name, value, allowed=f"must be {least} or more")

    @property
    def file(self) -> str:
        """The job file for them."""
        if self.nodes > 1:
            return "train-nodes"
        return "train-node" if self.gpus_per_node > 1 else "train"

    def options(self) -> dict[str, str | int | None]:
        """As options of sbatch."""
        gpus = self.gpus_per_node
        found: dict[str, str | int | None] = {"nodes": self.nodes, "gpus-per-node": gpus or None}
        return found | {"ntasks-per-node": max(gpus, 1)} | ({"time": self.time} if self.time else {})


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One job of a plan."""

    name: str
    script: Path
    text: str
    array: str | None = None
    tasks: int = 0

    def log(self, out: Path) -> str:
        """Where its output goes, in SLURM's words."""
        return str(out / FOLDER / LOGS / f"hews-{self.name}-{'%A_%a' if self.array else '%j'}.log")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Jobs to submit, in order."""

    kind: str
    out: Path
    stages: tuple[Stage, ...]
    left_out: tuple[str, ...] = ()
    """What needs no job any more, and why."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The commands and the files, as they would be submitted."""
        parts = [f"# left out: {why}" for why in self.left_out]
        before = None
        for stage in self.stages:
            command = slurm.submit_command(stage.script, after=before and f"JOB_OF_{before}", array=stage.array)
            parts.append(f"$ {shlex.join(command)}\n# {stage.script}:\n{stage.text}")
            before = stage.name.upper()
        return "\n".join(parts)


def pipeline_plan(
    city: Path,
    *,
    site: Site,
    resources: Resources,
    out: Path | None = None,
    rasterize: bool = False,
    recipe: str = "forecast",
    model: str | None = None,
) -> Plan:
    """From a city file to a report: prepare, rasterize if asked, train, evaluate, report.

    Raises:
        UserError: the city file, the recipe or the model is wrong, or processes are asked for that would do nothing.
    """
    from hews_gpu.config import load_city

    load_city(city)
    trained = _train_arguments(recipe, model, resources)
    out = (out or Path("runs") / city.stem).absolute()
    make = _Stages(out, site)
    name = [str(city.absolute())]
    stages = [
        make.stage("prepare", name, gpu=False),
        *([make.stage("rasterize", name, gpu=False)] if rasterize else []),
        make.stage("train", [*name, *trained], file=resources.file, options=resources.options()),
        make.stage("evaluate", name, gpu=False),
        make.stage("report", name, gpu=False),
    ]
    left_out = []
    for done, folder in (("prepare", "prepared"), ("rasterize", "maps")):
        if (out / folder / MANIFEST).is_file() and any(stage.name == done for stage in stages):
            stages = [stage for stage in stages if stage.name != done]
            left_out.append(f"{done} ({out / folder} is there already; remove it to have it made anew)")
    return Plan(kind="pipeline", out=out, stages=tuple(stages), left_out=tuple(left_out))


def bench_plan(names: Sequence[str], *, site: Site, resources: Resources, quick: bool, out: Path | None = None) -> Plan:
    """One job after the other, each with a node for itself, of benchmarks of the source checkout.

    Raises:
        UserError: no checkout here, or no such benchmark.
    """
    from hews_gpu.cluster.bench import benchmark_names

    known = benchmark_names()
    for name in names:
        if name not in known:
            raise UserError("benchmark", name, allowed="does not exist", remedy=did_you_mean(name, known))
    out = (out or Path("runs") / "bench").absolute()
    make = _Stages(out, site)
    device = ["--device", "cuda"] if resources.gpus_per_node else []
    options = resources.options() | {"ntasks-per-node": 1}
    stages = [
        make.stage(
            "bench",
            [name, *device, *["--quick"] * quick],
            options=options,
            gpu=bool(device),
            label=f"bench-{name}",
        )
        for name in names
    ]
    return Plan(kind="bench", out=out, stages=tuple(stages))


def sweep_plan(sweep: Path, *, site: Site, resources: Resources, at_once: int, jobs: int, out: Path) -> Plan:
    """One array, a task for each job of a sweep.

    Raises:
        UserError: more jobs than arrays may have tasks.
    """
    if jobs > ARRAY_LIMIT:
        raise UserError(str(sweep), jobs, allowed=f"jobs, must be {ARRAY_LIMIT} at most", remedy="Cut it into several")
    out = out.absolute()
    array = f"0-{jobs - 1}%{at_once}"
    options = {**resources.options(), "array": array}
    stage = _Stages(out, site).stage("sweep", [str(sweep.absolute())], options=options, array=array, tasks=jobs)
    return Plan(kind="sweep", out=out, stages=(stage,), extra={"sweep": str(sweep.absolute())})


def backtest_plan(
    prepared: Path,
    *,
    models: str | None,
    blocks: int | None,
    tasks: int,
    site: Site,
    resources: Resources,
    out: Path | None = None,
) -> Plan:
    """An array whose tasks share the fits of a backtest out, and a job after them that makes the result.

    Raises:
        UserError: the folder is not a prepared one, a model is unknown, or a number is out of range.
    """
    from hews_gpu.data.events import open_prepared
    from hews_gpu.forecasters.registry import require_known

    open_prepared(prepared)
    for name in models.split(",") if models else ():
        require_known(name.strip())
    if not 1 <= tasks <= ARRAY_LIMIT:
        raise UserError("--tasks", tasks, allowed=f"must be 1..{ARRAY_LIMIT}")
    if blocks is not None and not 1 <= blocks <= 100:
        raise UserError("--blocks", blocks, allowed="must be 1..100")
    device = ["--device", "cuda"] if resources.gpus_per_node else []
    told = {"--models": models, "--blocks": blocks}
    arguments = [str(prepared.absolute()), *(str(x) for pair in told.items() if pair[1] for x in pair)]
    out = (out or Path("runs") / f"{prepared.absolute().name}-backtest").absolute()
    make, array = _Stages(out, site), f"0-{tasks - 1}"
    options = resources.options() | {"array": array}
    stages = (
        make.stage(
            "backtest", [*arguments, *device], options=options, gpu=bool(device), label="fits", array=array, tasks=tasks
        ),
        make.stage("backtest", arguments, gpu=False, label="backtest"),
    )
    return Plan(kind="backtest", out=out, stages=stages)


def sent(plan: Plan) -> list[Job]:
    """Write the files of a plan and submit them; if one is refused, those before it are cancelled again.

    Raises:
        UserError: jobs of an earlier submission are not over, a folder cannot be written, there is no SLURM here, or it
            refuses a job.
    """
    _require_quiet(plan.out)
    with disk_full_is_a_user_error(plan.out):
        (plan.out / FOLDER / LOGS).mkdir(parents=True, exist_ok=True)
        for stage in plan.stages:
            with atomic_file(stage.script) as partial:
                partial.write_text(stage.text, encoding="utf-8")
    jobs: list[Job] = []
    try:
        for stage in plan.stages:
            job = slurm.submit(stage.script, after=jobs[-1].id if jobs else None)
            jobs.append(
                Job(name=stage.name, id=job, script=str(stage.script), log=stage.log(plan.out), tasks=stage.tasks)
            )
    except UserError:
        if jobs:
            slurm.cancel(job.id for job in jobs)
        raise
    for stage in plan.stages[1:]:
        if found := slurm.doubts(stage.script):
            log(f"warning: {stage.name}: {found} Unless a node is merely down, it will wait for ever")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    write_submission(plan.out, Submission(kind=plan.kind, when=when, jobs=tuple(jobs), extra=dict(plan.extra)))
    return jobs


class _Stages:
    """Makes the jobs of one plan."""

    def __init__(self, out: Path, site: Site) -> None:
        self.out, self.site = out, site
        self.settings = {"HEWS_SLURM": str(SHIPPED), "HEWS_SITE": str(site.path), "HEWS_OUT": str(out)}
        if not site.values.get("HEWS_PYTHON") and not site.values.get("HEWS_CONTAINER"):
            self.settings["HEWS_PYTHON"] = sys.executable

    def stage(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        file: str | None = None,
        options: Mapping[str, str | int | None] | None = None,
        gpu: bool = True,
        label: str | None = None,
        array: str | None = None,
        tasks: int = 0,
    ) -> Stage:
        """A job of the shipped file `file` (or `name`); `label` names the stage where several are of one name."""
        label = label or name
        shell = Stage(name=label, script=self.out / FOLDER / f"{label}.sbatch", text="", array=array, tasks=tasks)
        everything = {"job-name": f"hews-{label}", **(options or {}), "output": shell.log(self.out)}
        uses_gpu = gpu and everything.get("gpus-per-node") is not None
        text = job_text(
            file or name,
            options={**self.site.options(gpu=uses_gpu), **everything},
            settings=self.settings,
            arguments=arguments,
        )
        return Stage(name=label, script=shell.script, text=text, array=array, tasks=tasks)


def _train_arguments(recipe: str, model: str | None, resources: Resources) -> list[str]:
    """Return the recipe as the job will find it, a shipped one's name or an absolute path, and the model.

    Raises:
        UserError: one is wrong, or the model is fitted by one process and more were asked for.
    """
    from hews_gpu.forecasters.registry import require_known

    shipped = SHIPPED.parent / "recipes" / f"{recipe}.toml"
    if shipped.is_file():
        content = tomllib.loads(shipped.read_text(encoding="utf-8"))  # without torch, which takes a login node seconds
        protocol, default = content["protocol"], content["model"]
    else:
        from hews_gpu.training.recipe import load_recipe

        own = load_recipe(recipe)
        protocol, default = own.protocol, own.model
        recipe = str(Path(recipe).expanduser().absolute())
    tasks = resources.nodes * max(resources.gpus_per_node, 1)
    if protocol == "forecast" and not require_known(model or default).is_network and tasks > 1:
        allowed = f"is more than one: {model or default} is fitted by one process"
        raise UserError("tasks", tasks, allowed=allowed, remedy="Use --model cnn, or one node and one GPU")
    return ["--recipe", recipe, *(["--model", model] if model else [])]


def _require_quiet(out: Path) -> None:
    """Refuse a folder that jobs of an earlier submission still write to."""
    if not (out / FOLDER / JOBS).is_file():
        return
    states = slurm.cluster_states(sorted({job.id for job in last_submission(out)[1].jobs}))
    alive = sorted({job.partition("_")[0] for job, found in states.items() if found.state not in slurm.OVER})
    if alive:
        allowed = f"has jobs that are not over ({', '.join(alive)})"
        raise UserError("--out", out, allowed=allowed, remedy=f"Wait for them, or end them with 'hews cancel {out}'")
