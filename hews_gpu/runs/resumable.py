"""A folder that is filled part by part: begun once, gone on with by the same settings only, replaced as a whole.

The manifest of the folder tells by a digest of settings, data and code which parts belong together.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hews_gpu.data.events import open_prepared
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import Problem
from hews_gpu.files import new_folder, read_manifest
from hews_gpu.runs.folder import CITY
from hews_gpu.work_folder import code_digest

__all__ = ["OfProblem", "begin", "is_begun", "notes_of"]


@dataclass(frozen=True, kw_only=True)
class OfProblem:
    """Settings that decide a result: plain values, and what they are about."""

    problem: Problem


def is_begun(settings: OfProblem, out: Path, *, kind: str, force: bool, goes_on: bool) -> bool:
    """Return whether the folder holds parts of the same kind and settings that are to go on.

    Raises:
        UserError: it holds others, or is to be replaced as well.
    """
    if force and goes_on:
        allowed = f"goes on with a {kind} that --force would remove"
        raise UserError("--resume or --share", allowed=allowed, remedy="Give one of them")
    there = read_manifest(out) if goes_on and out.is_dir() else {}
    if there.get("kind") != kind:
        return False
    if there.get("settings_digest") != notes_of(settings)["settings_digest"]:
        allowed = "was begun with other settings, data, models or code"
        raise UserError("--out", out, allowed=allowed, remedy="Give another folder, or --force to replace it")
    return True


def begin(settings: OfProblem, out: Path, *, kind: str, parts: str, force: bool, goes_on: bool) -> None:
    """Make the folder, with one for its parts, unless it is there already and goes on.

    Raises:
        UserError: it exists and may not be used.
    """
    if is_begun(settings, out, kind=kind, force=force, goes_on=goes_on):
        return
    with new_folder(out, kind=kind, force=force, notes={**notes_of(settings), "state": "running"}) as folder:
        (folder / parts).mkdir()
        if settings.problem.prepared is not None:
            shutil.copyfile(settings.problem.prepared / CITY, folder / CITY)


def notes_of(settings: OfProblem) -> dict[str, Any]:
    """Return what the manifest says of the settings; a digest with data and code tells which parts go together."""
    problem = settings.problem
    content = {**asdict(settings), "problem": {**asdict(problem), "prepared": None}}
    notes: dict[str, Any] = {"settings": json.loads(json.dumps(content))}
    deciding = [content, code_digest()]
    if problem.prepared is not None:
        prepared = open_prepared(problem.prepared)
        notes |= {"prepared": str(problem.prepared.absolute()), "data_fingerprint": prepared.fingerprint}
        deciding += [prepared.fingerprint, prepared.city.deciding]
    digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode())
    return {**notes, "settings_digest": digest.hexdigest()}
