"""The command that scores what was issued: verify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hews_gpu.cli.options import Json
from hews_gpu.cli.printing import show
from hews_gpu.units import MINUTE_S

__all__ = ["app"]

app = typer.Typer()


@app.command()
def verify(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train' that 'hews warn' has used.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for numbers and page; else the run's own.")] = None,
    rebaseline: Annotated[
        str, typer.Option("--rebaseline", metavar="WHY", help="Let published numbers move; the record tells why.")
    ] = "",
    data: Annotated[
        Path | None, typer.Option("--data", help="The prepared folder, if it has moved since training.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score all that a run's record says was issued, and what was not: forecasts, warnings, misses, month by month."""
    from hews_gpu.alerts.verify import verify as score
    from hews_gpu.report.alerts.verification import build_verification_page

    result = score(run, out=out, data=data, why=rebaseline.strip())
    page = build_verification_page(result, (out or run) / "verification.html")
    show("Warnings, verified", result, as_json, table=_table(result), last=f"Page: {page}")


def _table(result: Mapping[str, Any]) -> list[list[str]]:
    """Return what was due and what came of it by month and in all, and what the references would have given."""
    rows = [["", "due", "issued", "place", "given", "a week", "hits", "events", "POD", "FAR", "median lead"]]
    for period in [*result["periods"], result["all"]]:
        due = [f"{period['outcomes'][name]:,}" for name in ("due", "issued")]
        for kind, by in period["warnings"].items():
            rows.append([period["period"], *due, kind, *_cells(by["p"]["any"])])
    for kind, by in result["all"]["warnings"].items():
        rows += [[name, "", "", kind, *_cells(tiers["any"])] for name, tiers in by.items() if name != "p"]
    return rows


def _cells(one: Mapping[str, Any]) -> list[str]:
    """Return what is told of some warnings, always together."""
    week, pod, far, lead_s = (one[name] for name in ("per_week", "pod", "far", "median_lead_s"))
    return [
        f"{one['given']:,}",
        "-" if week is None else f"{week:.1f}",
        f"{one['hits']:,}",
        f"{one['events']:,}",
        *("-" if share is None else f"{share:.0%}" for share in (pod, far)),
        "-" if lead_s is None else f"{lead_s / MINUTE_S:.0f} min",
    ]
