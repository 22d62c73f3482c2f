"""Files that belong together: all of them are written whole before the first gets its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hews_gpu.errors import UserError
from hews_gpu.files import disk_full_is_a_user_error

__all__ = ["require_free", "write_together"]


def require_free(out: Path, names: Sequence[str], *, force: bool) -> None:
    """Refuse, before anything takes time, a file, or a folder with results unless `force` is given.

    Raises:
        UserError: `out` may not be written.
    """
    if out.exists() and not out.is_dir():
        raise UserError("--out", out, allowed="is a file", remedy="Give a folder")
    found = [name for name in names if (out / name).exists()]
    if found and not force:
        remedy = "Give another folder, or --force to replace the results in it"
        raise UserError("--out", out, allowed=f"holds {' and '.join(found)} already", remedy=remedy)


def write_together(out: Path, writers: Mapping[str, Callable[[Path], None]]) -> None:
    """Write several files of one folder, and only then rename them one right after the other.

    Args:
        out: made if need be; what had to be made for it vanishes again if nothing came of it.
        writers: by name, what writes a file whole to the path it is given.

    Raises:
        UserError: the disk is full, or `out` cannot be written.
    """
    with disk_full_is_a_user_error(out), _made(out), TemporaryDirectory(dir=out, prefix=".partial-") as folder:
        scratch = Path(folder)
        for name, write in writers.items():
            write(scratch / name)
        for name in writers:
            (scratch / name).replace(out / name)


@contextmanager
def _made(out: Path) -> Iterator[None]:
    """See that a folder is there; what had to be made for it vanishes again if the block leaves it empty."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it holds something
                folder.rmdir()
