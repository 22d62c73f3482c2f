"""Training killed with SIGKILL at random moments, again and again, and what is left of the result: all of it.

A run that nobody disturbs is the yardstick. Others are killed at a moment drawn at random over their whole life (start,
steps, checkpoint writes), go on with ``resume="auto"``, are killed again, and at last let through to their end. Then
their weights and their last checkpoint (optimizer, best weights, random generators, history with the fingerprint of
every epoch's order) must be the yardstick's to the bit; only what the clock says may differ.

Each process of a run is forked from one that has imported everything, so that a kill costs a second and not ten; with
two processes they find each other as under torchrun, and are killed one after the other in random order.

    python -m studies.kills [--quick] [--processes N]
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, parse_flags

KILLS_A_RUN = 10
FULL, QUICK = 50, 3  # with each number of processes
LIMIT_S = 120.0
EARLY = 0.15  # of the kills come at any time of a start, the rest after the first new checkpoint
IMPORTED = (
    *("hews_gpu.runs.train", "hews_gpu.forecasters.cnn", "torch._dynamo", "torch.nn.parallel"),
    *("pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy.special", "scipy.optimize", "tensorboard.compat.proto"),
    *("tensorboard.summary.writer.record_writer", "google.protobuf.json_format"),
)
WRITES_OFTEN = "every_steps = 1"


class Trainer:
    """Starts and kills the processes of one run.

    Args:
        prepared: folder made by ``hews prepare``.
        processes: of each run.
    """

    def __init__(self, prepared: Path, processes: int = 1) -> None:
        self.prepared, self.processes = prepared, processes
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([*IMPORTED])

    def start(self, run: Path, *, kill_at: tuple[str, int] | None = None) -> list[ForkServerProcess]:
        """Start training; `kill_at` names a function (such as os.fsync) and the call of it that ends in SIGKILL."""
        from hews_gpu.training.ranks import free_port

        port, started = free_port(), []
        for rank in range(self.processes):
            environ = _torchrun(rank, self.processes, port) if self.processes > 1 else {}
            process = self.context.Process(target=_train, args=(self.prepared, run, environ, kill_at))
            process.start()
            started.append(process)
        return started

    def finish(self, run: Path) -> None:
        """Train, or go on, to the end."""
        wait(self.start(run), [0] * self.processes)


def wait(processes: Sequence[ForkServerProcess], codes: Sequence[int] | None = None) -> None:
    """Wait for all; each must end with the given code."""
    for process in processes:
        process.join(LIMIT_S)
        assert process.exitcode is not None, "a process hangs"
    if codes is not None:
        assert [process.exitcode for process in processes] == list(codes)


def kill(processes: Sequence[ForkServerProcess], rng: random.Random) -> int:
    """SIGKILL to each in random order; returns how many of them still lived."""
    lived = 0
    for process in rng.sample(processes, len(processes)):
        lived += process.is_alive()
        process.kill()
        time.sleep(rng.choice((0.0, 0.05)))
    wait(processes)
    return lived


def contents(run: Path) -> tuple[dict[str, bytes], Any]:
    """What a run has come to: bytes of its weights and of its last checkpoint's tensors, its position and settings."""
    from hews_gpu.training.checkpoint import read_tensors

    last = max((run / "checkpoints").glob("step-*.safetensors"))
    tensors, notes = read_tensors(last, remedy="")
    for row in notes["position"]["history"]:
        del row["cost"]
    state = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    return state | {"weights": (run / "weights.safetensors").read_bytes()}, notes


@dataclass(kw_only=True)
class Tally:
    """What happened to one number of processes."""

    processes: int
    kills: int = 0
    """Kills that met a living process."""
    while_writing: int = 0
    """Of these, kills that left a half-written file."""
    before_the_first_checkpoint: int = 0
    """Of these, kills that left no checkpoint at all."""
    runs: int = 0
    different: int = 0
    """Runs whose result was not the yardstick's to the bit."""
    seconds: float = 0.0
    steps_at_kill: list[int] = field(default_factory=list)
    """The step of the newest checkpoint after each kill; -1: there was none."""


def disturb(trainer: Trainer, folder: Path, yardstick: Path, life: Life, kills: int, seed: int = 0) -> Tally:
    """Kill runs `kills` times and compare what they come to with an undisturbed one.

    Args:
        trainer: starts them.
        folder: for the runs.
        yardstick: the undisturbed run.
        life: what it took.
        kills: how often.
        seed: of the moments.
    """
    rng, tally = random.Random(seed), Tally(processes=trainer.processes)
    began = time.perf_counter()
    expected = contents(yardstick)
    while tally.kills < kills:
        run = folder / f"run-{tally.runs}"
        for _ in range(min(KILLS_A_RUN, kills - tally.kills)):
            if _last_step(run) < life.steps:
                _kill_once(trainer, run, rng, life, tally)
        trainer.finish(run)
        tally.different += contents(run) != expected
        tally.runs += 1
    tally.seconds = round(time.perf_counter() - began, 1)
    return tally


