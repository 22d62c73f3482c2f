"""The commands that try and check: demo, doctor, audit, audit fairness, simulate, compare-vintages, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hews_gpu.cli.options import Device, Force, GoOn, Json, OfCluster, OnCluster, workers_of
from hews_gpu.cli.printing import show, tell
from hews_gpu.errors import UserError

__all__ = ["app"]

app = typer.Typer()


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the whole demo.")] = Path("runs/demo"),
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Walk the whole path on a generated city: no files, no network."""
    from hews_gpu.cli.demo import run_demo
    from hews_gpu.cli.forecast_commands import verdicts
    from hews_gpu.evaluation.tables import skill_table

    metrics, report = run_demo(out, force=force, device=device)
    last = f"{verdicts(metrics)}\nReport: {report}"
    show("Skill on the test split", {**metrics, "report": str(report)}, as_json, table=skill_table(metrics), last=last)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show, for each stage, which engine would run here and what is missing for the others."""
    from hews_gpu.environment.doctor import as_steps, as_table, diagnose

    stages = diagnose()
    last = "\n".join(["To get what is missing:", *as_steps(stages)])
    show("What would run here", {"stages": stages}, as_json, table=as_table(stages), last=last)


@app.command()
def audit(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A folder made by 'hews prepare' or 'hews train'.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Finish in about a minute.")] = False,
    planted: Annotated[bool, typer.Option("--planted", help="Plant leaks, and show that the gates see them.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Also write what was found, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Look for leaks: on a folder, or unless one is given on generated cities. Exit code 1 if a gate fails."""
    from hews_gpu.audit.gate_result import audit_table
    from hews_gpu.audit.run import audit as run
    from hews_gpu.audit.run import write_audit

    result = run(folder, quick=quick, planted=planted)
    if out is not None:
        write_audit(out, result)
    show(f"Audit of {result['of']}: {result['verdict']}", result, as_json, table=audit_table(result))
    raise typer.Exit(1 if result["verdict"] == "fail" else 0)


