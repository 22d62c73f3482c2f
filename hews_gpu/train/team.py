"""The processes that train one model together, and how they stay of one mind.

They are started by torchrun, by srun, or by `hews train --devices N` itself, whose other processes run
`hews_gpu.runs.worker` with the arguments of the first. Lightning Fabric joins them into a group and gives each its
device; decisions go through a second group on the CPU, which never waits for a GPU.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.single_device import SingleDeviceStrategy

from hews_gpu.errors import UserError

__all__ = ["PORT", "RANK", "SIZE", "Place", "Team", "find_place", "free_port"]

RANK, SIZE, PORT = "HEWS_RANK", "HEWS_PROCESSES", "HEWS_PORT"
"""Environment of a process that another one of ours has started."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which of how many processes this one is, and who started them."""

    rank: int = 0
    size: int = 1
    local_size: int = 1
    """Processes on this machine."""
    started_by: str = "hews"
    """torchrun, srun or hews."""
    port: int = 0
    """Where the first process is met; only where hews started them."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def local_rank(self) -> int:
        """Which of the processes on this machine it is; its GPU has the same number."""
        return _environment(self).local_rank()


def find_place(devices: int | None, environ: Mapping[str, str] = os.environ) -> Place:
    """Read from the environment who started this process; if nobody, it is the first of `devices`.

    Raises:
        UserError: `devices` is not what torchrun or srun started here.
    """
    if RANK in environ:
        size = int(environ[SIZE])
        return Place(rank=int(environ[RANK]), size=size, local_size=size, port=int(environ[PORT]))
    if "TORCHELASTIC_RUN_ID" in environ:
        rank, size, local_size = (int(environ[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        found = Place(rank=rank, size=size, local_size=local_size, started_by="torchrun")
    elif int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun, not in the batch script around it
        size = int(environ["SLURM_STEP_NUM_TASKS"])
        local_size = size // int(environ.get("SLURM_STEP_NUM_NODES", "1"))
        found = Place(rank=int(environ["SLURM_PROCID"]), size=size, local_size=local_size, started_by="srun")
    else:
        return Place(size=devices or 1, local_size=devices or 1)
    if devices not in (None, found.local_size):
        allowed = f"must be the {found.local_size} processes that {found.started_by} started on this machine"
        raise UserError("--devices", devices, allowed=allowed, remedy="Leave it out")
    return found


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Team:
    """The group. Everything here but `rank`, `size` and `is_first` is a collective: all must call it, in one order.

    Args:
        place: of this process.
        accelerator: cpu or cuda.
        precision: Fabric's word for it.
    """

    def __init__(self, place: Place, accelerator: str, precision: str) -> None:
        self.rank, self.size, self.is_first = place.rank, place.size, place.is_first
        self._group: Any = None
        for name in ("fabric.utilities.rank_zero", "pytorch.utilities.rank_zero", "fabric.utilities.distributed"):
            logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)  # they announce what is no news
        if place.size == 1:
            device = torch.device("cuda", torch.cuda.current_device()) if accelerator == "cuda" else torch.device("cpu")
            plugins: ClusterEnvironment | None
            strategy: Any = SingleDeviceStrategy(device=device)
            nodes, plugins = 1, _Started(place)  # or Fabric would look for SLURM's, and object to a batch script's
        else:
            backend = "nccl" if accelerator == "cuda" else "gloo"
            strategy = DDPStrategy(cluster_environment=_environment(place), process_group_backend=backend)
            nodes, plugins = place.size // place.local_size, None
        word: Any = precision
        self.fabric = Fabric(
            accelerator=accelerator,
            devices=place.local_size,
            num_nodes=nodes,
            strategy=strategy,
            precision=word,
            plugins=plugins,
        )

    def join(self) -> None:
        """Meet the others."""
        self.fabric.launch()
        if self.size > 1:
            self._group = dist.new_group(backend="gloo")

    def leave(self) -> None:
        """Part."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def most(self, *flags: int) -> tuple[int, ...]:
        """The largest of what the processes say, flag by flag."""
        if self.size == 1:
            return flags
        said = torch.tensor(flags)
        dist.all_reduce(said, op=dist.ReduceOp.MAX, group=self._group)
        return tuple(said.tolist())

    def gather(self, value: T) -> list[T]:
        """What each process says, in order."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self._group)
        return found

    def from_first(self, value: T) -> T:
        """What the first process says."""
        if self.size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0, group=self._group)
        return said[0]

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """A block without collectives that fails for all if it fails for one: nobody is left waiting.

        Raises:
            UserError: what was refused, on the first process; the others end without a word (SystemExit).
        """
        said: tuple[str, Any] | None = None
        wrong: BaseException | None = None
        try:
            yield
        except UserError as error:
            said, wrong = (str(error), 2), error
        except (KeyboardInterrupt, SystemExit) as error:
            said, wrong = ("", getattr(error, "code", 2)), error
        except Exception as error:  # noqa: BLE001 - told to all, then raised as it is
            said, wrong = (f"{type(error).__name__}: {error}", 1), error
        every = self.gather(said)
        if wrong is not None and (self.is_first or not isinstance(wrong, UserError)):
            raise wrong
        for rank, told in enumerate(every):
            if told and told[0] and self.is_first:
                raise UserError(f"process {rank + 1} of {self.size}", allowed=told[0].rstrip("."))
            if told:
                raise SystemExit(told[1])


class _Started(ClusterEnvironment):
    """Processes that hews has started, all on this machine."""

    def __init__(self, place: Place) -> None:
        self.place = place

    creates_processes_externally = True
    main_address = "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self.place.port

    @staticmethod
    def detect() -> bool:
        return RANK in os.environ

    def world_size(self) -> int:
        return self.place.size

    def set_world_size(self, size: int) -> None:
        """Given by the place."""

    def global_rank(self) -> int:
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """Given by the place."""

    def local_rank(self) -> int:
        return self.place.rank

    def node_rank(self) -> int:
        return 0


def _environment(place: Place) -> ClusterEnvironment:
    if place.started_by == "torchrun":
        return TorchElasticEnvironment()
    if place.started_by == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return _Started(place)
