"""A file of tensors and text that is whole or refused; read as NumPy arrays or as torch's tensors, and needs neither.

It is safetensors, which cannot run code. What is not a tensor is one JSON text under one metadata key: with several
keys their order, and so the file's bytes, would vary from run to run. That text begins with the SHA-256 of the whole
file, computed with zeros in its own place, so that a file in which one bit has changed is refused before anything in it
is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file
from hews_gpu.own_files import check, parse_json

__all__ = ["DamagedFile", "read_tensor_file", "write_tensor_file"]

FORMAT = 2  # raised when a file's content changes its meaning
KEY = "hews"  # the one metadata key
BLANK = b"0" * 64  # stands where the checksum goes while it is computed

T = TypeVar("T")


class DamagedFile(UserError):
    """A file that does not hold what was once written to it."""


def write_tensor_file(path: Path, save: Callable[[dict[str, str]], bytes], notes: Mapping[str, Any]) -> None:
    """Write one file, flushed to disk before it gets its name.

    Args:
        path: the file.
        save: return its bytes, given the metadata; of `safetensors.numpy` or `safetensors.torch`.
        notes: anything that JSON can hold.

    Raises:
        UserError: the disk is full or the file cannot be written.
    """
    text = json.dumps({"sha256": BLANK.decode(), "format": FORMAT, **notes}, allow_nan=False)
    blank = save({KEY: text})
    checksum = hashlib.sha256(blank).hexdigest()
    with atomic_file(path) as partial:
        partial.write_bytes(blank.replace(BLANK, checksum.encode(), 1))  # the metadata come first in the file


def read_tensor_file(
    path: Path, load: Callable[[bytes], dict[str, T]], schema: Any = dict, *, remedy: str
) -> tuple[dict[str, T], dict[str, Any]]:
    """Read what `write_tensor_file` wrote, with notes that are as `schema` says.

    Raises:
        DamagedFile: cut short, changed since, or never written by us; `remedy` says what to do.
        UserError: missing, or of another version.
    """
    if not path.is_file():
        raise UserError(str(path), allowed="does not exist", remedy=remedy)
    try:
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = parse_json(raw[8 : 8 + length], str(path), {"__metadata__": {KEY: str}})
        notes = parse_json(header["__metadata__"][KEY], str(path), {"sha256": str, "format": int})
        checksum, version = notes.pop("sha256"), notes["format"]
        if hashlib.sha256(raw.replace(checksum.encode(), BLANK, 1)).hexdigest() != checksum:
            raise ValueError("its checksum is wrong: it is damaged")
        tensors = load(raw) if version == FORMAT else {}
        check(notes, schema if version == FORMAT else dict, str(path))
    except (OSError, ValueError, SafetensorError) as error:
        allowed = f"cannot be read as format {FORMAT} of this program ({error})"
        raise DamagedFile(str(path), allowed=allowed, remedy=remedy) from None
    if version != FORMAT:
        raise UserError(str(path), allowed=f"is not of format {FORMAT} of this program", remedy=remedy)
    return tensors, notes
