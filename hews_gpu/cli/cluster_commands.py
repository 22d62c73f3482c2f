"""The commands that have to do with a cluster: submit, status, cancel, sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hews_gpu.cli.options import Device, Json
from hews_gpu.cli.printing import print_json, print_table, show

if TYPE_CHECKING:
    from hews_gpu.cluster.jobs import Job
    from hews_gpu.cluster.submit import Plan

__all__ = ["app"]

EXIT_FAILED = 1
FOLLOW_S = 10.0  # a client of SLURM every ten seconds is what sites put up with

Out = Annotated[Path | None, typer.Option("--out", help="Folder for everything; else runs/NAME.")]
SiteFile = Annotated[Path | None, typer.Option("--site", help="The site's settings; else slurm/site.env.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the exact jobs, submit nothing.")]
Nodes = Annotated[int, typer.Option("--nodes", help="For each job that trains.")]
Gpus = Annotated[int, typer.Option("--gpus-per-node", help="One process each; 0: the processors of each node.")]
Time = Annotated[str | None, typer.Option("--time", help="Limit of each job that trains; it is requeued then.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The --out folder of 'hews submit'.")]

app = typer.Typer()
submit = typer.Typer(no_args_is_help=True, help="Submit to SLURM: a whole pipeline, a sweep or benchmarks.")
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
    from hews_gpu.cluster.site import read_site
    from hews_gpu.cluster.submit import Resources, pipeline_plan

    resources = Resources(nodes=nodes, gpus_per_node=gpus_per_node, time=time)
    plan = pipeline_plan(
        city, site=read_site(site), resources=resources, out=out, rasterize=rasterize, recipe=recipe, model=model
    )
    _send(plan, dry_run=dry_run, as_json=as_json)


@submit.command(name="sweep")
def submit_sweep(
    sweep_file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="See docs/clusters.md.")],
    nodes: Nodes = 1,
    gpus_per_node: Gpus = 1,
    time: Time = None,
    out: Out = None,
    site: SiteFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Submit a sweep as one array; 'hews status' shows its table as results arrive."""
    from hews_gpu.cluster.site import read_site
    from hews_gpu.cluster.submit import Resources, sweep_plan
    from hews_gpu.cluster.sweep import load_sweep, recipe_of

    found = load_sweep(sweep_file)
    for number in range(len(found.jobs)):
        recipe_of(found, number)
    resources = Resources(nodes=nodes, gpus_per_node=gpus_per_node, time=time)
    folder = out or Path("runs") / sweep_file.stem
    jobs = len(found.jobs)
    plan = sweep_plan(
        sweep_file, site=read_site(site), resources=resources, at_once=found.at_once, jobs=jobs, out=folder
    )
    _send(plan, dry_run=dry_run, as_json=as_json)


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
    from hews_gpu.cluster.site import read_site
    from hews_gpu.cluster.submit import Resources, backtest_plan

    resources = Resources(gpus_per_node=gpus, time=time)
    plan = backtest_plan(
        prepared, models=models, blocks=blocks, tasks=tasks, site=read_site(site), resources=resources, out=out
    )
    _send(plan, dry_run=dry_run, as_json=as_json)


