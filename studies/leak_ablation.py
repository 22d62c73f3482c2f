"""The leak ablation: what a CNN scores under the reference protocol, and as its leaks are taken away one by one.

The same recipe is trained anew, for as many samples, with every leak in its place; then without the incidents to be
warned of on the maps; then also without the rows that report the same event; then judged on later months instead of at
random; then at the prevalence that windows have; then on the map of the window before. Accuracy and AUC of the windows
held out, means over seeds, with 95 % intervals over one-week blocks.

Unless told otherwise this is a small CNN on small maps, as the reference's own take hours on a CPU. On a machine with a
GPU, which needs a folder that was prepared elsewhere but neither geopandas nor shapely nor Dask:

    hews bench leak_ablation -- --prepare runs/baltimore           # here, with HEWS_REAL_DATA
    hews bench leak_ablation --device cuda -- --data runs/baltimore --recipe reference2 --seeds 1 --minutes 8

The table is Baltimore's of 2012 to August 2017 (HEWS_REAL_DATA); the years after it, of which two are locked, are in no
file that is read. ``--quick``: a generated city of two years, two epochs, one seed, nothing saved.

Every run goes through the loop that `hews train` uses; only the leaks differ. It stays in memory: no checkpoints.

Shapes: S windows held out, D drawn series.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
import torch

from benchmarks.common import RESULTS, finish, parse_flags, real_data
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.cli.printing import print_table
from hews_gpu.config import load_city
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.environment.device import Choice, choose_device
from hews_gpu.errors import UserError
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.strata import aucs_drawn
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.progress import log
from hews_gpu.progress import step as progress_step
from hews_gpu.reference.protocol import LEAKS, Leak, ReferenceObjective, scores
from hews_gpu.training.distributed import process_group
from hews_gpu.training.loop import TrainingLoop
from hews_gpu.training.objective import Stage
from hews_gpu.training.ranks import ProcessInfo, claim_device
from hews_gpu.training.recipe import Recipe, load_recipe
from hews_gpu.typed_toml import require
from hews_gpu.units import WEEK_S

SMALL = "reference_small"
TRAIN = ("2012-01-01", "2016-07-01")
SEEDS = 2
TITLES = {
    "reference": "the reference protocol",
    "targets": "targets are not drawn",
    "twins": "nor their twins",
    "random_split": "judged on later months",
    "balance": "at true prevalence",
    "same_window": "maps of the past only",
}


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
    with process_group(ProcessInfo(), choice) as group:
        loop = TrainingLoop(objective, recipe.engine, group)
        _train(loop, limit_s)
        loop.module.load_state_dict(loop.best)
        with loop.autocast():
            p = objective.probabilities(loop.module, "test", loop.to_device)
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


# ------------------------------------------------------------ the study


def measure(flags: argparse.Namespace) -> dict[str, Any]:
    """Run the ablation and return everything that is saved.

    Raises:
        UserError: no data, an unknown or unfit recipe, or a device that does not work.
    """
    recipe = load_recipe(flags.recipe)
    if not recipe.is_leaky:
        allowed, remedy = "has no leaks to take away", f"Give one of protocol reference, such as {SMALL}"
        raise UserError("--recipe", flags.recipe, allowed=allowed, remedy=remedy)
    choice = choose_device(flags.device)
    log(f"device: {choice}")
    seeds = tuple(range(1 if flags.quick else flags.seeds))
    if flags.quick:
        recipe = replace(recipe, stages=tuple(replace(stage, epochs=2) for stage in recipe.stages[:1]))
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        prepared = open_prepared(flags.data) if flags.data else find_data(Path(folder), quick=flags.quick)
        limit_s = None if flags.minutes is None else flags.minutes * 60 / (len(seeds) * len(STEPS))
        try:
            if choice.device == "cpu":
                torch.set_num_threads(1)  # maps this small are not worth the threads' waiting for each other
            runs = run_ablation(prepared, recipe, choice, seeds=seeds, limit_s=limit_s)
        finally:
            torch.set_num_threads(threads)
        return {**described(prepared, recipe, runs, flags), "device": choice.device, "steps": judged(runs)}


def find_data(folder: Path, *, quick: bool) -> Prepared:
    """Prepare Baltimore's table where HEWS_REAL_DATA has it; for a quick look a generated city."""
    if not quick:
        return prepare_baltimore(folder / "prepared")
    from hews_gpu.data.prepare.command import prepare
    from hews_gpu.synthetic import write_city

    prepare(load_city(write_city(folder / "city", years=2)), folder / "prepared")
    return open_prepared(folder / "prepared")


def prepare_baltimore(out: Path) -> Prepared:
    """Prepare the table of 2012 to August 2017.

    Raises:
        UserError: HEWS_REAL_DATA is not set, or `out` exists.
    """
    from benchmarks.inputs.cities import write_baltimore
    from hews_gpu.data.prepare.command import prepare

    data = real_data()
    if data is None:
        remedy = "Set it, give a prepared folder with --data, or take a quick look with --quick"
        raise UserError("HEWS_REAL_DATA", None, allowed="must name the folder of the real tables", remedy=remedy)
    with tempfile.TemporaryDirectory() as name:
        prepare(load_city(write_baltimore(Path(name), data, train=TRAIN)), out)
    return open_prepared(out)


