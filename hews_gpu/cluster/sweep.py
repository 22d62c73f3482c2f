"""`hews sweep`: one recipe, several settings, one run for each; and the table of what came of them so far.

A sweep is a TOML file:

    prepared = "runs/city/prepared"     # relative to the file
    recipe = "forecast"                 # what every job starts from: a shipped recipe, or a file
    at_once = 2                         # jobs that `hews submit` lets run at one time

    [grid]                              # every combination is a job; keys are those of a recipe
    seed = [0, 1, 2]
    stages.learning_rate = [0.001, 0.003]

    [[jobs]]                            # or one by one
    stages.learning_rate = 0.1
"""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import read_history, read_manifest
from hews_gpu.own_files import named, parse_toml, read_text
from hews_gpu.progress import log

if TYPE_CHECKING:
    from hews_gpu.training.recipe import Recipe

__all__ = ["Result", "Sweep", "load_sweep", "recipe_of", "result_of", "run_folder", "run_here", "sweep_table"]

KEYS = ("prepared", "recipe", "at_once", "grid", "jobs")
SCORE = "validation_log_loss"
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is to be tried."""

    path: Path
    prepared: Path
    recipe: str
    at_once: int
    jobs: tuple[Settings, ...]
    """Of each job the keys of the recipe that it changes, dotted, with their values."""

    @property
    def columns(self) -> list[str]:
        """Every key that some job changes."""
        return list(dict.fromkeys(key for job in self.jobs for key in job))


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a job so far."""

    epochs: int
    best: float | None  # validation log loss, bits
    is_trained: bool


def load_sweep(path: Path) -> Sweep:
    """Read a sweep.

    Raises:
        UserError: it is missing, not TOML, has a key that is not known, a wrong type or no job.
    """
    content = parse_toml(read_text(path, "docs/clusters.md shows one"), str(path))
    with named(str(path)):
        for key in content:
            if key not in KEYS:
                raise UserError(f"[{key}]", allowed="is not a key of a sweep", remedy=did_you_mean(key, KEYS))
        prepared, recipe = (_text(content, key) for key in ("prepared", "recipe"))
        at_once = content.get("at_once", 4)
        if not isinstance(at_once, int) or isinstance(at_once, bool) or at_once < 1:
            raise UserError("[at_once]", at_once, allowed="must be a whole number, 1 or more")
        jobs = (*_grid(content.get("grid", {})), *_listed(content.get("jobs", [])))
        if not jobs:
            raise UserError("[grid]", allowed="names no job", remedy="Add a section [grid], or sections [[jobs]]")
    beside = path.absolute().parent
    if recipe.endswith(".toml"):
        recipe = str(beside / Path(recipe).expanduser())
    return Sweep(path=path, prepared=beside / prepared, recipe=recipe, at_once=at_once, jobs=jobs)


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key, "forecast" if key == "recipe" else None)
    if not isinstance(value, str):
        raise UserError(f"[{key}]", value, allowed="must be text in quotes: a path or a name")
    return value


def _grid(section: Any) -> list[Settings]:
    """Return every combination; the last key changes fastest."""
    if not isinstance(section, dict):
        raise UserError("[grid]", section, allowed="must be a section of keys and lists")
    values = dict(_flat(section))
    for key, value in values.items():
        if not isinstance(value, list) or not value:
            allowed = "must be a list in square brackets that is not empty"
            raise UserError(f"[grid] {key}", value, allowed=allowed, remedy="One value alone belongs into the recipe")
    if not values:
        return []
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def _listed(sections: Any) -> list[Settings]:
    if not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        raise UserError("[[jobs]]", sections, allowed="must be sections in double brackets")
    return [dict(_flat(section)) for section in sections]


