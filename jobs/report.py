"""Batch job: `hews report` with the arguments given, for schedulers that start scripts."""

from hews_gpu.cli.commands import main

main("report")
