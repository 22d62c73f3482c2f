"""The commands that forecast and judge: train, evaluate, backtest, leadtime, repeats, score, card, report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from hews_gpu.cli.options import Device, Force, GoOn, Json, Prepared
from hews_gpu.cli.printing import show, tell
from hews_gpu.errors import UserError
from hews_gpu.units import HOUR_S, MINUTE_S, parse_duration

__all__ = ["app", "verdicts"]

app = typer.Typer()

Data = Annotated[Path | None, typer.Option("--data", help="The prepared folder, if it has moved since training.")]
Resume = Annotated[
    Literal["no", "auto", "always"],
    typer.Option(
        "--resume",
        metavar="[auto]",
        show_default=False,
        help="Go on from the last checkpoint in --out; auto: if there is one.",
    ),
]


class Train(TyperCommand):
    """`hews train`, whose `--resume` stands alone or before `auto`; Typer knows no option with a value left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a `--resume` that stands alone its value."""
        filled: list[str] = []
        for word, after in pairwise([*args, ""]):
            filled += ["--resume", "always"] if word == "--resume" and after != "auto" else [word]
        return super().parse_args(ctx, filled)


@app.command(cls=Train)
def train(
    prepared: Prepared,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    force: Force = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="stack, hewsnet, cnn, boosting, counts, hawkes, level or climatology."),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME|PATH.toml", help="forecast, reference1, reference2 or a file.")
    ] = "forecast",
    resume: Resume = "no",
    device: Device = "auto",
    devices: Annotated[
        int | None, typer.Option("--devices", help="Processes, one device each; else as torchrun or srun started.")
    ] = None,
    feed: Annotated[str, typer.Option("--feed", help="What makes the batches: direct, dali or zarr:MAPS.")] = "direct",
    as_json: Json = False,
) -> None:
    """Fit a forecaster as a recipe says, stopped or calibrated by the validation windows."""
    from hews_gpu.runs.train import train as run
    from hews_gpu.training.recipe import load_recipe

    result = run(
        prepared,
        out,
        recipe=load_recipe(recipe),
        model=model,
        feed=feed,
        force=force,
        resume="auto" if resume == "auto" else resume == "always",
        device=device,
        devices=devices,
    )
    if result:  # of several processes the first alone has one
        show(f"Trained into {out}", result, as_json)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train'.")],
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; else the run's own.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the results that --out holds.")] = False,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Forecast every window of a run's splits and judge the forecasts on the last."""
    from hews_gpu.evaluation.tables import skill_table
    from hews_gpu.runs.evaluate import evaluate as judge

    metrics = judge(run, out=out, data=data, device=device, force=force)
    if metrics.get("leaky"):
        from hews_gpu.reference.evaluate import leaky_table  # loads torch

        title, table = f"{metrics['recipe']}: maps told apart under a leaky protocol, no forecast", leaky_table(metrics)
    else:
        title, table = "Skill on the test split", skill_table(metrics)
    show(title, metrics, as_json, table=table, last=verdicts(metrics))


