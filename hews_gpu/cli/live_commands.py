"""The commands that issue warnings: warn, drill."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hews_gpu.cli.options import Force, Json
from hews_gpu.cli.printing import print_json, show, tell
from hews_gpu.errors import UserError

__all__ = ["app"]

app = typer.Typer()


@app.command()
def warn(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train'.")],
    incidents: Annotated[
        list[Path] | None,
        typer.Option(
            "--incidents", metavar="FILE|FOLDER", help="A file of the newest delivery, or a folder of deliveries."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME=FILE|FOLDER", help="Likewise of each of the run's layers."),
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Local issue time; now unless given.")] = None,
    catch_up: Annotated[bool, typer.Option("--catch-up", help="First make up what was missed, marked late.")] = False,
    cancel: Annotated[str | None, typer.Option("--cancel", metavar="ID", help="Withdraw a warning instead.")] = None,
    why: Annotated[str | None, typer.Option("--why", metavar="TEXT", help="With --cancel: the reason.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The prepared folder, if it has moved.")] = None,
    as_json: Json = False,
) -> None:
    """Issue the warnings of one issue time, from the newest delivery, into the run's sealed record.

    Exit code: 0 issued (with or without a warning), 10 abstained (no significant skill), 11 refused (the input is
    stale, drifted or damaged, or RUN has no card), 12 stopped (kill switch, or a drill is due), 2 a mistake. A second
    call for the same time adds nothing and ends as the first.
    """
    from hews_gpu.alerts.live import EXIT_CODES, Live
    from hews_gpu.alerts.live import cancel as withdraw
    from hews_gpu.progress import log

    out = sys.stderr if as_json else None  # standard output is for the one object then
    if cancel is not None:
        if incidents or layer or at or catch_up:
            raise UserError("--cancel", cancel, allowed="stands alone, but for --why")
        entry = withdraw(run, cancel, why or "", data=data, out=out)
        tell(entry, f"withdrawn: {cancel}", as_json)
        return
    if why is not None or not incidents:
        field = "--why" if why is not None else "--incidents"
        raise UserError(field, why, allowed="belongs to --cancel" if why is not None else "is needed")
    result = Live(run, data=data, out=out).warn(incidents, _by_layer(layer or ()), at=at, catch_up=catch_up)
    if as_json:
        print_json(result)
    log(_in_words(result))
    raise typer.Exit(EXIT_CODES[result["outcome"]])


def _by_layer(given: Sequence[str]) -> dict[str, list[Path]]:
    """Return the files of each layer."""
    layers: dict[str, list[Path]] = {}
    for one in given:
        name, is_named, path = one.partition("=")
        if not (is_named and name and path):
            remedy = "Write it as calls=/srv/calls"
            raise UserError("--layer", one, allowed="must be NAME=FILE or NAME=FOLDER", remedy=remedy)
        layers.setdefault(name, []).append(Path(path))
    return layers


def _in_words(result: dict[str, object]) -> str:
    """Return one line on an outcome."""
    warnings = result["warnings"]
    assert isinstance(warnings, list)
    what = {"issued": f"{len(warnings)} warnings" if warnings else "no warning"}.get(str(result["outcome"]))
    about = what or str(result["reason"])
    before = ", as before" if result["again"] else ""
    more = f"; {result['caught_up']} made up" if result["caught_up"] else ""
    return f"{result['issue_time']}: {result['outcome']}{' late' if result['late'] else ''}{before}: {about}{more}"


@app.command()
def drill(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train'.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.json", help="Also write the result.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Plant faults into a generated city: live issuing by RUN's policy must stand them. Exit code 1: it did not."""
    from hews_gpu.alerts.drill import drill as play
    from hews_gpu.files import require_free_file, write_json

    if out is not None:
        require_free_file(out, force=force, example="drill.json")
    result = play(run)
    if out is not None:
        write_json(out, result)
    rows = [[name, one["what"], one["expected"], one["outcome"], _passed(one)] for name, one in result["cases"].items()]
    title = f"Drill of {run}: {_passed(result)}"
    show(title, result, as_json, table=[["case", "planted", "expected", "outcome", ""], *rows])
    raise typer.Exit(0 if result["passed"] else 1)


def _passed(result: Mapping[str, Any]) -> str:
    return "passed" if result["passed"] else "FAILED"
