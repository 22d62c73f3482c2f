"""The commands that have to do with a cluster: submit, status, cancel, sweep."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hews_gpu.cli.options import Device, Json
from hews_gpu.cli.printing import show, tell

if TYPE_CHECKING:
    from hews_gpu.cluster.submit import Chain

__all__ = ["app"]

EXIT_FAILED = 1
FOLLOW_S = 10.0  # a client of SLURM every ten seconds is what sites put up with

Out = Annotated[Path | None, typer.Option("--out", help="Folder for everything; else runs/NAME.")]
SiteFile = Annotated[Path | None, typer.Option("--site", help="The site's settings; else slurm/site.env.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the exact jobs, submit nothing.")]
Nodes = Annotated[int, typer.Option("--nodes", help="For each job that trains.")]
Gpus = Annotated[int, typer.Option("--gpus-per-node", help="One process each; 0: the processors of each node.")]
NoGpus = Annotated[int, typer.Option("--gpus-per-node", help="0: on the CPU.")]
Time = Annotated[str | None, typer.Option("--time", help="Limit of each job that trains; it is requeued then.")]
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="See docs/clusters.md.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The --out folder of 'hews submit'.")]

app = typer.Typer()
submit = typer.Typer(no_args_is_help=True, help="Submit to SLURM: a whole pipeline, a backtest, a sweep or benchmarks.")
app.add_typer(submit, name="submit")


@submit.command()
def pipeline(
    city: Annotated[Path, typer.Argument(metavar="CITY.toml", help="A city file; 'hews init NAME' writes one.")],
    nodes: Nodes = 1,
    gpus_per_node: Gpus = 1,
    time: Time = None,
    recipe: Annotated[str, typer.Option("--recipe", metavar="NAME|PATH.toml", help="How to train.")] = "forecast",
    model: Annotated[str | None, typer.Option("--model", help="A forecaster; else the recipe's.")] = None,
    rasterize: Annotated[bool, typer.Option("--rasterize", help="Store the maps as files, too.")] = False,
    out: Out = None,
    site: SiteFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Submit prepare, train, evaluate and report as a chain, which a failure stops; again, it goes on with the rest."""
    from hews_gpu.cluster.job_files import read_site
    from hews_gpu.cluster.submit import Resources, pipeline_chain

    size = Resources(nodes=nodes, gpus_per_node=gpus_per_node, time=time)
    settings = {"out": out, "rasterize": rasterize, "recipe": recipe, "model": model}
    _send(pipeline_chain(city, site=read_site(site), resources=size, **settings), dry_run, as_json)  # type: ignore[arg-type]