@app.command(name="audit fairness")
def audit_fairness(
    folder: Annotated[Path, typer.Argument(metavar="RUN|REPLAY", help="A folder made by 'hews replay', or evaluated.")],
    census: Annotated[Path, typer.Option("--census", help="CSV, Parquet or GeoJSON: a row per neighborhood.")],
    by: Annotated[
        list[str],
        typer.Option("--by", metavar="COLUMN", help="Group by it, or by a quotient: Vacant/Housing. Repeatable."),
    ],
    residents: Annotated[str, typer.Option("--residents", metavar="COLUMN", help="How many live there.")],
    name: Annotated[str, typer.Option("--name", metavar="COLUMN", help="The neighborhoods' names.")] = "name",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for fairness.json and the page; else RUN|REPLAY.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Say who is warned of, and how rightly, by what a census says of the places. Exit code 1 if a gate fails."""
    from hews_gpu.audit.fairness import PAGE, fairness
    from hews_gpu.audit.gate_result import audit_table

    out = out or folder
    result = fairness(folder, census=census, name=name, residents=residents, by=by, out=out, force=force)
    title = f"Who bears the warnings of {result['of']}: {result['verdict']}"
    show(title, result, as_json, table=audit_table(result), last=f"Page: {out / PAGE}")
    raise typer.Exit(1 if result["verdict"] == "fail" else 0)


@app.command(name="simulate feedback", cls=OnCluster)
def simulate_feedback(
    out: Annotated[Path, typer.Option("--out", help="File for the result, as JSON.")],
    policy: Annotated[Path | None, typer.Option("--policy", help="A run's warnings.toml; else its defaults.")] = None,
    model: Annotated[str, typer.Option("--model", help="A forecaster that says where.")] = "level",
    discovery: Annotated[
        float, typer.Option("--discovery", help="Times as likely is a discovered incident recorded under patrol.")
    ] = 6.0,
    deterrence: Annotated[
        float, typer.Option("--deterrence", help="Share of the reported incidents that happen under patrol.")
    ] = 0.9,
    reporting: Annotated[
        float, typer.Option("--reporting", help="Times as likely is a reported incident recorded under patrol.")
    ] = 1.1,
    neighborhoods: Annotated[int, typer.Option("--neighborhoods", help="Of each generated city.")] = 12,
    cycles: Annotated[int, typer.Option("--cycles", help="Of two weeks; each learns from all before.")] = 50,
    delivery_days: Annotated[
        int, typer.Option("--delivery-days", help="From one table to the next, in a cycle of 14 days.")
    ] = 14,
    seeds: Annotated[int, typer.Option("--seeds", help="Generated cities.")] = 20,
    cluster: OfCluster = None,
    resume: GoOn = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Send patrols where warnings point, learn from what they find, and say when forecasts leave the true risk."""
    from hews_gpu.alerts.policy import Policy, parse_policy
    from hews_gpu.audit.feedback import Settings, arms_of, feedback, feedback_table
    from hews_gpu.files import require_free_file, write_json
    from hews_gpu.own_files import read_text
    from hews_gpu.synthetic.patrolled import Response

    require_free_file(out, force=force, example="feedback.json")
    settings = Settings(
        cycles=cycles,
        seeds=seeds,
        neighborhoods=neighborhoods,
        model=model,
        arms=arms_of(model),
        delivery_days=delivery_days,
        response=Response(discovery=discovery, deterrence=deterrence, reporting=reporting),
        policy=Policy() if policy is None else parse_policy(read_text(policy), str(policy)),
    )
    result = feedback(settings, out, workers_of(cluster), resume=resume)
    write_json(out, result)
    show(f"Feedback of {seeds} generated cities", result, as_json, table=feedback_table(result))


@app.command(name="simulate underreporting")
def simulate_underreporting(
    out: Annotated[Path, typer.Option("--out", help="File for the result, as JSON.")],
    share: Annotated[
        list[float] | None, typer.Option("--share", help="Of the reports that is made in some places. Repeatable.")
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option("--category", help="Of which fewer are recorded; else of all that are reported. Repeatable."),
    ] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="A run's warnings.toml; else its defaults.")] = None,
    model: Annotated[str, typer.Option("--model", help="A forecaster that says where.")] = "level",
    delivery_days: Annotated[
        int, typer.Option("--delivery-days", help="From one table to the next: 1, 2, 7 or 14.")
    ] = 14,
    neighborhoods: Annotated[int, typer.Option("--neighborhoods", help="Of each generated city.")] = 12,
    seeds: Annotated[int, typer.Option("--seeds", help="Generated cities.")] = 20,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Audit warnings against what was reported and against all that happened, where some places report less."""
    from hews_gpu.alerts.policy import Policy, parse_policy
    from hews_gpu.audit.feedback import Settings
    from hews_gpu.audit.underreporting import BY_REPORT, SHARES, underreporting, underreporting_table
    from hews_gpu.files import require_free_file, write_json
    from hews_gpu.own_files import read_text

    require_free_file(out, force=force, example="underreporting.json")
    rules = Policy() if policy is None else parse_policy(read_text(policy), str(policy))
    settings = Settings(
        neighborhoods=neighborhoods, seeds=seeds, model=model, policy=rules, delivery_days=delivery_days
    )
    result = underreporting(settings, share or SHARES, category or BY_REPORT)
    write_json(out, result)
    show(f"Under-reporting in {seeds} generated cities", result, as_json, table=underreporting_table(result))


@app.command()
def compare_vintages(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A folder made by 'hews prepare' of the earlier table.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same of the later table, of the same city.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Also write it as JSON; the report of a run tells of RUN/vintages.json."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Say how far two vintages of a city's table agree on the labels, and what that costs any forecast."""
    from hews_gpu.evaluation.vintages import compare_vintages as run
    from hews_gpu.evaluation.vintages import in_words
    from hews_gpu.files import require_free_file, write_json

    if out is not None:
        require_free_file(out, force=force, example="vintages.json")
    result = run(old, new)
    if out is not None:
        write_json(out, result)
    tell(result, in_words(result), as_json)


@app.command()
def bench(
    name: Annotated[
        str, typer.Argument(metavar="NAME|compare", help="A file in benchmarks/, such as raster; or compare.")
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[A.json B.json|-- FLAGS]", help="With compare: two results; else its own flags."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Finish in under a minute.")] = False,
    as_json: Json = False,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda, where a benchmark has both.")] = "cpu",
    out: Annotated[Path | None, typer.Option("--out", help="File for the result, to be compared with another.")] = None,
    why: Annotated[str | None, typer.Option("--open-locked-block", metavar="WHY", help="forecasts: once.")] = None,
) -> None:
    """Run a benchmark of the source checkout and print its table; or compare two results."""
    if name == "compare":
        from hews_gpu.cli.bench_compare import compare_files, comparison_table

        result = compare_files(files or [])
        title, last = f"{result['benchmark']}: A = {result['a']}, B = {result['b']}", "\n".join(result["differences"])
        show(title, result, as_json, table=comparison_table(result), last=last)
        return
    from hews_gpu.cluster.bench import run_benchmark

    more = [str(one) for one in files or []]
    if more and not more[0].startswith("-"):
        raise UserError("hews bench", more[0], allowed="takes files only after compare", remedy="Leave it out")
    code = run_benchmark(name, quick=quick, as_json=as_json, device=device, open_locked=why, out=out, more=more)
    raise typer.Exit(code)
