"""The leak museum: one model, trained anew each time one more leak of the reference protocol is taken away.

Every exhibit is trained by the loop that `hews train` uses, with the same recipe, on maps of the same size and for as
many samples; only the leaks differ. A run stays in memory: no folder, no checkpoints.

Shapes: S windows held out.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64
from hews_gpu.data.events import Prepared
from hews_gpu.environment.device import Choice
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.progress import step
from hews_gpu.reference.leaks import LEAKS, Leak
from hews_gpu.reference.protocol import ReferenceObjective
from hews_gpu.train.distributed import ProcessInfo, claim_device, process_group
from hews_gpu.train.loop import TrainingLoop
from hews_gpu.train.objective import Stage
from hews_gpu.train.recipe import Recipe

__all__ = ["ROOMS", "Exhibit", "exhibits", "stages_for"]


def _rooms() -> dict[str, frozenset[Leak]]:
    found: dict[str, frozenset[Leak]] = {"reference": frozenset()}
    for leak in LEAKS:
        found[leak] = frozenset({*list(found.values())[-1], leak})
    return found


ROOMS: Mapping[str, frozenset[Leak]] = _rooms()
"""By the leak that is newly taken away (``reference``: none), all those that are gone by then."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One training run and what it says of the windows that were held out."""

    room: str
    seed: int
    y: NDArray[np.bool_]  # [S] whether each window holds a target
    p: Float64  # [S] what the model says
    p_climatology: Float64  # [S] what hour of week and month say, fitted on the windows that the model learned from
    start_s: NDArray[np.int64]  # [S] ascending
    sizes: Mapping[str, int]
    """Windows of each part."""
    positives: Mapping[str, int]
    """Of these with a target."""
    epochs: int
    """Passes over the training windows that were made."""
    best_epoch: int
    """After which the validation score was best; 0: before any."""
    steps: int
    """Optimizer steps that were taken."""
    parameters: int
    seconds: float
    processor_seconds: float


class _TimeIsUp(Exception):
    """Raised between two steps of a run that has had its time."""


def exhibits(
    prepared: Prepared,
    recipe: Recipe,
    choice: Choice,
    *,
    seeds: Sequence[int],
    rooms: Collection[str] = tuple(ROOMS),
    limit_s: float | None = None,
) -> list[Exhibit]:
    """Train and judge every room with every seed.

    Args:
        prepared: the city.
        recipe: of protocol ``reference``.
        choice: where torch runs.
        seeds: of the weights, the order, the choice of windows and the random split.
        rooms: keys of `ROOMS`.
        limit_s: time that one run may take; it keeps its best epoch so far. None: as many epochs as the recipe says.

    Raises:
        UserError: the city has too few windows.
    """
    device = claim_device(ProcessInfo(), choice)
    found = []
    with step("museum", len(rooms) * len(seeds), "runs") as bar:
        for seed in seeds:
            own = replace(recipe, seed=seed)
            samples = len(ReferenceObjective(prepared, own).parts["train"])
            for room in rooms:
                objective = ReferenceObjective(prepared, own, device=device, without=ROOMS[room])
                objective.stages = stages_for(objective.stages, samples, objective.samples)
                found.append(_exhibit(objective, room, own, choice, limit_s))
                bar.advance(1, room)
    return found


def stages_for(stages: Sequence[Stage], samples: int, own: int) -> tuple[Stage, ...]:
    """Stages that learn from as many maps in all as the given ones would of `samples` windows, when there are `own`."""
    return tuple(replace(stage, epochs=max(1, round(stage.epochs * samples / own))) for stage in stages)


def _exhibit(
    objective: ReferenceObjective, room: str, recipe: Recipe, choice: Choice, limit_s: float | None
) -> Exhibit:
    began = time.perf_counter(), time.process_time()
    with process_group(ProcessInfo(), choice, recipe.engine.precision) as group:
        engine = TrainingLoop(objective, recipe.engine, group)
        _train(engine, limit_s)
        engine.module.load_state_dict(engine.best)
        with engine.fabric.autocast():
            p = objective.probabilities(engine.module, "test", engine.fabric.to_device)
    train, test, position = objective.parts["train"], objective.parts["test"], engine.position
    return Exhibit(
        room=room,
        seed=objective.seed,
        y=test.y,
        p=p,
        p_climatology=fit_climatology(train.start_s, train.y).probability(test.start_s),
        start_s=test.start_s,
        sizes={name: len(part) for name, part in objective.parts.items()},
        positives={name: int(part.y.sum()) for name, part in objective.parts.items()},
        epochs=position.epoch,
        best_epoch=position.best_epoch,
        steps=position.step,
        parameters=sum(weight.numel() for weight in engine.module.parameters()),
        seconds=time.perf_counter() - began[0],
        processor_seconds=time.process_time() - began[1],
    )


def _train(engine: TrainingLoop, limit_s: float | None) -> None:
    """All epochs, or as much as fits into the time."""
    until = None if limit_s is None else time.monotonic() + limit_s

    def between() -> None:
        if until is not None and time.monotonic() > until:
            raise _TimeIsUp

    engine.start()
    try:
        while engine.stage:
            engine.epoch(_Silent(), between)
            between()
    except _TimeIsUp:
        pass


class _Silent:
    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Say nothing."""
