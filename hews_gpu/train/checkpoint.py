"""Tensors on disk, whole or not at all: what checkpoints are made of, and the weights that a finished run leaves.

The files are safetensors, which hold tensors and text and cannot run code. What is not a tensor is one JSON text under
one key of the file's metadata: with several keys their order, and so the file's bytes, would vary from run to run.

That text begins with the SHA-256 of the whole file, computed with zeros in its own place: a file that was cut short or
of which a single bit has changed is known for it before anything in it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file

__all__ = ["Damaged", "Tensors", "read_tensors", "require_same", "write_tensors"]

FORMAT = 2  # raised when a file's content changes its meaning
KEY = "hews"  # the one metadata key
BLANK = b"0" * 64  # stands where the checksum goes while it is computed
SHOWN = 3  # differences named in a message; more would not fit its one line

Tensors = dict[str, Tensor]


class Damaged(UserError):
    """A file that is there and does not hold what was once written to it."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> str:
    """Write tensors and `notes` (anything JSON can hold) to one file, flushed to disk before it gets its name.

    Returns:
        The file's checksum.

    Raises:
        UserError: the disk is full or the file cannot be written.
    """
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"sha256": BLANK.decode(), "format": FORMAT, **notes}, allow_nan=False)
    blank = save(content, metadata={KEY: text})
    checksum = hashlib.sha256(blank).hexdigest()
    with atomic_file(path) as partial:
        partial.write_bytes(blank.replace(BLANK, checksum.encode(), 1))  # the metadata come first in the file
    return checksum


def read_tensors(path: Path, *, remedy: str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        Damaged: cut short, changed since, or never written by us; `remedy` says what to do.
        UserError: missing, or of another version.
    """
    if not path.is_file():
        raise UserError(str(path), allowed="does not exist", remedy=remedy)
    try:
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        notes = json.loads(json.loads(raw[8 : 8 + length]).get("__metadata__", {}).get(KEY, "{}"))
        checksum, found = notes.pop("sha256", None), notes.get("format")
    except (OSError, ValueError, AttributeError, TypeError) as error:  # or JSON, but not as we write it
        raise Damaged(str(path), allowed=f"cannot be read ({error})", remedy=remedy) from None
    if checksum is None and found != FORMAT:
        raise Damaged(str(path), allowed=f"is not of format {FORMAT} of this program", remedy=remedy)
    blank = raw.replace(str(checksum).encode(), BLANK, 1)
    if hashlib.sha256(blank).hexdigest() != checksum:
        raise Damaged(str(path), allowed="cannot be read (its checksum is wrong: it is damaged)", remedy=remedy)
    if found != FORMAT:
        raise UserError(str(path), allowed=f"is not of format {FORMAT} of this program", remedy=remedy)
    try:
        return load(raw), notes
    except SafetensorError as error:
        raise Damaged(str(path), allowed=f"cannot be read ({error})", remedy=remedy) from None


def require_same(where: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data or settings than those a file was made with.

    Raises:
        UserError: they differ; the first differences are named.
    """
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    if not keys:
        return
    shown = [f"{key} was {_short(then.get(key))}, is {_short(now.get(key))}" for key in keys[:SHOWN]]
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    remedy = "Undo the change, or train anew with --force"
    raise UserError(where, allowed=f"was made with other data or settings: {'; '.join(shown)}{more}", remedy=remedy)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
