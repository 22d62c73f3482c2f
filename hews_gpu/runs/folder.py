"""The run folder: what is in it while a run is under way, when it is stopped, and when it is done.

Unlike other outputs it is alive while it is written, so that a stopped run can go on: it appears with the manifest,
the city and a first checkpoint, which is replaced after each epoch; `weights.safetensors` and `history.csv` come at the
end. Until the first checkpoint is whole, an older run that it replaces stays where it was.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
from safetensors.numpy import load, save

from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError
from hews_gpu.files import (
    HISTORY,
    MANIFEST,
    atomic_file,
    disk_full_is_a_user_error,
    manifest,
    new_folder,
    read_manifest,
    require_free,
    write_json,
)
from hews_gpu.forecasters.base import Forecaster
from hews_gpu.forecasters.stored import pack, unpack
from hews_gpu.own_files import read_text
from hews_gpu.progress import log
from hews_gpu.training.objective import EpochRow
from hews_gpu.training.recipe import LEAKY, Recipe, parse_recipe
from hews_gpu.training.tensor_file import read_tensor_file, write_tensor_file
from hews_gpu.typed_toml import build
from hews_gpu.units import DAY_S

if TYPE_CHECKING:  # most models do without it
    from torch import nn

__all__ = [
    "CARD",
    "CITY",
    "KIND",
    "METRICS",
    "POLICY",
    "UNFINISHED",
    "WEIGHTS",
    "begin",
    "finish",
    "going_on",
    "living",
    "load_fitted",
    "load_network",
    "model_fingerprint",
    "require_run",
    "run_recipe",
    "save_forecaster",
    "short_calibration",
    "write_history",
]

KIND = "run"
UNFINISHED = "Train to the end with 'hews train DIR --out RUN --resume'"
WEIGHTS, CITY, RECIPE, POLICY = "weights.safetensors", "city.toml", "recipe.toml", "warnings.toml"
METRICS, CARD, RECORD = "metrics.json", "card.md", "record"
"""Of an evaluation, of `hews card`, and of live warnings."""


def going_on(run: Path, left: str, is_there: bool, *, force: bool, resume: bool | str) -> bool:
    """See that `run` may be written, before anything takes time.

    Args:
        run: the folder.
        left: what one goes on from, in words.
        is_there: whether the run has it.
        force: replace an older run.
        resume: go on; ``auto``: if that is there.

    Returns:
        Whether to go on.

    Raises:
        UserError: it exists and neither `force` nor `resume` was given, there is nothing to resume, or a record of
            warnings would be lost.
    """
    if force and resume:
        raise UserError("--resume", allowed="goes on with a run that --force would remove", remedy="Give one of them")
    if resume and (is_there or resume != "auto"):
        if not is_there:
            raise UserError("--resume", run, allowed=f"holds no {left}", remedy="Start the run without --resume")
        return True
    require_free(run, kind=KIND, force=force)
    if (run / RECORD).exists():
        remedy = "Train into another folder, or move it away"
        raise UserError("--force", run / RECORD, allowed="is the record of what the run warned of", remedy=remedy)
    return False


def begin(
    run: Path, prepared: Prepared, recipe: Recipe, save: Callable[[Path], None], *, force: bool, state: str = "training"
) -> None:
    """Make the folder of a new run, with what `save` writes into it first; an older run goes only then."""
    with new_folder(run, kind=KIND, force=force, notes=_notes(run, prepared, recipe, state)) as folder:
        _copy_texts(prepared, recipe, folder)
        save(folder)


@contextmanager
def living(run: Path, prepared: Prepared, recipe: Recipe) -> Iterator[None]:
    """Keep a run that has begun while the block trains; its manifest says whether the block came to its end."""
    with disk_full_is_a_user_error(run):
        write_json(run / MANIFEST, manifest(KIND, _notes(run, prepared, recipe, "training")))
        _copy_texts(prepared, recipe, run)
        yield
        write_json(run / MANIFEST, manifest(KIND, _notes(run, prepared, recipe, "trained")))


def _copy_texts(prepared: Prepared, recipe: Recipe, folder: Path) -> None:
    """Write the city file and the recipe as they are now, and a policy of warnings where a forecast has none yet."""
    with atomic_file(folder / CITY) as partial:
        shutil.copyfile(prepared.folder / CITY, partial)
    with atomic_file(folder / RECIPE) as partial:
        partial.write_text(recipe.text, encoding="utf-8")
    if not recipe.is_leaky and not (folder / POLICY).exists():
        template = resources.files("hews_gpu") / "alerts" / POLICY
        with atomic_file(folder / POLICY) as partial:
            partial.write_bytes(template.read_bytes())
        if short := short_calibration(*prepared.city.splits.span_s("validation")):
            log(short)


def short_calibration(begin_s: int, end_s: int) -> str:
    """Return what to know of thresholds of warnings that are set on less than a year; empty of a year or more."""
    if end_s - begin_s >= 365 * DAY_S:
        return ""
    first, last = (np.datetime64(moment, "s").astype("datetime64[D]") for moment in (begin_s, end_s - 1))
    return (
        f"thresholds of warnings are set on {first} to {last}, less than a year: "
        f"other seasons may have fewer warnings, or more than budgets let pass ([calibrate_on] of {POLICY})"
    )


def save_forecaster(path: Path, model: str, forecaster: Forecaster, notes: Mapping[str, Any] | None = None) -> None:
    """Write what a forecaster and those that it asks have learned, as arrays and JSON, with `notes` beside it."""
    arrays: dict[str, Any] = {}
    fitted = {name: pack(one.fitted, arrays, name) for name, one in _parts("forecaster", forecaster)}
    write_tensor_file(path, partial(save, arrays), {"model": model, "fitted": fitted, **(notes or {})})


def load_fitted(path: Path, forecaster: Forecaster, *, remedy: str) -> None:
    """Put back what `save_forecaster` wrote.

    Raises:
        UserError: the file is missing, damaged or of another version.
    """
    arrays, notes = read_tensor_file(path, load, remedy=remedy)
    try:
        for name, one in _parts("forecaster", forecaster):
            one.fitted = unpack(get_type_hints(type(one))["fitted"], notes["fitted"][name], arrays)
    except (KeyError, TypeError, ValueError) as error:
        allowed = f"does not hold what this version stores ({error!r})"
        raise UserError(str(path), allowed=allowed, remedy="Train anew with --force") from None


def _parts(name: str, forecaster: Forecaster) -> Iterator[tuple[str, Forecaster]]:
    """Yield a forecaster, then what it asks; which these are may depend on what was put into it meanwhile."""
    yield name, forecaster
    for part, one in getattr(forecaster, "parts", {}).items():
        yield from _parts(f"{name}.{part}", one)


def finish(run: Path, save: Callable[[Path], object], history: Sequence[EpochRow]) -> None:
    """Write what a run leaves: the weights, with what it takes to use them, and the history."""
    save(run / WEIGHTS)
    write_history(run, history)


def write_history(run: Path, history: Sequence[EpochRow]) -> None:
    """Write one line per epoch so far."""
    rows = [row.flat() for row in history]
    columns = list(dict.fromkeys(key for row in reversed(rows) for key in row))  # the last has them all, in order
    with atomic_file(run / HISTORY) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def run_recipe(run: Path) -> Recipe:
    """Return the recipe that a run was trained by.

    Raises:
        UserError: there is no run, or no recipe in it.
    """
    require_run(run)
    path = run / RECIPE
    text = read_text(path, "Train anew with --force")
    return parse_recipe(text, str(read_manifest(run).get("recipe") or path.stem), str(path))


def require_run(run: Path) -> None:
    """Refuse what is not a run folder.

    Raises:
        UserError: it is not.
    """
    if not run.is_dir():
        raise UserError("run folder", run, allowed="does not exist", remedy="Make it with 'hews train DIR --out RUN'")
    if read_manifest(run).get("kind") != KIND:
        remedy = "Give the --out folder of 'hews train DIR --out RUN'"
        raise UserError("run folder", run, allowed="was not made by 'hews train'", remedy=remedy)


def model_fingerprint(run: Path) -> str:
    """Return the SHA-256, as hex digits, of what a run has learned.

    Raises:
        UserError: it is not trained to its end.
    """
    try:
        return hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise UserError(str(run / WEIGHTS), allowed="does not exist", remedy=UNFINISHED) from None


def load_network(run: Path) -> nn.Module:
    """Return the trained network of a run of the reference protocol, on the CPU.

    Raises:
        UserError: the run has not been trained to its end, or its weights are damaged.
    """
    from hews_gpu.reference.networks import CONVS, ReferenceCnn, ReferenceSettings
    from hews_gpu.training.checkpoint import read_tensors

    require_run(run)
    tensors, notes = read_tensors(run / WEIGHTS, {"architecture": str, "settings": dict}, remedy=UNFINISHED)
    if notes.get("architecture") not in CONVS:
        allowed = f"is of architecture {notes.get('architecture')}, must be one of {', '.join(CONVS)}"
        raise UserError(str(run / WEIGHTS), allowed=allowed, remedy="Train anew with --force")
    network = ReferenceCnn(build(ReferenceSettings, notes["settings"], section="settings"))
    network.load_state_dict(tensors)
    return network


def _notes(run: Path, prepared: Prepared, recipe: Recipe, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "recipe": recipe.name,
        "model": recipe.model,
        **({"warning": LEAKY} if recipe.is_leaky else {}),
        "prepared_from_run": os.path.relpath(prepared.folder, run.absolute()),
        **prepared.origin,
    }
