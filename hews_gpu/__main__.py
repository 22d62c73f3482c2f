"""`hews` and `python -m hews_gpu`: from the first moment on, being stopped ends with one line and code 2."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from hews_gpu.errors import EXIT_USER_ERROR, STOPPED

__all__ = ["main"]


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(*words: str) -> None:
    """Run the command line, `words` before its arguments."""
    sys.argv[1:1] = words
    try:
        signal.signal(signal.SIGTERM, _stop)  # a scheduler's stop cleans up like Ctrl-C
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # where it has few characters

        from hews_gpu.cli.commands import app

        app(prog_name="hews")
    except KeyboardInterrupt as stop:  # a run that can go on says how
        print(f"hews: {str(stop) or STOPPED}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
