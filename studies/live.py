"""Two months of live issuing from sixty daily deliveries of the portal table, and what each call costs.

Of Baltimore's portal table with the 278 neighborhoods, where HEWS_REAL_DATA has it, a stack is trained and judged, and
deliveries of May and June 2017 are made by a stated law of delays, with rows changed later. Each day has one delivery
and an issue time every twelve hours; a day on which nothing ran is made up. The record is verified, and edited, cut and
reordered copies must be refused. Some calls are whole processes, with a new delivery and without, each a fresh start of
the command; others the same call in this process. Those that warned, and so said why, are told once more by
themselves. ``--quick``: four days.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
import pyarrow.csv

from benchmarks.common import finish, parse_flags, real_data
from benchmarks.inputs.cities import write_baltimore
from hews_gpu.alerts.intake import INCIDENTS
from hews_gpu.alerts.live import Live
from hews_gpu.alerts.record import verify
from hews_gpu.cli.printing import print_table
from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import prepare
from hews_gpu.errors import UserError
from hews_gpu.report.card import write_card
from hews_gpu.runs.evaluate import evaluate
from hews_gpu.runs.folder import run_recipe
from hews_gpu.runs.run import open_run
from hews_gpu.runs.train import train
from hews_gpu.units import DAY_S, HOUR_S
from studies.inputs.deliveries import OF_PORTAL, daily_deliveries, lognormal, portal_table

ZONE = ZoneInfo("America/New_York")
BEGIN_S = int(np.datetime64("2017-05-02T12:00:00", "s").astype(int))
DAYS, QUICK_DAYS = 60, 4
EVERY_S = 12 * HOUR_S
LAW = lognormal(DAY_S / 2, 1.0)
PROCESSES, QUICK_PROCESSES = 5, 1
"""Whole processes timed of each kind."""
KEPT = 2  # deliveries that lie in the folder at a time, at most, beside the newest
POLICY = """
stride_s = {every_s}
[skill]
required = false
[delivery]
stdout = false
"""
HEWS_AT = """
import sys; from datetime import datetime
from hews_gpu.alerts import live
when = datetime.fromisoformat(sys.argv[1]); live.utc_now = lambda: when
sys.argv[:2] = ["hews"]
from hews_gpu.__main__ import main
main()
"""


def instant(time_s: int) -> datetime:
    """Return the instant some seconds after the city's clocks show a time, as cron starts a job."""
    return datetime.fromtimestamp(time_s + 5, UTC).replace(tzinfo=ZONE).astimezone(UTC)


def trained(data: Path, folder: Path, given: Path | None) -> tuple[Path, Path]:
    """Prepare the table, train and judge a stack unless one is given, and put it into use.

    Returns:
        The run, and its prepared folder.
    """
    prepared, run = folder / "prepared", folder / "run"
    if given is None:
        prepare(load_city(write_baltimore(folder, data, areas=278)), prepared)
        train(prepared, run, device="cpu")
        evaluate(run)
    else:
        prepared = open_run(given).prepared.folder
        shutil.copytree(given, run, ignore=shutil.ignore_patterns("record", "vintages", "state", "warnings.jsonl"))
    (run / "warnings.toml").write_text(POLICY.format(every_s=EVERY_S))
    write_card(run, contact="nobody: a measurement", data=prepared, force=True)
    return run, prepared


def deliveries(data: Path, inbox: Path, days: int) -> Iterator[int]:
    """Write one delivery a day as a file; yield the time of each."""
    table, time_s = portal_table(data)
    inbox.mkdir()
    for one in daily_deliveries(table, time_s, begin_s=BEGIN_S, days=days, delay=LAW, seed=1, edits=OF_PORTAL):
        pyarrow.csv.write_csv(one.table, inbox / f"{np.datetime64(one.known_s, 's').astype('datetime64[D]')}.csv")
        yield one.known_s
        for read in sorted(inbox.iterdir())[:-KEPT]:  # each has 47 MB
            read.unlink()


def issue(run: Path, prepared: Path, inbox: Path, time_s: int, *, catch_up: bool = False) -> dict[str, Any]:
    """Issue in this process, as the command does; return the outcome with the processor seconds."""
    began = time.process_time()
    live = Live(run, data=prepared, clock=lambda: instant(time_s))
    return {**live.warn([inbox], catch_up=catch_up), "cpu_s": time.process_time() - began}


