"""Options of the command line that Typer cannot describe by itself, and those that several commands share."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from hews_gpu.workers import Opener

__all__ = ["GoOn", "OfCluster", "OnCluster", "Resume", "Train", "workers_of"]

Resume = Annotated[
    Literal["no", "auto", "always"],
    typer.Option(
        "--resume",
        metavar="[auto]",
        show_default=False,
        help="Go on from the last checkpoint in --out; auto: if there is one.",
    ),
]
OfCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|cuda|scheduler-file PATH|ADDRESS",
        help="Let Dask workers do it: started here, one per core (local:N: N) or GPU, or running already.",
    ),
]
GoOn = Annotated[bool, typer.Option("--resume", help="Use what a run that was cut off has left.")]


class Train(TyperCommand):
    """`hews train`, whose `--resume` stands alone or before `auto`; Typer knows no option with a value left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a `--resume` that stands alone its value."""
        filled: list[str] = []
        for word, after in pairwise([*args, ""]):
            filled += ["--resume", "always"] if word == "--resume" and after != "auto" else [word]
        return super().parse_args(ctx, filled)


class OnCluster(TyperCommand):
    """A command with `--cluster`, of which one value has two words; Typer knows no option with one or two."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join `scheduler-file` and the path after it."""
        joined: list[str] = []
        for word in args:
            if joined[-2:] == ["--cluster", "scheduler-file"] or joined[-1:] == ["--cluster=scheduler-file"]:
                joined[-1] += f" {word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


def workers_of(cluster: str | None) -> Opener:
    """Who does the partitions of a job."""
    if cluster is None:
        from hews_gpu.workers import in_this_process

        return in_this_process
    from hews_gpu.cluster.dask_workers import parse_cluster

    return parse_cluster(cluster)
