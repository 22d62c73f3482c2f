"""`hews submit`: a chain of jobs, each started by the end of the one before it, from the shipped job files.

Everything is checked and every file written before the first job is submitted; `--dry-run` stops there. A chain that
was cut off is submitted again by the same command: what is there already is left out, and training goes on from its
last checkpoint.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hews_gpu.cluster import slurm
from hews_gpu.cluster.job_files import SHIPPED, Options, Site, job_text
from hews_gpu.cluster.jobs import FOLDER, JOBS, Job, Submission, last_submission, write_submission
from hews_gpu.cluster.sweep import Sweep, recipe_of
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import MANIFEST, atomic_file, disk_full_is_a_user_error
from hews_gpu.progress import log

__all__ = [
    "Chain",
    "Resources",
    "Stage",
    "backtest_chain",
    "bench_chain",
    "pipeline_chain",
    "submit_chain",
    "sweep_chain",
]

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
        """The job file that trains on them."""
        if self.nodes > 1:
            return "train-nodes"
        return "train-node" if self.gpus_per_node > 1 else "train"

    def options(self) -> dict[str, str | int | None]:
        """Return them as options of sbatch."""
        tasks = {"nodes": self.nodes, "ntasks-per-node": max(self.gpus_per_node, 1)}
        return {**tasks, "gpus-per-node": self.gpus_per_node or None, **({"time": self.time} if self.time else {})}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One job of a chain."""

    name: str
    script: Path
    text: str
    log: str  # where its output goes, in SLURM's words
    tasks: int = 0  # of an array; 0: none


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Jobs to submit, in order."""

    kind: str
    out: Path
    stages: tuple[Stage, ...]
    left_out: tuple[str, ...] = ()
    """What needs no job any more, and why."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return the commands and the files, as they would be submitted."""
        parts = [f"# left out: {why}" for why in self.left_out]
        before = None
        for stage in self.stages:
            command = slurm.submit_command(stage.script, after=before and f"JOB_OF_{before}")
            parts.append(f"$ {shlex.join(command)}\n# {stage.script}:\n{stage.text}")
            before = stage.name.upper()
        return "\n".join(parts)


def pipeline_chain(
    city: Path,
    *,
    site: Site,
    resources: Resources,
    out: Path | None = None,
    rasterize: bool = False,
    recipe: str = "forecast",
    model: str | None = None,
) -> Chain:
    """Go from a city file to a report: prepare, rasterize if asked, train, evaluate, report.

    Raises:
        UserError: the city file, the recipe or the model is wrong, or processes are asked for that would do nothing.
    """
    from hews_gpu.config import load_city

    load_city(city)
    trained = _train_arguments(recipe, model, resources)
    out = (out or Path("runs") / city.stem).absolute()
    stage = _Stages(out, site)
    name = [str(city.absolute())]
    stages = [
        stage("prepare", name, gpu=False),
        *([stage("rasterize", name, gpu=False)] if rasterize else []),
        stage("train", [*name, *trained], file=resources.file, options=resources.options()),
        stage("evaluate", name, gpu=False),
        stage("report", name, gpu=False),
    ]
    left_out = []
    for done, folder in (("prepare", "prepared"), ("rasterize", "maps")):
        if (out / folder / MANIFEST).is_file() and any(one.name == done for one in stages):
            stages = [one for one in stages if one.name != done]
            left_out.append(f"{done} ({out / folder} is there already; remove it to have it made anew)")
    return Chain(kind="pipeline", out=out, stages=tuple(stages), left_out=tuple(left_out))


def bench_chain(
    names: Sequence[str], *, site: Site, resources: Resources, quick: bool, out: Path | None = None
) -> Chain:
    """Run benchmarks of the source checkout, one after the other, each with a node for itself.

    Raises:
        UserError: no checkout here, or no such benchmark.
    """
    from hews_gpu.cluster.bench import benchmark_names

    known = benchmark_names()
    for name in names:
        if name not in known:
            raise UserError("benchmark", name, allowed="does not exist", remedy=did_you_mean(name, known))
    out = (out or Path("runs") / "bench").absolute()
    stage = _Stages(out, site)
    device = ["--device", "cuda"] if resources.gpus_per_node else []
    options = resources.options() | {"ntasks-per-node": 1}
    stages = [
        stage(f"bench-{name}", [name, *device, *["--quick"] * quick], file="bench", options=options, gpu=bool(device))
        for name in names
    ]
    return Chain(kind="bench", out=out, stages=tuple(stages))


def sweep_chain(sweep: Sweep, *, site: Site, resources: Resources, out: Path | None = None) -> Chain:
    """Run a sweep as one array, a task for each of its jobs.

    Raises:
        UserError: a job has a setting that no recipe may have, or there are more jobs than an array may have tasks.
    """
    jobs = len(sweep.jobs)
    if jobs > ARRAY_LIMIT:
        allowed = f"jobs, must be {ARRAY_LIMIT} at most"
        raise UserError(str(sweep.path), jobs, allowed=allowed, remedy="Cut it into several")
    for number in range(jobs):
        recipe_of(sweep, number)
    out, path = (out or Path("runs") / sweep.path.stem).absolute(), str(sweep.path.absolute())
    options = {**resources.options(), "array": f"0-{jobs - 1}%{sweep.at_once}"}
    stage = _Stages(out, site)("sweep", [path], options=options, tasks=jobs)
    return Chain(kind="sweep", out=out, stages=(stage,), extra={"sweep": path})


