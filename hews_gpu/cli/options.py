"""Options that commands of several modules share, and `--cluster`, which Typer cannot describe by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from hews_gpu.workers import Opener

__all__ = ["Device", "Force", "GoOn", "Json", "OfCluster", "OnCluster", "Prepared", "workers_of"]

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists (only one made by hews).")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
GoOn = Annotated[bool, typer.Option("--resume", help="Use what a run that was cut off has left.")]
Prepared = Annotated[Path, typer.Argument(metavar="DIR", help="A folder made by 'hews prepare'.")]
OfCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|cuda|scheduler-file PATH|ADDRESS",
        help="Let Dask workers do it: started here, one per core (local:N: N) or GPU, or running already.",
    ),
]


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
    """Return what opens the workers that `--cluster` names: threads of this process unless it is given."""
    if cluster is None:
        from hews_gpu.workers import in_this_process

        return in_this_process
    from hews_gpu.cluster.dask_workers import parse_cluster

    return parse_cluster(cluster)
