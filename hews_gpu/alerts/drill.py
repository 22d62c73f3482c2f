"""`hews drill`: the live path over a generated city into which faults are planted, one at a time.

A run is trained on a generated city and put into use under the policy of the run that the drill is for; only what
stands in the way is changed: it warns at every issue time, abstains from none, and sends to a file of its own. Each
case begins a day after a sound delivery, and must end in the outcome, and for the reason, that it is about. A limit of
the policy so wide that no fault reaches it fails its case.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from hews_gpu.alerts.checks import BEGIN_S
from hews_gpu.alerts.live import Live
from hews_gpu.alerts.policy import CityBudget, Delivery, Drill, Policy, Sign, Skill
from hews_gpu.alerts.record import read_record
from hews_gpu.alerts.vintages.store import VINTAGES
from hews_gpu.arrays import Bool, Int64
from hews_gpu.config import load_city
from hews_gpu.progress import log
from hews_gpu.runs.folder import CARD, POLICY, model_fingerprint
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S

__all__ = ["CASES", "drill"]

INTO_TEST_S = 3 * WEEK_S
"""So long into the city's test split the cases are."""
AT_S = 5  # after the issue time, as a job of cron begins
SEED = 18
MANY_PER_WEEK = 1e5
MOST_TIMES, MOST_LOST = 30, 0.9  # as many rows as usual, and of all rows so large a share, at most


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A run in use, a day after its last delivery."""

    folder: Path
    policy: Policy
    table: pd.DataFrame
    """The city's rows as text, all of them."""
    time_s: Int64  # [E] when each happened
    now_s: int
    """The issue time; the last delivery and outcome were a day before."""

    @cached_property
    def known(self) -> Bool:
        """[E] the rows that have happened by now."""
        return np.asarray(self.time_s < self.now_s)

    @cached_property
    def lately(self) -> Bool:
        """[E] those of the stretch that is compared with past weeks."""
        newest_s = int(self.time_s[self.known].max())
        return self.known & (self.time_s > newest_s - self.policy.input.volume_s)

    def deliver(self, table: pd.DataFrame, name: str = "b.csv") -> None:
        """Put a delivery into the folder."""
        table.to_csv(self.folder / "inbox" / name, index=False)

    def moved(self, rows: pd.DataFrame, time_s: Int64) -> pd.DataFrame:
        """Return rows as if they had happened at other times."""
        stamps = pd.Series(time_s.astype("datetime64[s]"), index=rows.index)
        return rows.assign(CrimeDate=stamps.dt.strftime("%m/%d/%Y"), CrimeTime=stamps.dt.strftime("%H:%M:%S"))

    def warn(self, later_s: int = 0) -> dict[str, Any]:
        """Issue, so long after the scene's time."""
        live = Live(self.folder / "run", data=self.folder / "prepared", clock=lambda: self.instant(later_s))
        return live.warn([self.folder / "inbox"])

    def instant(self, later_s: int = 0) -> datetime:
        """Return the instant of the issue time, or of later, plus what a job takes to begin."""
        city = load_city(self.folder / "run" / "city.toml").city
        local = datetime.fromtimestamp(self.now_s + later_s + AT_S, UTC)
        return local.replace(tzinfo=ZoneInfo(city.timezone)).astimezone(UTC)


