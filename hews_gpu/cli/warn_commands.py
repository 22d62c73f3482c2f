"""The commands of warnings in use: replay, verify."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from hews_gpu.cli.options import Device, Force, Json, Prepared
from hews_gpu.cli.printing import show
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = ["app"]

app = typer.Typer()

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train'.")]
Data = Annotated[Path | None, typer.Option("--data", help="The run's prepared folder, if it has moved.")]
SPANS = {"s": 1, "min": MINUTE_S, "h": HOUR_S, "d": DAY_S, "": 1}


@app.command()
def replay(
    run: Run,
    prepared: Prepared,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="First issue time, such as 2017-06-01.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Last one; a date without a time is a whole day.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    stride: Annotated[
        str | None, typer.Option("--stride", metavar="10min", help="Between issue times; the policy's unless given.")
    ] = None,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="6h", help="Rows are known so long after they happened.")
    ] = None,
    data: Data = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Say what a run would have warned of at every moment from what was known then, and what came of it."""
    from hews_gpu.alerts.replay import replay as run_replay
    from hews_gpu.config import parse_local_time
    from hews_gpu.environment.device import choose_device
    from hews_gpu.report.alerts.replay import build_replay_page

    last_s = parse_local_time("--to", end)
    summary = run_replay(
        run,
        prepared,
        out,
        begin_s=parse_local_time("--from", begin),
        end_s=last_s + (DAY_S if _is_date(end) else 1),
        stride_s=None if stride is None else seconds_of("--stride", stride),
        delay_s=None if delay is None else seconds_of("--delay", delay),
        trained_on=data,
        device=choose_device(device).device,
        force=force,
    )
    page = build_replay_page(out)
    show(f"Replay in {out}", summary, as_json, table=_replay_table(summary), last=f"Page: {page}")


@app.command()
def verify(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder made by 'hews train' that 'hews warn' has used.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for numbers and page; else the run's own.")] = None,
    rebaseline: Annotated[
        str, typer.Option("--rebaseline", metavar="WHY", help="Let published numbers move; the record tells why.")
    ] = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Score all that a run's record says was issued, and what was not: forecasts, warnings, misses, month by month."""
    from hews_gpu.alerts.verify import verify as score
    from hews_gpu.report.alerts.verification import build_verification_page

    result = score(run, out=out, data=data, why=rebaseline.strip())
    page = build_verification_page(result, (out or run) / "verification.html")
    show("Warnings, verified", result, as_json, table=_verified_table(result), last=f"Page: {page}")


def _is_date(text: str) -> bool:
    """Return whether a time is a date alone, however it is written: 2017-06-07 or 20170607."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def seconds_of(option: str, text: str) -> int:
    """Read a span of time such as 10min, 2h or 600 (seconds).

    Raises:
        UserError: it is none.
    """
    parts = re.fullmatch(r"(\d{1,9}) *([a-z]*)", text.strip())
    if parts is None or parts[2] not in SPANS:
        raise UserError(option, text, allowed="must be a span of time such as 10min, 2h, 1d or 600 (seconds)")
    return int(parts[1]) * SPANS[parts[2]]


def _replay_table(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return what came of the warnings, one row per kind of place, forecaster and tier."""
    heading = ["place", "forecaster", "tier", "given", "withheld", "a week", "hits", "false alarms", "events caught"]
    rows = [[*heading, "median lead"]]
    for kind, by in summary["warnings"].items():
        if_issued = {"p if issued": one[kind]} if (one := summary["warnings_if_issued"]) else {}
        for name, tiers in {**by, **if_issued}.items():
            for tier, one in ((tier, tiers[tier]) for tier in ("watch", "warning", "any")):
                lead_s, week = one["median_lead_s"], one["per_week"]
                numbers = [str(one["given"]), str(one["withheld"]), "-" if week is None else f"{week:.1f}"]
                numbers += [str(one["hits"]), str(one["false_alarms"]), f"{one['caught']} of {one['events']}"]
                numbers.append("-" if lead_s is None else f"{lead_s / MINUTE_S:.0f} min")
                rows.append([kind, re.sub(r"^p\b", summary["model"], name), tier, *numbers])
    return rows


def _verified_table(result: Mapping[str, Any]) -> list[list[str]]:
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