def in_a_process(run: Path, prepared: Path, inbox: Path, time_s: int) -> float:
    """Issue in a process of its own; return its processor seconds, from its start to its end."""
    command = [sys.executable, "-c", HEWS_AT, instant(time_s).isoformat(), "warn", str(run)]
    before = os.times()
    done = subprocess.run(
        [*command, "--data", str(prepared), "--incidents", str(inbox)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 10, 11), done.stderr
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def play(data: Path, run: Path, prepared: Path, inbox: Path, days: int, processes: int) -> dict[str, Any]:
    """Issue day after day, some of it by whole processes; the tenth day nothing runs and is made up."""
    spent: dict[str, list[float]] = {f"{how}, {what}": [] for how in ("process", "call") for what in WHAT}
    warned: dict[str, list[float]] = {name: [] for name in spent}
    made_up = 0
    for day, known_s in enumerate(deliveries(data, inbox, days)):
        if day == min(10, days - 2):
            continue
        for n, time_s in enumerate(range(known_s, known_s + DAY_S, EVERY_S)):
            what = WHAT[0] if n == 0 else WHAT[1]
            is_due = day > 0 and n < 2 and len(spent[f"process, {what}"]) < processes
            if is_due and day not in (min(10, days - 2) + 1,):
                name, cpu_s, entry = f"process, {what}", in_a_process(run, prepared, inbox, time_s), last_outcome(run)
                spent[name].append(cpu_s)
            else:
                entry = issue(run, prepared, inbox, time_s, catch_up=n == 0)
                made_up += entry["caught_up"]
                name, cpu_s = f"call, {what}", entry["cpu_s"]
                if day and not entry["caught_up"]:
                    spent[name].append(cpu_s)
            if day and not entry.get("caught_up") and entry.get("explanations"):
                warned[name].append(cpu_s)
    assert issue(run, prepared, inbox, time_s)["again"], "the same time twice adds nothing"
    every = spent | {f"{name}, warned": each for name, each in warned.items()}
    return {"made_up": made_up, "cpu_s": {name: spread(each) for name, each in every.items() if each}}


def last_outcome(run: Path) -> dict[str, Any]:
    """Return the last outcome in the record."""
    entries = [json.loads(line) for line in (run / "record" / "record.jsonl").open()]
    return next(entry for entry in reversed(entries) if entry["kind"] == "outcome")


WHAT = ("new delivery", "none")


def spread(values: list[float]) -> dict[str, float]:
    """Return median, lowest and highest."""
    return {"median_s": float(np.median(values)), "min_s": min(values), "max_s": max(values), "calls": len(values)}


def tampered(run: Path, folder: Path) -> dict[str, bool]:
    """Return which edits of a copy of the record are refused."""
    edits: dict[str, Callable[[list[bytes]], list[bytes]]] = {
        "edited": lambda lines: [lines[0].replace(b'"kind"', b'"kinD"'), *lines[1:]],
        "deleted": lambda lines: [*lines[:5], *lines[6:]],
        "reordered": lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
        "cut": lambda lines: lines[:-1],
    }
    refused = {}
    for name, edit in edits.items():
        copy = folder / name
        shutil.copytree(run / "record", copy / "record")
        path = copy / "record" / "record.jsonl"
        path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
        try:
            verify(copy)
            refused[name] = False
        except UserError:
            refused[name] = True
    return refused


def measure(data: Path, folder: Path, quick: bool, given: Path | None) -> dict[str, Any]:
    """Do all of it."""
    run, prepared = trained(data, folder, given)
    began = time.perf_counter()
    days = QUICK_DAYS if quick else DAYS
    costs = play(data, run, prepared, folder / "inbox", days, QUICK_PROCESSES if quick else PROCESSES)
    entries = [json.loads(line) for line in (run / "record" / "record.jsonl").open()]
    outcomes = [entry for entry in entries if entry["kind"] == "outcome"]
    times = [entry["issue_time"] for entry in outcomes]
    assert len(times) == len(set(times)), "each issue time has one outcome"
    warned = [one["id"] for entry in outcomes for one in entry["warnings"] if not one["withheld"]]
    said = [json.loads(line)["id"] for line in (run / "warnings.jsonl").open()]
    return {
        "model": run_recipe(run).model,
        "deliveries": days,
        "delivered_rows": len(Live(run, data=prepared).stores[INCIDENTS].as_of(BEGIN_S + days * DAY_S)),
        "neighborhoods": len(outcomes[-1]["neighborhoods"]),
        "issue_times": len(outcomes),
        "outcomes": dict(Counter(f"{entry['outcome']}{' late' if entry['late'] else ''}" for entry in outcomes)),
        "labels": sum(entry["kind"] == "label" for entry in entries),
        "warnings": len(warned),
        "each_said_once": sorted(said) == sorted(warned),
        "lines_verified": verify(run).lines,
        "tampered_refused": tampered(run, folder / "tampered"),
        "record_bytes": (run / "record" / "record.jsonl").stat().st_size,
        "store_bytes": sum(path.stat().st_size for path in (run / "vintages").iterdir()),
        **costs,
        "seconds": round(time.perf_counter() - began, 1),
    }


def show(result: dict[str, Any]) -> None:
    """Print what matters."""
    rows = [
        [name, *(f"{one[key]:.2f}" for key in ("median_s", "min_s", "max_s"))] for name, one in result["cpu_s"].items()
    ]
    print_table("Processor seconds of one issue time", [["", "median", "least", "most"], *rows])
    about = {name: value for name, value in result.items() if not isinstance(value, dict)}
    print_table("Two months", [["", ""], *([name.replace("_", " "), str(value)] for name, value in about.items())])


def main() -> None:
    """Measure, print, and save unless quick."""
    told = {"type": Path, "default": None, "help": "a trained and judged run of the table, instead of training one"}
    flags = parse_flags(__doc__ or "", run=told)
    data = real_data()
    if data is None:
        sys.exit("live: HEWS_REAL_DATA must name the folder of real tables")
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(data, Path(scratch), flags.quick, flags.run)
    finish("live", result, flags, show)


if __name__ == "__main__":
    main()