@submit.command()
def bench(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Benchmarks, such as raster pip.")],
    gpus: Annotated[int, typer.Option("--gpus-per-node", help="0: on the CPU.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Each under a minute.")] = False,
    out: Out = None,
    site: SiteFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Submit benchmarks, one after the other, each with a node for itself."""
    from hews_gpu.cluster.site import read_site
    from hews_gpu.cluster.submit import Resources, bench_plan

    resources = Resources(gpus_per_node=gpus)
    plan = bench_plan(names, site=read_site(site), resources=resources, quick=quick, out=out)
    _send(plan, dry_run=dry_run, as_json=as_json)


def _send(plan: Plan, *, dry_run: bool, as_json: bool) -> None:
    """Submit a plan, or print it."""
    from hews_gpu.cluster.submit import sent

    if dry_run:
        if as_json:
            stages = [{"name": stage.name, "script": str(stage.script), "text": stage.text} for stage in plan.stages]
            print_json({"kind": plan.kind, "out": str(plan.out), "left_out": list(plan.left_out), "jobs": stages})
        else:
            print(plan.text())
        return
    jobs = sent(plan)
    if as_json:
        found = [vars(job) for job in jobs]
        print_json({"kind": plan.kind, "out": str(plan.out), "left_out": list(plan.left_out), "jobs": found})
        return
    _tell(plan, jobs)


def _tell(plan: Plan, jobs: list[Job]) -> None:
    print_table(f"Submitted for {plan.out}", [["stage", "job", "log"], *([j.name, j.id, j.shown_log()] for j in jobs)])
    for why in plan.left_out:
        print(f"Left out: {why}.")
    print(f"\nFollow:  hews status {plan.out} --follow\nStop:    hews cancel {plan.out}")


@app.command()
def status(
    run: RunFolder,
    follow: Annotated[bool, typer.Option("--follow", help="Until all is over: a line for each change.")] = False,
    every_s: Annotated[float, typer.Option("--every", help="With --follow: seconds between looks.")] = FOLLOW_S,
    as_json: Json = False,
) -> None:
    """Show where the jobs of a submission are; of a failure where, why and which log. Exit code 1 if one failed."""
    from hews_gpu.cluster.follow import follow as wait
    from hews_gpu.cluster.status import BAD, table, verdict
    from hews_gpu.cluster.status import as_json as json_of
    from hews_gpu.cluster.status import status as look
    from hews_gpu.cluster.sweep import load_sweep, sweep_table

    folder, submission, rows = look(run)
    if follow:
        rows = wait(folder, submission, every_s=every_s)
    sweep_file = submission.extra.get("sweep")
    title, text = f"{submission.kind} in {folder}", table(rows)
    if sweep_file:
        states = {row.task: (row.state, row.why) for row in rows if row.task is not None}
        text = sweep_table(load_sweep(Path(sweep_file)), folder, states)
    if as_json:
        print_json({**json_of(submission, rows), **({"table": _records(text)} if sweep_file else {})})
    else:
        print_table(title, text)
        print(f"\n{verdict(rows)}")
    raise typer.Exit(EXIT_FAILED if any(row.state in BAD for row in rows) else 0)


def _records(rows: list[list[str]]) -> list[dict[str, str]]:
    """A table's rows, each cell by its heading."""
    heading, *body = rows
    return [dict(zip(heading, row, strict=True)) for row in body]


@app.command()
def cancel(run: RunFolder, as_json: Json = False) -> None:
    """Cancel the jobs of a submission that are not over."""
    from hews_gpu.cluster.slurm import cancel as stop
    from hews_gpu.cluster.status import is_over
    from hews_gpu.cluster.status import status as look

    _, submission, rows = look(run)
    alive = [job.id for job in submission.jobs if not is_over([r for r in rows if r.job.partition("_")[0] == job.id])]
    if alive:
        stop(alive)
    if as_json:
        print_json({"cancelled": alive})
    else:
        print(f"Cancelled: {', '.join(alive)}" if alive else "Nothing to cancel: all jobs are over.")


@app.command()
def sweep(
    sweep_file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="See docs/clusters.md.")],
    out: Out = None,
    job: Annotated[int | None, typer.Option("--job", help="This one alone, as a task of an array does.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a recipe with several settings, here and one after the other; 'hews submit sweep' does so on a cluster."""
    from hews_gpu.cluster.sweep import load_sweep, recipe_of, run_folder, sweep_table

    found = load_sweep(sweep_file)
    folder = (out or Path("runs") / sweep_file.stem).absolute()
    if job is not None:
        from hews_gpu.runs.train import train

        result = train(
            found.prepared, run_folder(folder, job), recipe=recipe_of(found, job), resume="auto", device=device
        )
        if result:
            show(f"Trained into {run_folder(folder, job)}", result, as_json)
        return
    from hews_gpu.cluster.here import run_here

    states = run_here(found, folder, device=device)
    text = sweep_table(found, folder, states)
    if as_json:
        print_json(
            {"table": _records(text), "failed": [number for number, (state, _) in states.items() if state == "failed"]}
        )
    else:
        print_table(f"Sweep in {folder}", text)
    if any(state == "failed" for state, _ in states.values()):
        raise typer.Exit(EXIT_FAILED)
