"""The command `hews`: one thin function per job.

Results go to standard output (with `--json` as one JSON object), progress and messages to standard error. A mistake of
the user ends with one line and exit code 2; so does Ctrl-C, after everything half-written has been removed. Each
command imports what it needs when it runs, so that `hews --help` is immediate and table work and torch stay apart.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from hews_gpu.cli.cluster_commands import Json, add_to
from hews_gpu.cli.options import GoOn, OfCluster, OnCluster, Resume, Train, workers_of
from hews_gpu.cli.printing import print_json, print_table, show
from hews_gpu.errors import UserError

__all__ = ["app", "main"]

EXIT_USER_ERROR = 2
STOPPED = "stopped before the end; nothing half-written was left."


UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""An unknown option, a missing argument and the like; Typer gives it no public name."""


class Commands(TyperGroup):
    """The commands, with the ways out that need no traceback: a user's mistake, and being stopped."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read what stands before the name of a command."""
        try:
            return super().make_context(*arguments, **options)
        except UsageError as error:
            _tell_usage(error)

    def invoke(self, ctx: Any) -> Any:
        """Run one command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"hews: {error}", file=sys.stderr)
        except UsageError as error:
            _tell_usage(error)
        except KeyboardInterrupt as stop:  # a run that can go on says how
            print(f"hews: {str(stop) or STOPPED}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _tell_usage(error: Any) -> NoReturn:
    """One line instead of Typer's box; a command without a word after it shows its help, as it is.

    Raises:
        SystemExit: always, with the code of a user's mistake.
        UsageError: the error is the help.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        raise error
    text = " ".join(error.format_message().split())
    asked = error.ctx.command_path if error.ctx else "hews"
    print(f"hews: {text}{'' if text.endswith(('.', '?')) else '.'} See '{asked} --help'.", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


app = typer.Typer(
    cls=Commands,
    help="HEWS-GPU: from a table of reported crimes to a calibrated, honestly judged warning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists (only one made by hews).")]
Data = Annotated[Path | None, typer.Option("--data", help="The prepared folder, if it has moved since training.")]
CityFile = Annotated[Path, typer.Argument(metavar="CITY.toml", help="A city file; 'hews init NAME' writes one.")]
Prepared = Annotated[Path, typer.Argument(metavar="DIR", help="A folder made by 'hews prepare'.")]
Device = Annotated[str, typer.Option("--device", help="What to train on: auto, cpu or cuda.")]
Judged = Annotated[
    Path, typer.Argument(metavar="RUN|FILE.json", help="A folder made by 'hews train', or results of an evaluation.")
]


def _version(show: bool) -> None:
    if show:
        from hews_gpu import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the whole demo.")] = Path("runs/demo"),
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Walk the whole path on a generated city: no files, no network."""
    from hews_gpu.cli.demo import run_demo
    from hews_gpu.runs.summary import skill_table

    metrics, report = run_demo(out, force=force, device=device)
    if as_json:
        print_json({**metrics, "report": str(report)})
        return
    print_table("Skill on the test split", skill_table(metrics))
    print(f"\n{metrics['verdict']}\nReport: {report}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show, for each stage, which engine would run here and what is missing for the others."""
    from hews_gpu.environment.doctor import as_steps, as_table, diagnose

    stages = diagnose()
    if as_json:
        print_json({"stages": stages})
        return
    print_table("What would run here", as_table(stages))
    print("\nTo get what is missing:", *as_steps(stages), sep="\n")


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped city: baltimore, chicago or demo.")],
    table: Annotated[
        Path | None, typer.Option("--from", help="Your own table: propose its columns; NAME is your city's.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; NAME.toml unless given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Write a city file to edit, with a comment on every field."""
    from hews_gpu.config import city_template
    from hews_gpu.files import atomic_file

    path = out or Path(f"{name}.toml")
    if path.is_dir():
        raise UserError("--out", path, allowed="is a folder", remedy="Give a file such as city.toml")
    if path.exists() and not force:
        raise UserError("--out", path, allowed="exists already", remedy="Give another file, or --force to replace it")
    if not path.parent.is_dir():
        raise UserError("--out", path, allowed="must be in a folder that exists", remedy=f"Make {path.parent} first")
    proposal: dict[str, Any] = {}
    if table is None:
        text = city_template(name)
    else:
        from hews_gpu.data.readers.propose import propose_city

        text, proposal = propose_city(name, table, path)
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"city_file": str(path), **proposal})
        return
    if proposal:
        heading = ["time", "longitude", "latitude", "category"]
        print_table("The first rows as they would be read", [heading, *map(list, proposal["preview"])])
        print(proposal["advice"])
    print(f"Wrote {path}. Edit it, then: hews prepare {path} --out prepared")


@app.command()
def fetch(
    city: Annotated[str, typer.Argument(metavar="NAME|CITY.toml", help="A shipped city, or a city file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the tables; else data/NAME.")] = None,
    as_json: Json = False,
) -> None:
    """Get a city's tables from its public feed, page by page; a fetch that was cut off goes on where it stopped."""
    from hews_gpu.fetch import fetch_city, find_city

    config, folder = find_city(city)
    out = out or folder
    show(f"Fetched into {out}", fetch_city(config, out), as_json)


