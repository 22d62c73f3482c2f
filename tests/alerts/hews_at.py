"""The command `hews` by another clock: ``python hews_at.py INSTANT ARGUMENTS``; it may be held until it is told to go.

With HEWS_TEST_HOLD it loads what it needs, says so on standard error and waits for a line on standard input.
"""

import os
import sys
from datetime import datetime

from hews_gpu.alerts import live
from hews_gpu.cli.commands import app


def main():
    instant = datetime.fromisoformat(sys.argv[1])
    live.utc_now = lambda: instant
    if "HEWS_TEST_HOLD" in os.environ:
        import hews_gpu.data.prepare.command
        import hews_gpu.evaluation.judge  # noqa: F401

        print("ready", file=sys.stderr, flush=True)
        sys.stdin.readline()
    app(sys.argv[2:])


if __name__ == "__main__":
    main()
