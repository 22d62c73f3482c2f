"""What every process of a group does before it meets the others: agree on what is refused, and take its device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from hews_gpu.environment.device import Choice
from hews_gpu.errors import UserError
from hews_gpu.progress import log
from hews_gpu.train.team import Place, Team

__all__ = ["first_speaks", "is_loss", "joined", "own_device", "require_gpus"]


@contextmanager
def first_speaks(place: Place) -> Iterator[None]:
    """What is refused before the processes have met is refused by each; one of them says so."""
    try:
        yield
    except UserError:
        if place.is_first:
            raise
        raise SystemExit(2) from None


def require_gpus(place: Place, choice: Choice) -> None:
    """See that each process on this machine has a GPU of its own, where one is to be used.

    Raises:
        UserError: there are too few.
    """
    found = torch.cuda.device_count() if choice.device == "cuda" else place.local_size
    if place.local_size > found:
        remedy = "Start fewer, or let each process see all GPUs of its machine"
        raise UserError("--devices", place.local_size, allowed=f"must be at most the {found} GPUs here", remedy=remedy)


def own_device(place: Place, choice: Choice) -> str:
    """What this process trains on; a GPU becomes torch's current one, in whose memory maps are drawn."""
    if choice.device == "cpu":
        return "cpu"
    index = place.local_rank if place.size > 1 else torch.cuda.current_device()
    torch.cuda.set_device(index)
    torch.zeros(1, device=f"cuda:{index}")  # numba draws on the GPU whose context is the thread's
    return f"cuda:{index}"


@contextmanager
def joined(place: Place, choice: Choice, precision: str) -> Iterator[Team]:
    """The processes together; torch's random generators are as they were afterwards.

    Raises:
        SystemExit: another process was lost, which is said in one line; the cause comes with it.
    """
    team = Team(place, choice.device, precision)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if choice.device == "cuda" else ()):
        team.join()
        try:
            yield team
        except RuntimeError as error:
            if not is_loss(error):
                raise
            who = f"process {place.rank + 1} of {place.size}"
            log(f"hews: {who} has lost another; --resume goes on from the last checkpoint")
            raise SystemExit(1) from error
        finally:
            team.leave()


def is_loss(error: RuntimeError) -> bool:
    """Whether this is what gloo or NCCL say when the process at the other end is gone."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)
