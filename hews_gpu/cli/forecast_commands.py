"""The commands that forecast and judge: train, evaluate, score, report."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from hews_gpu.cli.options import Device, Force, Json, Prepared
from hews_gpu.cli.printing import print_json, show
from hews_gpu.errors import UserError

__all__ = ["app"]

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
    """Fit a model as a recipe says, stopped by the validation windows."""
    from hews_gpu.runs.train import train as run
    from hews_gpu.train.recipe import load_recipe

    result = run(
        prepared,
        out,
        recipe=load_recipe(recipe),
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
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A folder made by 'hews train'.")] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; else the run's own.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the results that --out holds.")] = False,
    preset: Annotated[str | None, typer.Option("--preset", help="Instead of RUN: a generated city's law.")] = None,
    years: Annotated[int | None, typer.Option("--years", help="With --preset: how many to draw; else 10.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="With --preset: what to judge; else boosting.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="With --preset: of the city; else 0.")] = None,
    as_json: Json = False,
) -> None:
    """Forecast every window and judge the forecasts: a run's, or a forecaster's on a city whose truth is known."""
    if (run is None) == (preset is None):
        got = "neither" if run is None else "both"
        raise UserError("RUN or --preset", got, allowed="give one of them", remedy="See 'hews evaluate --help'")
    if preset is not None:
        _evaluate_preset(preset, years=years or 10, model=model or "boosting", seed=seed or 0, as_json=as_json)
        return
    for option, value in (("--years", years), ("--model", model), ("--seed", seed)):
        if value is not None:
            raise UserError(option, value, allowed="goes with --preset: a run has its own", remedy="Leave it out")
    from hews_gpu.runs.evaluate import evaluate as judge
    from hews_gpu.runs.summary import summary_table

    assert run is not None
    metrics = judge(run, out=out, data=data, force=force)
    title, table = summary_table(metrics)
    show(title, metrics, as_json, table=table, last=metrics["verdict"])


def _evaluate_preset(preset: str, *, years: int, model: str, seed: int, as_json: bool) -> None:
    from hews_gpu.evaluation.backtest import evaluate_preset
    from hews_gpu.evaluation.summary import preset_table

    metrics = evaluate_preset(preset, years=years, seed=seed, model=model)
    title, verdict = f"{years} years of {preset}, test blocks", f"{model}: {metrics['verdict']}"
    show(title, metrics, as_json, table=preset_table(metrics), last=verdict)


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
    if as_json:
        print_json({"report": str(path)})
    else:
        print(f"Report: {path}")