@dataclass(frozen=True, kw_only=True)
class Life:
    """What an undisturbed run took."""

    start_s: float
    """Until its first checkpoint."""
    training_s: float
    steps: int


def measure(trainer: Trainer, run: Path) -> Life:
    """Train without a kill."""
    began = time.perf_counter()
    processes = trainer.start(run)
    await_step(processes, run, -1)
    started = time.perf_counter()
    wait(processes, [0] * trainer.processes)
    return Life(start_s=started - began, training_s=time.perf_counter() - started, steps=_last_step(run))


def _last_step(run: Path) -> int:
    """Of the newest checkpoint; -1 if there is none."""
    saved = sorted((run / "checkpoints").glob("step-*.safetensors"))
    return int(saved[-1].stem.split("-")[1]) if saved else -1


def await_step(processes: Sequence[ForkServerProcess], run: Path, step: int) -> None:
    """Wait until there is a newer checkpoint than `step`, or nobody is left to write it."""
    while _last_step(run) <= step and any(process.is_alive() for process in processes):
        time.sleep(0.005)


def _kill_once(trainer: Trainer, run: Path, rng: random.Random, life: Life, tally: Tally) -> None:
    """Start or go on with a run and kill it at a random moment of what is left of its life."""
    before = _last_step(run)
    processes = trainer.start(run)
    if rng.random() < EARLY:
        time.sleep(rng.uniform(0.0, life.start_s))
    else:
        await_step(processes, run, before)
        time.sleep(rng.uniform(0.0, life.training_s * (1 - max(0, before) / life.steps) / 3))
    if not kill(processes, rng):
        return
    tally.kills += 1
    last = _last_step(run)
    tally.while_writing += bool(list(run.glob("checkpoints/.*.partial-*")))
    tally.before_the_first_checkpoint += last < 0
    tally.steps_at_kill.append(last)


def _train(prepared: Path, run: Path, environ: Mapping[str, str], kill_at: tuple[str, int] | None) -> None:
    """One process of a run, in a fork."""
    os.environ.update(environ)
    sys.stderr = (run.parent / f"{run.name}.{environ.get('RANK', '0')}.log").open("a", encoding="utf-8")
    import torch

    from hews_gpu.runs.train import train
    from hews_gpu.training.recipe import load_recipe, parse_recipe

    torch.set_num_threads(1)
    if kill_at is not None:
        _kill_self_at(*kill_at)
    text, count = re.subn(r"(?m)^every_s .*$", WRITES_OFTEN, load_recipe().text)
    assert count == 1
    train(prepared, run, model="cnn", recipe=parse_recipe(text, "often"), resume="auto", device="cpu")


def _kill_self_at(name: str, call: int) -> None:
    """Let the given call of a function of a module end in SIGKILL, before it does anything."""
    module, _, attribute = name.rpartition(".")
    owner: Any = Path if module == "Path" else importlib.import_module(module)
    real, left = getattr(owner, attribute), [call]

    def deadly(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), 9)
        return real(*arguments, **named)

    setattr(owner, attribute, deadly)


def _torchrun(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun would tell a process."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    words = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "kills", "OMP_NUM_THREADS": "1"}
    return {**words, **{name: str(number) for name, number in numbers.items()}}


def main() -> None:
    """Kill, compare, print, save."""
    from tests.toy_city import incidents, write_prepared  # which asks for pytest

    numbers = {"type": int, "action": "append", "help": "of each run; 1 and 2 unless given"}
    flags = parse_flags(__doc__ or "", processes=numbers)
    tallies = []
    with tempfile.TemporaryDirectory() as scratch:
        prepared = write_prepared(Path(scratch) / "prepared", incidents())
        for processes in flags.processes or (1, 2):
            folder = Path(scratch) / f"of-{processes}"
            folder.mkdir()
            trainer, yardstick = Trainer(prepared, processes), folder / "yardstick"
            trainer.finish(folder / "warm-up")  # imports everything, and compiles the kernels where they are not yet
            life = measure(trainer, yardstick)
            tallies.append(vars(disturb(trainer, folder, yardstick, life, QUICK if flags.quick else FULL, processes)))
    name = "kills" if flags.processes is None else f"kills_{'_'.join(map(str, flags.processes))}"
    result = {"kills": sum(tally["kills"] for tally in tallies), "by_processes": tallies, "quick": flags.quick}
    finish(name, result, flags, show, packages=("safetensors",))
    sys.exit(any(tally["different"] for tally in tallies))


def show(result: dict[str, Any]) -> None:
    """Print one line for each number of processes."""
    for tally in result["by_processes"]:
        processes, kills, different, runs = (tally[key] for key in ("processes", "kills", "different", "runs"))
        print(f"{processes} process(es): {kills} kills, {different} of {runs} runs differ")


if __name__ == "__main__":
    main()