def _flat(section: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested keys as one dotted key each."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def recipe_of(sweep: Sweep, job: int) -> Recipe:
    """Return the recipe of a job, checked.

    Raises:
        UserError: no such job, or a setting that no recipe may have.
    """
    from hews_gpu.training.recipe import load_recipe, parse_recipe

    if not 0 <= job < len(sweep.jobs):
        raise UserError("--job", job, allowed=f"must be 0..{len(sweep.jobs) - 1} in this sweep")
    content = parse_toml(load_recipe(sweep.recipe).text, sweep.recipe)
    for key, value in sweep.jobs[job].items():
        _set(content, key.split("."), value, key)
    return parse_recipe(_toml(content), f"job {job} of {sweep.path.name}")


def _set(content: dict[str, Any], keys: list[str], value: Any, whole: str) -> None:
    """Set a key; below a list of tables in each of them."""
    for i, key in enumerate(keys[:-1]):
        inner = content.setdefault(key, {})
        if isinstance(inner, list):
            for table in inner:
                _set(table, keys[i + 1 :], value, whole)
            return
        if not isinstance(inner, dict):
            raise UserError(f"sweep: {whole}", value, allowed=f"cannot be set: '{key}' is no section of a recipe")
        content = inner
    content[keys[-1]] = value


def _toml(content: Mapping[str, Any]) -> str:
    """Write a recipe as TOML: keys and values first, then sections, then lists of sections."""
    lines = [f"{key} = {_value(value)}" for key, value in content.items() if not _is_section(value)]
    for key, value in content.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", *(f"{name} = {_value(item)}" for name, item in value.items())]
        elif _is_section(value):
            for table in value:
                lines += [f"[[{key}]]", *(f"{name} = {_value(item)}" for name, item in table.items())]
    return "\n".join(lines) + "\n"


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _value(value: Any) -> str:
    """Write a value as TOML does; JSON does the same but for numbers that are none."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def run_folder(out: Path, job: int) -> Path:
    """Return the run of a job."""
    return out / f"{job:03d}"


def result_of(run: Path) -> Result:
    """Read what a run has come to so far; it may be under way."""
    rows = read_history(run)
    scores = [row[SCORE] for row in rows if SCORE in row]
    trained = read_manifest(run).get("state") == "trained"
    epochs = max((row["epoch"] for row in rows), default=0)
    return Result(epochs=epochs, best=min(scores, default=None), is_trained=trained)


def sweep_table(sweep: Sweep, out: Path, states: Mapping[int, tuple[str, str]]) -> list[list[str]]:
    """Return all jobs as rows of text, heading first: the best so far on top, those without a result last.

    `states` says of each job its state, and why it is so.
    """
    results = {job: result_of(run_folder(out, job)) for job in range(len(sweep.jobs))}
    order = sorted(results, key=lambda job: (results[job].best is None, results[job].best or 0.0, job))
    heading = ["job", *sweep.columns, "state", "epochs", "validation, bits", ""]
    rows = []
    for job in order:
        result = results[job]
        state, why = states.get(job, ("done" if result.is_trained else "not run", ""))
        settings = [str(sweep.jobs[job].get(key, "")) for key in sweep.columns]
        best = "" if result.best is None else f"{result.best:.4f}"
        rows.append([str(job), *settings, state, str(result.epochs) if result.epochs else "", best, why])
    return [heading, *rows]


def run_here(sweep: Sweep, out: Path, *, device: str) -> dict[int, tuple[str, str]]:
    """Run every job on this machine, one after the other, each in its own process, so that a failure ends only one.

    A job that is trained already ends at once.

    Returns:
        Of each job its state (done or failed), and why.

    Raises:
        UserError: a job has a setting that no recipe may have; none has run then.
    """
    for job in range(len(sweep.jobs)):
        recipe_of(sweep, job)
    states: dict[int, tuple[str, str]] = {}
    for job, settings in enumerate(sweep.jobs):
        log(f"--- job {job} of {len(sweep.jobs)}: {', '.join(f'{key} = {value}' for key, value in settings.items())}")
        arguments = ["sweep", str(sweep.path), "--out", str(out), "--job", str(job), "--device", device]
        command = [sys.executable, "-m", "hews_gpu", *arguments]
        last = ""
        with subprocess.Popen(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                sys.stderr.write(line)
                last = line.strip() or last
        code = process.returncode
        states[job] = ("done", "") if code == 0 else ("failed", last.removeprefix("hews: ") or f"code {code}")
    return states
