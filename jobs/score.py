"""Batch job: `hews score` with the arguments given, for schedulers that start scripts."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.execv(sys.executable, [sys.executable, "-m", "hews_gpu", "score", *sys.argv[1:]])