def backtest_chain(
    prepared: Path,
    *,
    models: str | None,
    blocks: int | None,
    tasks: int,
    site: Site,
    resources: Resources,
    out: Path | None = None,
) -> Chain:
    """Share the fits of a backtest out over an array, and make the result in a job after it.

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
    stage = _Stages(out, site)
    options = {**resources.options(), "array": f"0-{tasks - 1}"}
    stages = (
        stage("fits", [*arguments, *device], file="backtest", options=options, gpu=bool(device), tasks=tasks),
        stage("backtest", arguments, gpu=False),
    )
    return Chain(kind="backtest", out=out, stages=stages)


def submit_chain(chain: Chain) -> list[Job]:
    """Write the files of a chain and submit them; if one is refused, those before it are cancelled again.

    Raises:
        UserError: jobs of an earlier submission are not over, a folder cannot be written, there is no SLURM here, or it
            refuses a job.
    """
    _require_quiet(chain.out)
    with disk_full_is_a_user_error(chain.out):
        (chain.out / FOLDER / LOGS).mkdir(parents=True, exist_ok=True)
        for stage in chain.stages:
            with atomic_file(stage.script) as partial:
                partial.write_text(stage.text, encoding="utf-8")
    jobs: list[Job] = []
    try:
        for stage in chain.stages:
            number = slurm.submit(stage.script, after=jobs[-1].id if jobs else None)
            jobs.append(Job(name=stage.name, id=number, script=str(stage.script), log=stage.log, tasks=stage.tasks))
    except UserError:
        if jobs:
            slurm.cancel(job.id for job in jobs)
        raise
    for stage in chain.stages[1:]:
        if why := slurm.objection(stage.script):
            log(f"warning: {stage.name}: {why} Unless a node is merely down, it will wait for ever")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    write_submission(chain.out, Submission(kind=chain.kind, when=when, jobs=tuple(jobs), extra=dict(chain.extra)))
    return jobs


class _Stages:
    """Makes the jobs of one chain."""

    def __init__(self, out: Path, site: Site) -> None:
        self.out, self.site = out, site
        self.settings = {"HEWS_SLURM": str(SHIPPED), "HEWS_SITE": str(site.path), "HEWS_OUT": str(out)}
        if not site.values.get("HEWS_PYTHON") and not site.values.get("HEWS_CONTAINER"):
            self.settings["HEWS_PYTHON"] = sys.executable

    def __call__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        file: str | None = None,
        options: Options | None = None,
        gpu: bool = True,
        tasks: int = 0,
    ) -> Stage:
        """Make a job of the shipped file `file`, or of `name`."""
        output = str(self.out / FOLDER / LOGS / f"hews-{name}-{'%A_%a' if tasks else '%j'}.log")
        own = {"job-name": f"hews-{name}", **(options or {}), "output": output}
        site = self.site.options(gpu=gpu and own.get("gpus-per-node") is not None)
        text = job_text(file or name, options={**site, **own}, settings=self.settings, arguments=arguments)
        script = self.out / FOLDER / f"{name}.sbatch"
        return Stage(name=name, script=script, text=text, log=output, tasks=tasks)


def _train_arguments(recipe: str, model: str | None, resources: Resources) -> list[str]:
    """Return the recipe as the job will find it, a shipped one's name or an absolute path, and the model.

    Raises:
        UserError: one is wrong, or the model is fitted by one process and more were asked for.
    """
    from hews_gpu.forecasters.registry import require_known
    from hews_gpu.training.recipe import known_recipes, load_recipe

    content, tasks = load_recipe(recipe), resources.nodes * max(resources.gpus_per_node, 1)
    asked = model or content.model
    if not content.is_leaky and not require_known(asked).is_network and tasks > 1:
        allowed = f"is more than one: {asked} is fitted by one process"
        raise UserError("tasks", tasks, allowed=allowed, remedy="Use --model cnn, or one node and one GPU")
    named = recipe if recipe in known_recipes() else str(Path(recipe).expanduser().absolute())
    return ["--recipe", named, *(["--model", model] if model else [])]


def _require_quiet(out: Path) -> None:
    """Refuse a folder that jobs of an earlier submission still write to."""
    if not (out / FOLDER / JOBS).is_file():
        return
    states = slurm.cluster_states(sorted({job.id for job in last_submission(out)[1].jobs}))
    alive = sorted({job.partition("_")[0] for job, now in states.items() if now.state not in slurm.OVER})
    if alive:
        allowed = f"has jobs that are not over ({', '.join(alive)})"
        raise UserError("--out", out, allowed=allowed, remedy=f"Wait for them, or end them with 'hews cancel {out}'")