@submit.command(name="sweep")
def submit_sweep(
    sweep_file: SweepFile,
    nodes: Nodes = 1,
    gpus_per_node: Gpus = 1,
    time: Time = None,
    out: Out = None,
    site: SiteFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Submit a sweep as one array; 'hews status' shows its table as results arrive."""
    from hews_gpu.cluster.job_files import read_site
    from hews_gpu.cluster.submit import Resources, sweep_chain
    from hews_gpu.cluster.sweep import load_sweep

    size = Resources(nodes=nodes, gpus_per_node=gpus_per_node, time=time)
    _send(sweep_chain(load_sweep(sweep_file), site=read_site(site), resources=size, out=out), dry_run, as_json)


@submit.command(name="backtest")
def submit_backtest(
    prepared: Annotated[Path, typer.Argument(metavar="DIR", help="A folder made by 'hews prepare'.")],
    models: Annotated[str | None, typer.Option("--models", metavar="A,B,...", help="Forecasters to judge.")] = None,
    blocks: Annotated[int | None, typer.Option("--blocks", help="Test blocks, each with fits of its own.")] = None,
    tasks: Annotated[int, typer.Option("--tasks", help="Of the array, which share the fits out.")] = 8,
    gpus: Annotated[int, typer.Option("--gpus-per-node", help="For networks; 0: on the CPU.")] = 0,
    time: Time = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for everything; else runs/DIR-backtest.")] = None,
    site: SiteFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Submit a backtest as an array of fits and a job that judges them: the same result as 'hews backtest'."""
    from hews_gpu.cluster.job_files import read_site
    from hews_gpu.cluster.submit import Resources, backtest_chain

    size, settings = Resources(gpus_per_node=gpus, time=time), {"models": models, "blocks": blocks, "tasks": tasks}
    _send(backtest_chain(prepared, site=read_site(site), resources=size, out=out, **settings), dry_run, as_json)  # type: ignore[arg-type]


@submit.command()
def bench(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Benchmarks, such as raster pip.")],
    gpus: NoGpus = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Each under a minute.")] = False,
    out: Out = None,
    site: SiteFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Submit benchmarks, one after the other, each with a node for itself."""
    from hews_gpu.cluster.job_files import read_site
    from hews_gpu.cluster.submit import Resources, bench_chain

    size = Resources(gpus_per_node=gpus)
    _send(bench_chain(names, site=read_site(site), resources=size, quick=quick, out=out), dry_run, as_json)


def _send(chain: Chain, dry_run: bool, as_json: bool) -> None:
    """Submit a chain, or print it."""
    from hews_gpu.cluster.submit import submit_chain

    about: dict[str, Any] = {"kind": chain.kind, "out": str(chain.out), "left_out": list(chain.left_out)}
    if dry_run:
        stages = [{"name": stage.name, "script": str(stage.script), "text": stage.text} for stage in chain.stages]
        tell({**about, "jobs": stages}, chain.text(), as_json)
        return
    jobs = submit_chain(chain)
    folder = shlex.quote(str(chain.out))
    lines = [*(f"Left out: {why}." for why in chain.left_out), f"Follow:  hews status {folder} --follow"]
    last = "\n".join([*lines, f"Stop:    hews cancel {folder}"])
    table = [["stage", "job", "log"], *([job.name, job.id, job.shown_log()] for job in jobs)]
    result = {**about, "jobs": [vars(job) for job in jobs]}
    show(f"Submitted for {chain.out}", result, as_json, table=table, last=last)


@app.command()
def status(
    run: RunFolder,
    follow: Annotated[bool, typer.Option("--follow", help="Until all is over: a line for each change.")] = False,
    every_s: Annotated[float, typer.Option("--every", help="With --follow: seconds between looks.")] = FOLLOW_S,
    as_json: Json = False,
) -> None:
    """Show where the jobs of a submission are; of a failure where, why and which log. Exit code 1 if one failed."""
    from hews_gpu.cluster import status as jobs
    from hews_gpu.cluster.sweep import load_sweep, sweep_table

    folder, submission, rows = jobs.status(run)
    if follow:
        rows = jobs.follow(folder, submission, every_s=every_s)
    result, table = jobs.as_json(submission, rows), jobs.table(rows)
    if sweep_file := submission.extra.get("sweep"):
        states = {row.task: (row.state, row.why) for row in rows if row.task is not None}
        table = sweep_table(load_sweep(Path(sweep_file)), folder, states)
        result["table"] = _records(table)
    show(f"{submission.kind} in {folder}", result, as_json, table=table, last=jobs.verdict(rows))
    raise typer.Exit(EXIT_FAILED if any(row.state in jobs.BAD for row in rows) else 0)


def _records(rows: list[list[str]]) -> list[dict[str, str]]:
    """Return a table's rows, each cell by its heading."""
    heading, *body = rows
    return [dict(zip(heading, row, strict=True)) for row in body]


@app.command()
def cancel(run: RunFolder, as_json: Json = False) -> None:
    """Cancel the jobs of a submission that are not over."""
    from hews_gpu.cluster import slurm
    from hews_gpu.cluster.status import is_over
    from hews_gpu.cluster.status import status as look

    _, submission, rows = look(run)
    alive = [job.id for job in submission.jobs if not is_over([r for r in rows if r.job.partition("_")[0] == job.id])]
    if alive:
        slurm.cancel(alive)
    text = f"Cancelled: {', '.join(alive)}" if alive else "Nothing to cancel: all jobs are over."
    tell({"cancelled": alive}, text, as_json)


@app.command()
def sweep(
    sweep_file: SweepFile,
    out: Out = None,
    job: Annotated[int | None, typer.Option("--job", help="This one alone, as a task of an array does.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a recipe with several settings, here and one after the other; 'hews submit sweep' does so on a cluster."""
    from hews_gpu.cluster.sweep import load_sweep, recipe_of, run_folder, run_here, sweep_table

    jobs = load_sweep(sweep_file)
    folder = (out or Path("runs") / sweep_file.stem).absolute()
    if job is not None:
        from hews_gpu.runs.train import train

        run = run_folder(folder, job)
        result = train(jobs.prepared, run, recipe=recipe_of(jobs, job), resume="auto", device=device)
        if result:  # of several processes the first alone has one
            show(f"Trained into {run}", result, as_json)
        return
    states = run_here(jobs, folder, device=device)
    table, failed = sweep_table(jobs, folder, states), [n for n, (state, _) in states.items() if state == "failed"]
    show(f"Sweep in {folder}", {"table": _records(table), "failed": failed}, as_json, table=table)
    if failed:
        raise typer.Exit(EXIT_FAILED)