def described(
    prepared: Prepared, recipe: Recipe, runs: Sequence[AblationRun], flags: argparse.Namespace
) -> dict[str, Any]:
    """Describe what was trained on what."""
    own, first = prepared.city.map, runs[0]
    splits = prepared.city.splits
    return {
        "city": prepared.city.city.name,
        "data_fingerprint": prepared.fingerprint,
        "begin": splits.train[0],
        "end": splits.test[1],
        "recipe": recipe.name,
        "model": recipe.model,
        "parameters": first.parameters,
        "map": [recipe.map.height or own.height, recipe.map.width or own.width],
        "seeds": len({one.seed for one in runs}),
        "minutes": flags.minutes,
        "locked_block_opened": False,
    }


def judged(runs: Sequence[AblationRun]) -> list[dict[str, Any]]:
    """Return one row per step, in the order in which leaks are taken away."""
    rows = []
    for step in STEPS:
        own = [one for one in runs if one.step == step]
        rows.append({"step": step, "title": TITLES[step], "leak": LEAKS.get(step), **_row(own)})  # type: ignore[call-overload]
    return rows


def _row(own: Sequence[AblationRun]) -> dict[str, Any]:
    """Return the scores of one step: means over the seeds, and the interval of that mean."""
    each = [scores(one.y, one.p) for one in own]
    clock = [scores(one.y, one.p_climatology) for one in own]
    drawn = [_drawn(one) for one in own]
    first = own[0]
    means: dict[str, Any] = {}
    for k, name in enumerate(("accuracy", "auc")):
        values = [one[name] for one in each]
        mean = np.mean([one[k] for one in drawn], axis=0)
        means[name] = {"value": float(np.mean(values)), "interval": interval(mean), "by_seed": values}
    return {
        **means,
        "commoner_class": float(np.mean([max(one.y.mean(), 1 - one.y.mean()) for one in own])),
        "climatology": {name: float(np.mean([one[name] for one in clock])) for name in ("accuracy", "auc")},
        "windows": dict(first.sizes),
        "positives": dict(first.positives),
        "epochs": first.epochs,
        "best_epochs": [one.best_epoch for one in own],
        "steps": [one.steps for one in own],
        "seconds": round(sum(one.seconds for one in own), 1),
        "processor_seconds": round(sum(one.processor_seconds for one in own), 1),
    }


def _drawn(one: AblationRun) -> tuple[Float64, Float64]:
    """Return accuracy and AUC [D] of series drawn in blocks of as many windows as a week holds of those held out."""
    weeks = (int(one.start_s[-1]) - int(one.start_s[0])) / WEEK_S
    blocks = Blocks.drawn(len(one.y), max(1, round(len(one.y) / max(weeks, 1.0))))
    return blocks.means((one.p >= 0.5) == one.y), aucs_drawn(one.y, one.p, blocks)


def draw(result: dict[str, Any], file: Path) -> None:
    """Draw the waterfall as a picture."""
    from hews_gpu.report.figures.findings import waterfall
    from hews_gpu.report.style import light_svg

    file.write_text(light_svg(waterfall(result["steps"])), encoding="utf-8")


def show(result: dict[str, Any]) -> None:
    """Print the steps."""
    rows = [["leaks taken away", "AUC [95 %]", "accuracy [95 %]", "commoner class", "clock's AUC", "held out"]]
    for row in result["steps"]:
        others = [f"{row['commoner_class']:.3f}", f"{row['climatology']['auc']:.3f}", str(row["windows"]["test"])]
        rows.append([row["title"], _cell(row["auc"]), _cell(row["accuracy"]), *others])
    size = "x".join(map(str, result["map"]))
    title = f"{result['city']}, {result['begin']} to {result['end']}: {result['model']} on maps of {size}"
    print_table(title, rows)


def _cell(one: dict[str, Any]) -> str:
    low, high = one["interval"]
    return f"{one['value']:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Train, judge, print, and save unless quick."""
    flags = parse_flags(
        __doc__ or "",
        devices=("cpu", "cuda", "auto"),
        recipe={"default": SMALL, "metavar": "NAME|PATH.toml", "help": "of protocol reference"},
        data={"type": Path, "metavar": "DIR", "help": "a folder made by 'hews prepare', or by --prepare"},
        seeds={"type": int, "default": SEEDS, "metavar": "N", "help": "how many times each is trained"},
        minutes={"type": float, "metavar": "M", "help": "time for all training; each run gets the same"},
        results={"type": Path, "default": RESULTS, "metavar": "DIR", "help": "where the result is saved"},
        prepare={"type": Path, "metavar": "DIR", "help": "only prepare Baltimore's table there"},
    )
    try:
        require(flags.seeds >= 1, "--seeds", flags.seeds, "must be 1 or more")
        require(flags.minutes is None or flags.minutes > 0, "--minutes", flags.minutes, "must be more than 0")
        if flags.prepare is not None:
            prepare_baltimore(flags.prepare)
            return
        result = measure(flags)
    except UserError as error:
        print(f"hews: {error}", file=sys.stderr)
        sys.exit(2)
    name = "leak_ablation" if flags.recipe == SMALL else f"leak_ablation_{Path(flags.recipe).stem}"
    path = finish(name, result, flags, show, folder=flags.results)
    if path is not None:
        draw(result, path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
