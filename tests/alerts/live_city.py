"""The toy city in use: a run with a policy, its deliveries as CSV files, and `hews warn` by another clock."""

import atexit
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from hews_gpu.alerts.live import Live
from hews_gpu.alerts.record import read_record, verify
from hews_gpu.runs.folder import model_fingerprint
from tests.toy_city import incidents, write_prepared

ZONE = ZoneInfo("America/New_York")
POLICY = """
stride_s = 7200
quiet_s = 0
[city]
watch_per_week = 84
warning_per_week = 0
[neighborhoods]
watch_per_week = 0
warning_per_week = 0
[skill]
required = false
[delivery]
stdout = false
cap = ""
"""
COLUMNS = """
[incidents.columns]
time = "time"
longitude = "longitude"
latitude = "latitude"
category = "category"
"""
LAYER = """
[[layers]]
name = "calls"
files = ["calls.csv"]
[layers.columns]
time = "time"
longitude = "longitude"
latitude = "latitude"
category = "category"
known = "reported"
"""
HEWS_AT = Path(__file__).with_name("hews_at.py")


def instant(local: str, fold: int = 0) -> datetime:
    """Return the instant at which the city's clocks show a time."""
    return datetime.fromisoformat(local).replace(tzinfo=ZONE, fold=fold).astimezone(UTC)


def seconds(local: str) -> int:
    return int(np.datetime64(local, "s").astype(np.int64))


@cache
def server() -> subprocess.Popen:
    """Return the process that has loaded what `hews warn` needs, to be forked: loading takes seconds each time."""
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, str(HEWS_AT)], text=True, env=environment(), **pipes)
    atexit.register(process.communicate)
    return process


class Fork:
    """A process of `hews` at an instant, which can be killed; what it prints goes into files of a folder."""

    def __init__(self, when: datetime, arguments: list[str], folder: Path) -> None:
        self.arguments, self._files = arguments, {"out": str(folder / "out"), "err": str(folder / "err")}
        asked = {"instant": when.isoformat(), "arguments": arguments, "environ": {**os.environ}, "folder": os.getcwd()}
        self._say(json.dumps(asked | self._files))
        self._process = os.pidfd_open(int(server().stdout.readline()))

    def has_ended(self, within_s: float) -> bool:
        return bool(select.select([self._process], [], [], within_s)[0])

    def kill(self) -> None:
        signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def end(self) -> int:
        """Wait until it has ended and return its exit code."""
        if not self.has_ended(120):
            self.kill()
        self._say("")
        os.close(self._process)
        return int(server().stdout.readline())

    def printed(self) -> list[str]:
        """Return its standard output and standard error."""
        return [Path(file).read_text() for file in self._files.values()]

    def _say(self, line: str) -> None:
        server().stdin.write(line + "\n")
        server().stdin.flush()


@dataclass
class InUse:
    """A run with a policy, and a folder of deliveries."""

    run: Path
    inbox: Path
    prepared: Path

    def deliver(self, name: str, until: str, change=None, cut: int | None = None) -> Path:
        """Write the table as known at a local time; `change` edits its rows, `cut` its bytes."""
        rows = incidents()
        rows = rows[rows["time_s"] < seconds(until)]
        if change is not None:
            rows = change(rows.copy())
        rows = rows.assign(time=np.datetime_as_string(rows["time_s"].to_numpy().astype("datetime64[s]")))
        text = rows[["time", "longitude", "latitude", "category"]].to_csv(index=False).encode()
        path = self.inbox / name
        path.write_bytes(text[:cut])
        return path

    def policy(self, text: str) -> None:
        (self.run / "warnings.toml").write_text(text)

    def warn(self, local: str, fold: int = 0, **options):
        """Issue in this process."""
        live = Live(self.run, data=self.prepared, clock=lambda: instant(local, fold))
        return live.warn([self.inbox], **options)

    def arguments(self, *given: str) -> list[str]:
        """Return those of `hews warn`; the deliveries are in the inbox unless something is given."""
        return ["warn", str(self.run), "--data", str(self.prepared), *(given or ("--incidents", str(self.inbox)))]

    def hews(self, local: str | datetime, *given: str, fold: int = 0, **options) -> subprocess.CompletedProcess:
        """Give `hews warn` in a process of its own: a fork, or with options one that begins from nothing."""
        when = local if isinstance(local, datetime) else instant(local, fold)
        if not options:
            with TemporaryDirectory() as folder:
                fork = Fork(when, self.arguments(*given), Path(folder))
                return subprocess.CompletedProcess(fork.arguments, fork.end(), *fork.printed())
        command = [sys.executable, str(HEWS_AT), when.isoformat(), *self.arguments(*given)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), **options)

    @property
    def entries(self) -> list[dict]:
        """The record, verified."""
        return read_record(self.run)

    def of(self, kind: str) -> list[dict]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(entry["issue_time"], entry["outcome"]) for entry in self.of("outcome")]

    @property
    def delivered(self) -> list[str]:
        """Ids in the file of warnings."""
        file = self.run / "warnings.jsonl"
        return [json.loads(line)["id"] for line in file.read_text().splitlines()] if file.exists() else []

    def require_whole(self) -> None:
        """See that the record holds, every warning went out once and none twice, and nothing else went out."""
        verify(self.run)
        given = [one["id"] for entry in self.of("outcome") for one in entry["warnings"] if not one["withheld"]]
        sent = [entry["warning"] for entry in self.of("sent") if entry["channel"] == "file"]
        times = [time for time, _ in self.outcomes]
        assert len(set(times)) == len(times)
        assert sorted(self.delivered) == sorted(given) == sorted(sent)


def calls() -> pd.DataFrame:
    """Return the toy city's robberies, each reported up to six hours later: a shooting follows one after two hours."""
    rows = incidents()
    rows = rows[rows["category"] == "ROBBERY"]
    late_s = np.random.default_rng(0).integers(60, 6 * 3600, len(rows))
    return rows.assign(known_s=rows["time_s"] + late_s)


def with_robberies_as_a_layer(folder: Path, *, until_s: int | None = None) -> Path:
    """Write the toy city with its robberies in a layer; those reported until a moment if given."""
    frame, robberies = incidents(), calls()
    write_prepared(folder, frame[frame["category"] != "ROBBERY"])
    robberies = robberies[robberies["known_s"] < (until_s or np.inf)]
    own = folder / "layers" / "calls"
    write_prepared(own, robberies, extra={"known_s": pa.array(robberies["known_s"].to_numpy())})
    (own / "quality.json").write_text(json.dumps({"times": {"resolution_s": 60}}), encoding="utf-8")
    with (folder / "city.toml").open("a", encoding="utf-8") as city:
        city.write(LAYER)
    return folder


def environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def in_use(folder: Path, trained: Path, prepared: Path, policy: str = POLICY) -> InUse:
    """Put a copy of a trained run into use."""
    shutil.copytree(trained, folder / "run")
    city = folder / "run" / "city.toml"
    city.write_text(city.read_text().replace("[neighborhoods]", f"{COLUMNS}[neighborhoods]"))
    (folder / "run" / "card.md").write_text(f"Model `{model_fingerprint(folder / 'run')}`, `STOP`")
    (folder / "inbox").mkdir()
    made = InUse(run=folder / "run", inbox=folder / "inbox", prepared=prepared)
    made.policy(policy)
    return made