@app.command(cls=OnCluster)
def prepare(
    city: CityFile,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; else runs/CITY/prepared.")] = None,
    force: Force = False,
    cluster: OfCluster = None,
    resume: GoOn = False,
    as_json: Json = False,
) -> None:
    """Read, clean and place every incident; nothing is lost, doubtful rows are set aside with a reason."""
    from hews_gpu.config import load_city
    from hews_gpu.data.prepare.command import prepare as run
    from hews_gpu.data.quality.summary import summary_rows

    out = out or Path("runs") / city.stem / "prepared"
    quality = run(load_city(city), out, force=force, resume=resume, workers=workers_of(cluster))
    if as_json:
        print_json(quality)
    else:
        print_table(f"Prepared into {out}", summary_rows(quality))


@app.command(cls=OnCluster)
def rasterize(
    prepared: Prepared,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    style: Annotated[str | None, typer.Option("--style", help="reference or channels; else as the city says.")] = None,
    force: Force = False,
    cluster: OfCluster = None,
    resume: GoOn = False,
    as_json: Json = False,
) -> None:
    """Write every window's map to Zarr, for people who want files (training does not need them)."""
    from hews_gpu.feed.maps import rasterize as run

    made = run(prepared, out, style=style, force=force, resume=resume, workers=workers_of(cluster))
    show(f"Maps in {out}", made, as_json)


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

    found = run(
        prepared,
        out,
        recipe=load_recipe(recipe),
        feed=feed,
        force=force,
        resume="auto" if resume == "auto" else resume == "always",
        device=device,
        devices=devices,
    )
    if found:  # of several processes the first alone has something to say
        show(f"Trained into {out}", found, as_json)


@app.command()
def evaluate(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A folder made by 'hews train'.")] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; else the run's own.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the results that --out holds.")] = False,
    preset: Annotated[str | None, typer.Option("--preset", help="Instead of RUN: a generated city's law.")] = None,
    years: Annotated[int, typer.Option("--years", help="With --preset: how many to draw.")] = 10,
    model: Annotated[str, typer.Option("--model", help="With --preset: the forecaster to judge.")] = "boosting",
    seed: Annotated[int, typer.Option("--seed", help="With --preset: of the city.")] = 0,
    as_json: Json = False,
) -> None:
    """Forecast every window and judge the forecasts: a run's, or a forecaster's on a city whose truth is known."""
    if (run is None) == (preset is None):
        got = "neither" if run is None else "both"
        raise UserError("RUN or --preset", got, allowed="give one of them", remedy="See 'hews evaluate --help'")
    if preset is not None:
        _evaluate_preset(preset, years=years, model=model, seed=seed, as_json=as_json)
        return
    from hews_gpu.runs.evaluate import evaluate as judge
    from hews_gpu.runs.summary import summary_table

    assert run is not None
    metrics = judge(run, out=out, data=data, force=force)
    if as_json:
        print_json(metrics)
        return
    print_table(*summary_table(metrics))
    print(f"\n{metrics['verdict']}")


def _evaluate_preset(preset: str, *, years: int, model: str, seed: int, as_json: bool) -> None:
    from hews_gpu.evaluation.backtest import evaluate_preset
    from hews_gpu.evaluation.summary import preset_table

    found = evaluate_preset(preset, years=years, seed=seed, model=model)
    if as_json:
        print_json(found)
        return
    print_table(f"{years} years of {preset}, test blocks", preset_table(found))
    print(f"\n{model}: {found['verdict']}")


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
    from hews_gpu.audit.run import audit as run
    from hews_gpu.audit.run import write_audit
    from hews_gpu.audit.summary import audit_table

    found = run(folder, quick=quick, planted=planted)
    if out is not None:
        write_audit(out, found)
    if as_json:
        print_json(found)
    else:
        print_table(f"Audit of {found['of']}: {found['verdict']}", audit_table(found))
    raise typer.Exit(1 if found["verdict"] == "fail" else 0)


@app.command()
def report(
    run: Judged,
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
    from hews_gpu.cluster.bench import run_benchmark

    if name == "compare":
        from hews_gpu.cli.bench_compare import compare_files, comparison_table

        found = compare_files(files or [])
        if as_json:
            print_json(found)
            return
        print_table(f"{found['benchmark']}: A = {found['a']}, B = {found['b']}", comparison_table(found))
        print(*found["differences"], sep="\n")
        return
    more = [str(one) for one in files or []]
    if more and not more[0].startswith("-"):
        raise UserError("hews bench", more[0], allowed="takes files only after compare", remedy="Leave it out")
    ended = run_benchmark(name, quick=quick, as_json=as_json, device=device, open_locked=why, out=out, more=more)
    raise typer.Exit(ended)


add_to(app)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; turn a user's mistake into one line and exit code 2."""
    signal.signal(signal.SIGTERM, _stop)  # a scheduler's stop cleans up like Ctrl-C
    app(prog_name="hews")