Play = Callable[[Scene], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A planted fault and what must come of it."""

    what: str
    outcome: str
    reason: str
    """A word of the reason; empty where there is none."""
    play: Play
    """Plants it, and returns the outcome's entry."""


def _sound(scene: Scene) -> dict[str, Any]:
    scene.deliver(scene.table[scene.known])
    entry = scene.warn()
    return entry if _channels(scene, "sent") == {"file"} else {**entry, "outcome": "issued, but not sent"}


def _outage(scene: Scene) -> dict[str, Any]:
    return scene.warn(scene.policy.input.newest_row_s + DAY_S)


def _volume(scene: Scene) -> dict[str, Any]:
    times = min(MOST_TIMES, int(np.ceil(2 * scene.policy.input.volume_ratio[1])) + 1)
    rows = [scene.table[scene.known]]
    rows += [scene.moved(scene.table[scene.lately], scene.time_s[scene.lately] - 60 * n) for n in range(1, times)]
    scene.deliver(pd.concat(rows))
    return scene.warn()


def _renamed(to: str | None) -> Play:
    def play(scene: Scene) -> dict[str, Any]:
        most, second = scene.table["Description"][scene.lately].value_counts().index[:2]
        table = scene.table.copy()
        table.loc[scene.lately & (table["Description"] == most), "Description"] = second if to is None else to
        scene.deliver(table[scene.known])
        return scene.warn()

    return play


def _lost(scene: Scene) -> dict[str, Any]:
    share = min(MOST_LOST, 3 * scene.policy.input.lost_rows + 0.01)
    lost = np.random.default_rng(SEED).random(len(scene.table)) < share
    scene.deliver(scene.table[scene.known & ~lost])
    return scene.warn()


def _backward(scene: Scene) -> dict[str, Any]:
    scene.deliver(scene.table[scene.time_s < scene.now_s - 4 * DAY_S])
    return scene.warn()


def _short(scene: Scene) -> dict[str, Any]:
    shutil.rmtree(scene.folder / "run" / VINTAGES)
    (scene.folder / "inbox" / "a.csv").unlink()
    scene.deliver(scene.table[scene.known & (scene.time_s > scene.time_s.min() + 2 * BEGIN_S)])
    return scene.warn()


def _ahead(after_s: int) -> Play:
    def play(scene: Scene) -> dict[str, Any]:
        known = scene.table[scene.known]
        leak = scene.moved(known.tail(1), np.array([scene.now_s + after_s]))
        scene.deliver(pd.concat([known, leak]))
        return scene.warn()

    return play


def _damaged(scene: Scene) -> dict[str, Any]:
    (scene.folder / "inbox" / "b.csv").write_bytes(np.random.default_rng(SEED).bytes(10_000))
    return scene.warn()


def _clock(scene: Scene) -> dict[str, Any]:
    scene.deliver(scene.table[scene.known])
    scene.warn()
    return scene.warn(-max(3 * HOUR_S, 2 * scene.policy.stride_s))


def _channel(scene: Scene) -> dict[str, Any]:
    """Send to an address at which nobody listens; without the library that sends, to a file that cannot be written."""
    delivery = scene.policy.delivery
    if find_spec("apprise"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            delivery = replace(delivery, urls=(f"json://127.0.0.1:{free.getsockname()[1]}",))
    else:
        (scene.folder / "run" / "taken").touch()
        delivery = replace(delivery, file="taken/warnings.jsonl")
    (scene.folder / "run" / POLICY).write_text(_toml(replace(scene.policy, delivery=delivery)))
    scene.deliver(scene.table[scene.known])
    entry, dead = scene.warn(), {"json 1"} if delivery.urls else {"file"}
    is_right = _channels(scene, "failed") == dead and not _channels(scene, "sent") & dead
    return entry if is_right else {**entry, "outcome": "issued, and a dead channel not recorded as failed"}


def _switch(scene: Scene) -> dict[str, Any]:
    (scene.folder / "run" / scene.policy.kill_switch).touch()
    scene.deliver(scene.table[scene.known])
    return scene.warn()


def _card(scene: Scene) -> dict[str, Any]:
    (scene.folder / "run" / CARD).unlink()
    scene.deliver(scene.table[scene.known])
    return scene.warn()


def _channels(scene: Scene, kind: str) -> set[str]:
    """Return the channels by which the last warnings went out, or failed to."""
    entries = read_record(scene.folder / "run")
    last = max(entry["n"] for entry in entries if entry["kind"] == "outcome")
    return {entry["channel"] for entry in entries if entry["kind"] == kind and entry["n"] > last}


CASES: Mapping[str, Case] = {
    "sound": Case(what="nothing is wrong", outcome="issued", reason="", play=_sound),
    "outage": Case(what="nothing is delivered any more", outcome="refused", reason="stale", play=_outage),
    "volume": Case(what="far more rows than usual", outcome="refused", reason="volume", play=_volume),
    "unknown": Case(
        what="a category under a new name", outcome="refused", reason="did not know", play=_renamed("A NEW NAME")
    ),
    "vanished": Case(
        what="a category under another's name", outcome="refused", reason="vocabulary: no", play=_renamed(None)
    ),
    "lost": Case(what="rows are gone", outcome="refused", reason="lacks", play=_lost),
    "backward": Case(what="an older state of the table", outcome="refused", reason="goes back", play=_backward),
    "short": Case(what="a first table that begins late", outcome="refused", reason="begins at", play=_short),
    "future": Case(what="a row of tomorrow", outcome="refused", reason="future", play=_ahead(DAY_S)),
    "window": Case(what="a row of the very window", outcome="refused", reason="future", play=_ahead(HOUR_S)),
    "damaged": Case(what="bytes that are no table", outcome="refused", reason="damaged", play=_damaged),
    "clock": Case(what="the clock is set back", outcome="refused", reason="clock", play=_clock),
    "channel": Case(what="a webhook at which nobody listens", outcome="issued", reason="", play=_channel),
    "card": Case(what="a run without a card", outcome="refused", reason="card", play=_card),
    "switch": Case(what="the kill switch", outcome="stopped", reason="kill switch", play=_switch),
}


def drill(
    run: Path, *, cases: Mapping[str, Case] = CASES, clock: Callable[[], datetime] | None = None
) -> dict[str, Any]:
    """Play every case under the policy of a run, and write into its record how that went.

    Args:
        run: the run's folder.
        cases: by name.
        clock: tells the instant, for the record.

    Returns:
        ``kind``, ``passed`` and ``cases`` (by name: what, expected, outcome, reason, passed).

    Raises:
        UserError: the run is none, or its policy or record cannot be used.
    """
    live = Live(run, clock=clock)
    with live.recording() as (record, policy):
        live.begin(record, policy)
    with tempfile.TemporaryDirectory(prefix="hews-drill-") as scratch:
        base = _prepared(Path(scratch) / "base", policy)
        results = {name: _played(base, Path(scratch) / name, case) for name, case in cases.items()}
    passed = all(result["passed"] for result in results.values())
    with live.recording() as (record, policy):
        body = {"passed": passed, "cases": {name: result["passed"] for name, result in results.items()}}
        record.append("drill", body)
    return {"kind": "drill", "passed": passed, "cases": results}


def _prepared(folder: Path, policy: Policy) -> Scene:
    """Generate the city, train a run on it, and put it into use."""
    from hews_gpu.data.prepare.command import prepare
    from hews_gpu.runs.train import train
    from hews_gpu.synthetic import write_city

    log("drill: generating a city and a run")
    city = load_city(write_city(folder / "city", seed=SEED, years=1))
    with redirect_stderr(StringIO()):
        prepare(city, folder / "prepared")
        train(folder / "prepared", folder / "run", model="level", device="cpu")
    own = replace(
        policy,
        minimum_lead_s=0,
        quiet_s=0,
        input=replace(policy.input, layers_newest_row_s={}),  # the generated city has no layers
        calibrate_on="validation",
        city=CityBudget(watch_per_week=MANY_PER_WEEK, warning_per_week=0.0),
        skill=Skill(required=False),
        delivery=Delivery(stdout=False, cap="", attempts=1, timeout_s=2),
        drill=Drill(),
        sign=Sign(),
    )
    (folder / "run" / POLICY).write_text(_toml(own), encoding="utf-8")
    text = f"Model `{model_fingerprint(folder / 'run')}`, `{own.kill_switch}`"
    (folder / "run" / CARD).write_text(text, encoding="utf-8")
    (folder / "inbox").mkdir()
    table = pd.read_csv(folder / "city" / "incidents.csv.gz", dtype=str, keep_default_na=False)
    stamps = pd.to_datetime(table["CrimeDate"] + " " + table["CrimeTime"], format="%m/%d/%Y %H:%M:%S", errors="coerce")
    time_s = stamps.to_numpy().astype("datetime64[s]").astype(np.int64)
    now_s = (city.splits.span_s("test")[0] + INTO_TEST_S) // policy.stride_s * policy.stride_s
    scene = Scene(folder=folder, policy=own, table=table[stamps.notna()], time_s=time_s[stamps.notna()], now_s=now_s)
    scene.deliver(scene.table[scene.time_s < now_s - DAY_S], "a.csv")
    scene.warn(-DAY_S)
    return scene


def _played(base: Scene, folder: Path, case: Case) -> dict[str, Any]:
    """Play a case in a copy of the scene."""
    shutil.copytree(base.folder, folder, ignore=shutil.ignore_patterns("city", "prepared"))
    (folder / "prepared").symlink_to(base.folder / "prepared")
    with redirect_stderr(StringIO()):
        entry = case.play(replace(base, folder=folder))
    passed = entry["outcome"] == case.outcome and case.reason in entry["reason"]
    log(f"drill: {case.what}: {entry['outcome']}{'' if passed else f', and not {case.outcome} ({case.reason})'}")
    expected = f"{case.outcome}: {case.reason}" if case.reason else case.outcome
    result = {"what": case.what, "expected": expected, "outcome": entry["outcome"], "reason": entry["reason"]}
    return {**result, "passed": passed}


def _toml(policy: Policy) -> str:
    """Return a policy as the text of its file."""
    lines, sections = [], []
    for key, value in asdict(policy).items():
        if isinstance(value, dict):
            sections += [f"[{key}]", *(f"{name} = {json.dumps(one)}" for name, one in value.items())]
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*lines, *sections, ""])
