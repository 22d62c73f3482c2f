"""One of the processes that `hews train --devices N` starts: the same training, without a word.

It ends when the process that started it does, however that ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

__all__ = ["main"]

LOOK_S = 0.5


def main() -> None:
    """Train with the arguments given as JSON; what is wrong is for the first process to say."""
    parent = os.getppid()
    threading.Thread(target=_leave_with, args=(parent,), name="parent", daemon=True).start()
    from hews_gpu.errors import UserError
    from hews_gpu.runs.train import train_as_told

    try:
        train_as_told(json.loads(sys.argv[1]))
    except (UserError, KeyboardInterrupt):
        sys.exit(2)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    main()