@app.command()
def backtest(
    prepared: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A folder made by 'hews prepare'.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Instead of DIR: a generated city's law.")] = None,
    years: Annotated[
        int | None, typer.Option("--years", help="With --preset: how many to draw, 10 unless given.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="With --preset: of the city, 0 unless given.")] = None,
    models: Annotated[str | None, typer.Option("--models", metavar="A,B,...", help="Forecasters to judge.")] = None,
    blocks: Annotated[int | None, typer.Option("--blocks", help="Test blocks, each with fits of its own.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; else they are printed.")] = None,
    force: Force = False,
    resume: GoOn = False,
    jobs: Annotated[int, typer.Option("--jobs", help="Fits at a time, each in a process of its own.")] = 1,
    share: Annotated[
        str | None, typer.Option("--share", metavar="I/N", help="Make every N-th fit only; no results.")
    ] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Judge forecasters by a rolling origin: fitted on the past, block after block, each judged on what came next."""
    from hews_gpu.evaluation.backtest import Problem
    from hews_gpu.evaluation.tables import skill_table
    from hews_gpu.runs.backtest import DEFAULT_MODELS, Settings
    from hews_gpu.runs.backtest import backtest as run

    names = DEFAULT_MODELS if models is None else tuple(name.strip() for name in models.split(","))
    drawn = {name: value for name, value in (("years", years), ("seed", seed)) if value is not None}
    if preset is None and drawn:
        raise UserError("--years or --seed", allowed="belongs to a generated city", remedy="Give --preset, not DIR")
    problem = Problem(prepared=prepared, preset=preset, **drawn)
    settings = Settings(problem=problem, models=names, blocks=blocks)
    part = None if share is None else _share(share)
    metrics = run(settings, out, jobs=jobs, device=device, share=part, force=force, resume=resume)
    if part is not None:
        show(f"Fits in {out}", metrics, as_json)
        return
    title = f"{preset or metrics['city']}, {len(metrics['protocol']['folds'])} test blocks"
    show(title, metrics, as_json, table=skill_table(metrics), last=verdicts(metrics))


def _share(text: str) -> tuple[int, int]:
    """Read I/N, counted from 0."""
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise UserError("--share", text, allowed="must be I/N with 0 <= I < N, such as 0/8")
    return int(first), int(count)


@app.command()
def leadtime(
    prepared: Prepared,
    out: Annotated[Path, typer.Option("--out", help="Folder for leadtime.json and report.html.")],
    models: Annotated[
        str | None, typer.Option("--models", metavar="A,B,...", help="Forecasters to judge; level,counts unless given.")
    ] = None,
    leads: Annotated[
        str, typer.Option("--leads", metavar="D,D,...", help="From a forecast to its window, such as 30min, 0.5h, 7d.")
    ] = "0.5h,2h,6h,12h,24h,48h,7d",
    horizons: Annotated[
        str, typer.Option("--horizons", metavar="D,D,...", help="How long the windows are that are forecast.")
    ] = "2h,8h,24h",
    shifts: Annotated[
        str | None,
        typer.Option(
            "--shifts", metavar="HH:MM,...", help="When shifts begin; windows of whole shifts begin with one."
        ),
    ] = None,
    force: Force = False,
    resume: GoOn = False,
    jobs: Annotated[int, typer.Option("--jobs", help="Points at a time, each in a process of its own.")] = 1,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Judge how far ahead anything can be foreseen: skill and hit rate against lead and horizon on the same windows."""
    from hews_gpu.evaluation.backtest import Problem
    from hews_gpu.evaluation.tables import lead_table
    from hews_gpu.report.build import build_report
    from hews_gpu.runs.leadtime import DEFAULT_MODELS, Settings
    from hews_gpu.runs.leadtime import leadtime as run

    settings = Settings(
        problem=Problem(prepared=prepared),
        models=DEFAULT_MODELS if models is None else tuple(name.strip() for name in models.split(",")),
        leads_s=_durations("--leads", leads),
        horizons_s=_durations("--horizons", horizons),
        shifts_s=() if shifts is None else tuple(_time_of_day("--shifts", text) for text in shifts.split(",")),
    )
    result = run(settings, out, jobs=jobs, device=device, force=force, resume=resume)
    page = build_report(out, force=True)
    last = f"{result['verdict']}\nReport: {page}"
    show(
        f"{result['city']}, the same windows from ever further back",
        result,
        as_json,
        table=lead_table(result),
        last=last,
    )


def _durations(option: str, text: str) -> tuple[int, ...]:
    """Read ``0.5h,2h,7d`` as seconds."""
    durations = []
    for word in text.split(","):
        try:
            durations.append(parse_duration(word))
        except ValueError:
            allowed = "is not a number of min, h or d, from a minute to a year"
            raise UserError(option, word, allowed=allowed, remedy="Write 30min, 0.5h or 7d") from None
    return tuple(durations)


def _time_of_day(option: str, text: str) -> int:
    """Read HH:MM as seconds from midnight."""
    match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", text.strip(), re.ASCII)
    if match is None:
        raise UserError(option, text, allowed="is not a time of the day", remedy="Write 07:00,15:00,23:00")
    return int(match[1]) * HOUR_S + int(match[2]) * MINUTE_S


def verdicts(metrics: Mapping[str, Any]) -> str:
    """Return what is to be concluded, against the calendar and against the recent level, and what experts added."""
    if metrics.get("leaky"):
        return str(metrics["verdict"])
    from hews_gpu.data.events import DOUBTS

    both = f"{metrics['model']}: {metrics['verdict_over_level']}\nAgainst the calendar: {metrics['verdict']}"
    tried = [f"{expert['says']}." for expert in metrics.get("experts", [])]
    return "\n".join(
        [both, *tried, *(f"The table is not known to be complete: {doubt}." for doubt in metrics.get(DOUBTS, []))]
    )


@app.command()
def repeats(
    prepared: Prepared,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Look at this one instead of the targets; may be repeated.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Local time; the table's end, but for what is locked.")
    ] = None,
    meters: Annotated[
        str | None, typer.Option("--meters", metavar="A,B,...", help="How far the bands of distance reach.")
    ] = None,
    days: Annotated[
        str | None, typer.Option("--days", metavar="A,B,...", help="How long the bands of time last after an event.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the exchanged times.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the zones and the table.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files that --out holds.")] = False,
    as_json: Json = False,
) -> None:
    """Test whether incidents come in near pairs, and where they do draw zones around recent ones, for a map."""
    from hews_gpu.runs.repeats import Bands, repeats_in_words, repeats_table
    from hews_gpu.runs.repeats import repeats as run

    bands = Bands.parse(meters, days)
    result = run(prepared, categories=category or (), at=at, out=out, bands=bands, seed=seed, force=force)
    title = f"{result['city']}: {result['events']:,} incidents, {result['begin']} to {result['at']}"
    last = repeats_in_words(result) + (f"\nWrote {out}" if out else "")
    show(title, result, as_json, table=repeats_table(result), last=last)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train'.")],
    prepared: Prepared,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    data: Data = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Forecast every window of a prepared table and the one after it; torchrun's or srun's tasks share them out."""
    from hews_gpu.runs.score import score as forecast

    result = forecast(run, prepared, out, trained_on=data, device=device, force=force)
    if result:  # of several processes the first alone has one
        show(f"Forecasts in {out}", result, as_json)


@app.command()
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train', and evaluated.")],
    contact: Annotated[str, typer.Option("--contact", metavar="TEXT", help="Who answers for the warnings.")],
    data: Data = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the card if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Write RUN/card.md: what the run is for and not for, how good it is, whom it falls on, what its data are."""
    from hews_gpu.report.card import write_card

    path = write_card(run, contact=contact, data=data, force=force)
    tell({"card": str(path)}, f"Card: {path}", as_json)


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE.json", help="A folder made by 'hews train', or its results.")
    ],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; else report.html in RUN, FILE.html.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained page with maps, rhythms, skill, data quality and how it was run."""
    from hews_gpu.report.build import build_report

    path = build_report(run, out=out, data=data, force=force)
    tell({"report": str(path)}, f"Report: {path}", as_json)
