"""`python -m hews_gpu` is the command `hews`."""

from __future__ import annotations

from hews_gpu.cli.commands import main

if __name__ == "__main__":
    main()
