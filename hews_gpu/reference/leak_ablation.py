"""Ablation of the reference protocol's leaks: one model, trained anew each time one more leak is taken away.

Every run goes through the loop that `hews train` uses, with the same recipe, on maps of the same size and for as many
samples; only the leaks differ. A run stays in memory: no folder, no checkpoints.

Shapes: S windows held out.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.events import Prepared
from hews_gpu.environment.device import Choice
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.progress import step as progress_step
from hews_gpu.reference.protocol import LEAKS, Leak, ReferenceObjective
from hews_gpu.training.distributed import ProcessInfo, claim_device, process_group
from hews_gpu.training.loop import TrainingLoop
from hews_gpu.training.objective import Stage
from hews_gpu.training.recipe import Recipe

__all__ = ["STEPS", "AblationRun", "run_ablation", "stages_for"]

STEPS: Mapping[str, frozenset[Leak]] = {
    "reference": frozenset(),
    **{leak: frozenset([*LEAKS][: k + 1]) for k, leak in enumerate(LEAKS)},
}
"""By the leak that is newly taken away (``reference``: none), all those that are gone by then."""


@dataclass(frozen=True, kw_only=True)
class AblationRun:
    """One training run and its probabilities for the windows that were held out."""

    step: str
    """A key of `STEPS`."""
    seed: int
    y: Bool  # [S] whether each window holds a target
    p: Float64  # [S] by the model
    p_climatology: Float64  # [S] by hour of week and month, fitted on the windows that the model learned from
    start_s: Int64  # [S] ascending
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


def run_ablation(
    prepared: Prepared,
    recipe: Recipe,
    choice: Choice,
    *,
    seeds: Sequence[int],
    steps: Collection[str] = tuple(STEPS),
    limit_s: float | None = None,
) -> list[AblationRun]:
    """Train and judge every step with every seed.

    Args:
        prepared: the city.
        recipe: of protocol ``reference``.
        choice: where torch runs.
        seeds: of the weights, the order, the choice of windows and the random split.
        steps: keys of `STEPS`.
        limit_s: time that one run may take; it keeps its best epoch so far. None: as many epochs as the recipe says.

    Raises:
        UserError: the city has too few windows.
    """
    device = claim_device(ProcessInfo(), choice)
    runs = []
    with progress_step("leak ablation", len(steps) * len(seeds), "runs") as bar:
        for seed in seeds:
            seeded = replace(recipe, seed=seed)
            samples = len(ReferenceObjective(prepared, seeded).parts["train"])
            for step in steps:
                objective = ReferenceObjective(prepared, seeded, device=device, without=STEPS[step])
                objective.stages = stages_for(objective.stages, samples, objective.samples)
                runs.append(_train_and_judge(objective, step, seeded, choice, limit_s))
                bar.advance(1, step)
    return runs


def stages_for(stages: Sequence[Stage], samples: int, own: int) -> tuple[Stage, ...]:
    """Return stages that see as many maps in all as the given ones would of `samples` windows, when there are `own`."""
    return tuple(replace(stage, epochs=max(1, round(stage.epochs * samples / own))) for stage in stages)


def _train_and_judge(
    objective: ReferenceObjective, step: str, recipe: Recipe, choice: Choice, limit_s: float | None
) -> AblationRun:
    began_s, processor_began_s = time.perf_counter(), time.process_time()
    with process_group(ProcessInfo(), choice, recipe.engine.precision) as group:
        loop = TrainingLoop(objective, recipe.engine, group)
        _train(loop, limit_s)
        loop.module.load_state_dict(loop.best)
        with loop.fabric.autocast():
            p = objective.probabilities(loop.module, "test", loop.fabric.to_device)
    train, test, position = objective.parts["train"], objective.parts["test"], loop.position
    return AblationRun(
        step=step,
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
        parameters=sum(weight.numel() for weight in loop.module.parameters()),
        seconds=time.perf_counter() - began_s,
        processor_seconds=time.process_time() - processor_began_s,
    )


def _train(loop: TrainingLoop, limit_s: float | None) -> None:
    """Train all epochs, or as much as fits into the time."""
    until_s = float("inf") if limit_s is None else time.monotonic() + limit_s

    def stop_in_time() -> None:
        if time.monotonic() > until_s:
            raise _TimeIsUp

    class Silent:
        def advance(self, amount: float = 1.0, note: str = "") -> None:
            """Show nothing: the bar counts runs."""

    loop.start()
    try:
        while loop.stage:
            loop.epoch(Silent(), stop_in_time)
            stop_in_time()
    except _TimeIsUp:
        pass
