"""Batch job: `hews sweep` with the arguments given, for schedulers that start scripts."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.execv(sys.executable, [sys.executable, "-m", "hews_gpu", "sweep", *sys.argv[1:]])
