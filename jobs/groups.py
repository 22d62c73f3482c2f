"""Batch job: `hews groups` with the arguments given, for schedulers that start scripts."""

from hews_gpu.__main__ import main

main("groups")
