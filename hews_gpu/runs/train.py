"""`hews train`: fit a forecaster to a prepared city's splits.

A network is trained step by step and can go on after any stop as if nothing had happened; this module says what is
refused, when a checkpoint is written, and what a stop and the end leave, and the arithmetic is the loop's. Every other
forecaster is fitted in one go, and its folder appears when it is whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.resolution import count_minutes, require_windows
from hews_gpu.environment.device import Choice, choose_device
from hews_gpu.errors import UserError
from hews_gpu.feed.feeds import drawn_by
from hews_gpu.files import read_manifest
from hews_gpu.forecasters.base import Forecaster, Setting
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.climatology import HourOfWeekMonth
from hews_gpu.forecasters.cnn import CnnForecaster
from hews_gpu.forecasters.cnn_occupied import choose_layers
from hews_gpu.forecasters.forward import part_of
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import FORECASTERS, require_known
from hews_gpu.forecasters.stack import Stack
from hews_gpu.progress import SILENT, log, step
from hews_gpu.runs import folder as runs
from hews_gpu.runs.run import given, run_experiment
from hews_gpu.training.checkpoint import Checkpoints, DiskFull, Snapshot, Tensors, require_same_settings, write_tensors
from hews_gpu.training.distributed import ProcessGroup, process_group
from hews_gpu.training.logs import LOGS, RunLog
from hews_gpu.training.loop import CHECKPOINT, TrainingLoop
from hews_gpu.training.objective import EpochRow, Objective
from hews_gpu.training.preempt import StopSignals, stopped_by
from hews_gpu.training.ranks import ProcessInfo, claim_device, first_rank_reports, process_info, start_ranks
from hews_gpu.training.recipe import LEAKY, Recipe, load_recipe, parse_recipe

__all__ = ["open_objective", "train", "train_as_told"]

Resume = bool | Literal["auto"]
LOSS_WINDOWS = 12_000  # the last training windows, whose loss is told: to forecast those of decades takes minutes


def train(
    prepared: Path,
    run: Path,
    *,
    recipe: Recipe | None = None,
    model: str | None = None,
    feed: str = "direct",
    force: bool = False,
    resume: Resume = False,
    device: str = "auto",
    devices: int | None = None,
    max_epochs: int | None = None,
) -> dict[str, Any]:
    """Fit a forecaster on the training windows, stopped or calibrated by the validation windows.

    Args:
        prepared: folder made by ``hews prepare``.
        run: folder of the run.
        recipe: how; the shipped ``forecast`` unless given.
        model: a forecaster's name in the registry; the recipe's unless given.
        feed: what makes the batches.
        force: replace an older run.
        resume: go on from the last checkpoint in `run`; ``auto``: if there is one, else start.
        device: ``auto``, ``cpu`` or ``cuda``.
        devices: processes, one device each; as many as torchrun or srun started unless given, else one.
        max_epochs: stop for now after this many; the learning rate still follows the recipe's number of epochs.

    Returns:
        A flat summary: epochs, best epoch, losses, seconds; empty on all processes but the first.

    Raises:
        UserError: bad data, settings or folders.
        Preempted: SIGTERM or SIGUSR2 came; the last checkpoint is of the last whole step.
        KeyboardInterrupt: Ctrl-C came; likewise.
    """
    recipe = recipe or load_recipe()
    if model is not None:
        recipe = recipe.with_model(model)
    info = process_info(devices)
    with first_rank_reports(info):
        choice = choose_device(device)
        city = open_prepared(prepared)
        if not recipe.is_leaky and not require_known(recipe.model).is_network:
            _refuse_options_of_networks(recipe.model, feed, max_epochs)
            return _fit_at_once(city, run, recipe, info, choice.device, force=force, resume=resume)
        is_there = bool(Checkpoints(run, recipe.checkpoints.keep))
        going_on = info.is_first and runs.going_on(run, "checkpoint", is_there, force=force, resume=resume)
        own = claim_device(info, choice)
        objective, save = open_objective(city, recipe, feed, own)
    arguments = {
        "prepared": str(prepared),
        "run": str(run),
        "recipe": [recipe.text, recipe.name],
        **{"feed": feed, "force": force, "resume": resume},
        **{"device": choice.device, "devices": devices, "max_epochs": max_epochs},
    }
    with ExitStack() as stack:
        this = _Run(run, city, recipe, objective, save)
        if info.is_first:
            log(f"device: {choice}")
            if choice.device == "cuda":
                drawn = drawn_by(own)
                log(f"maps are drawn by: {drawn.backend} ({drawn.why})")
            if recipe.is_leaky:
                log(f"recipe {recipe.name}: {LEAKY}")
            else:
                log(f"the CNN looks at maps {choose_layers(own, is_compiled=recipe.engine.compile)[1]}")
        signals = stack.enter_context(StopSignals())
        stack.enter_context(start_ranks(info, "hews_gpu.runs.train:train_as_told", arguments))
        group = stack.enter_context(process_group(info, choice))
        this.join(group, signals)
        this.load() if group.broadcast(going_on) else this.begin(force=force)
        summary = this.finish(max_epochs, choice.device)
        return summary if info.is_first else {}


def train_as_told(arguments: dict[str, Any]) -> None:
    """Call `train` in a process that another has started, with the arguments that it was given."""
    text, name = arguments.pop("recipe")
    prepared, run = (Path(arguments.pop(key)) for key in ("prepared", "run"))
    train(prepared, run, recipe=parse_recipe(text, name), **arguments)


Save = Callable[[Path, Tensors, int], None]
"""Writes weights, and the epoch that they are of, to a path, with what it takes to use them."""


def open_objective(prepared: Prepared, recipe: Recipe, feed: str, device: str) -> tuple[Objective, Save]:
    """Return what a recipe asks to learn of a prepared city, and how the trained weights are written.

    Raises:
        UserError: the city cannot be learned from in this way.
    """
    if recipe.is_leaky:
        from hews_gpu.reference.protocol import ReferenceObjective

        require_windows(prepared.city, count_minutes(prepared.events.time_s, prepared.events.is_target))
        objective = ReferenceObjective(prepared, recipe, feed=feed, device=device)

        def save_network(path: Path, weights: Tensors, epoch: int) -> None:
            write_tensors(path, weights, {**objective.architecture, "epoch": epoch})

        return objective, save_network
    experiment = run_experiment(prepared)
    setting = Setting(city=experiment.city, device=device, recipe=recipe)
    forecaster = FORECASTERS[recipe.model].make(setting)
    assert isinstance(forecaster, CnnForecaster)

    def save(path: Path, weights: Tensors, epoch: int) -> None:
        forecaster.keep(weights)
        runs.save_forecaster(path, recipe.model, forecaster, {"epoch": epoch})

    return forecaster.objective(*given(experiment), feed=feed), save


def _refuse_options_of_networks(model: str, feed: str, max_epochs: int | None) -> None:
    """Refuse what would be left aside without a word where no batches are drawn."""
    remedy = "Leave it out, or use --model cnn"
    if feed != "direct":
        raise UserError("--feed", feed, allowed=f"is for networks, which draw maps: {model} draws none", remedy=remedy)
    if max_epochs is not None:
        raise UserError("max_epochs", max_epochs, allowed=f"is for networks: {model} is fitted at once", remedy=remedy)


def _fit_at_once(
    prepared: Prepared, run: Path, recipe: Recipe, info: ProcessInfo, device: str, *, force: bool, resume: Resume
) -> dict[str, Any]:
    """Fit a forecaster that is no network and write its run folder; the first process does.

    The others wait for it: SLURM ends a step soon after its first task.

    Raises:
        UserError: several processes were asked for, the folder may not be written, or it is to go on and cannot.
    """
    fit = partial(_fit, prepared, run, recipe, device, force=force, resume=resume)
    if info.world_size == 1:
        return fit()
    if info.launcher == "hews":
        allowed = f"must be 1: {recipe.model} is fitted in one process"
        raise UserError("--devices", info.world_size, allowed=allowed, remedy="Leave it out")
    if info.is_first:
        log(f"{recipe.model} is fitted in one process: the other {info.world_size - 1} wait")
    with process_group(info, Choice(device="cpu", why="")) as group:
        summary = group.on_first_rank(fit)
    return summary if info.is_first else {}


def _fit(prepared: Prepared, run: Path, recipe: Recipe, device: str, *, force: bool, resume: Resume) -> dict[str, Any]:
    """Fit it and write the folder, in this process."""
    is_trained = (run / runs.WEIGHTS).is_file()
    if runs.going_on(run, "trained forecaster", is_trained, force=force, resume=resume):
        then = _settings(load_city(run / runs.CITY), read_manifest(run).get("data_fingerprint"), runs.run_recipe(run))
        require_same_settings(str(run), then, _settings(prepared.city, prepared.fingerprint, recipe))
        log(f"{run} is trained to its end already")
        return {"model": recipe.model, "epochs": 0, "seconds": 0.0}
    experiment = run_experiment(prepared)
    forecaster = FORECASTERS[recipe.model].make(Setting(city=experiment.city, device=device, recipe=recipe))
    began = time.perf_counter()
    past, train, calibration = given(experiment)
    with step(f"fitting {recipe.model}", 1, "fits") as bar:
        forecaster.fit(past, train, calibration)
        bar.advance(1)
    seconds = time.perf_counter() - began
    lately = part_of(train, max(0, len(train) - LOSS_WINDOWS), len(train))
    losses = [_loss_bits(forecaster, past, part) for part in (lately, calibration)]
    usual = HourOfWeekMonth(experiment.city.holidays)
    usual.fit(past, train, calibration)
    row = EpochRow(epoch=0, train_loss=losses[0], validation={"log_loss": losses[1]}, cost={"seconds": seconds})

    def save(folder: Path) -> None:
        runs.finish(folder, lambda path: runs.save_forecaster(path, recipe.model, forecaster), [row])

    runs.begin(run, prepared, recipe, save, force=force, state="trained")
    return {
        "model": recipe.model,
        **({"experts": ", ".join(forecaster.fitted.experts) or "none"} if isinstance(forecaster, Stack) else {}),
        "training_windows": len(train),
        "train_log_loss_bits": losses[0],
        "validation_log_loss_bits": losses[1],
        "validation_log_skill_bits": _loss_bits(usual, past, calibration) - losses[1],
        "seconds": round(seconds, 3),
    }


def _settings(city: CityConfig, fingerprint: object, recipe: Recipe) -> dict[str, Any]:
    """Return what decides the result of a fit at once, flat."""
    return {"data_fingerprint": fingerprint, **recipe.settings(), **city.deciding}


def _loss_bits(forecaster: Forecaster, past: Catalog, part: Outcomes) -> float:
    """Return the mean log loss of a part's windows, bits."""
    return float(log_loss_each_bits(part.y, forecaster.predict(past, part.windows)).mean())


class _Run:
    """A run folder and the engine that fills it."""

    engine: TrainingLoop
    group: ProcessGroup
    signals: StopSignals

    def __init__(self, run: Path, city: Prepared, recipe: Recipe, objective: Objective, save: Save) -> None:
        self.folder, self.city, self.recipe = run, city, recipe
        self.objective, self.save_weights = objective, save
        self.checkpoints = Checkpoints(run, recipe.checkpoints.keep)
        self._saved_s, self._saved_step = time.monotonic(), 0

    def join(self, group: ProcessGroup, signals: StopSignals) -> None:
        """Take part in a process group."""
        self.group, self.signals = group, signals
        self.engine = TrainingLoop(self.objective, self.recipe.engine, group)

    def begin(self, *, force: bool) -> None:
        """Start anew; an older run goes only once the first checkpoint is whole."""
        self.engine.start()
        snapshot = self.engine.snapshot()
        with self.group.raise_on_all_ranks():
            if self.group.is_first:
                save = lambda folder: Checkpoints(folder, self.checkpoints.keep).save(0, snapshot)  # noqa: E731
                runs.begin(self.folder, self.city, self.recipe, save, force=force)

    def load(self) -> None:
        """Go on from the last whole checkpoint; one that is refused leaves the run as it was."""
        last: Snapshot | None = None
        with self.group.raise_on_all_ranks():
            if self.group.is_first:
                last = self.checkpoints.load_last(CHECKPOINT)
                require_same_settings(str(self.checkpoints.folder), last.notes["settings"], self.engine.settings)
        last = self.group.broadcast(last)
        assert last is not None
        self.engine.restore(last)
        position = self.engine.position
        self._saved_step = position.step
        self._say(f"goes on from step {position.step}, in epoch {position.epoch + 1}")

    def finish(self, max_epochs: int | None, device: str) -> dict[str, Any]:
        """Train until done, and leave the best weights."""
        with ExitStack() as stack:
            if self.group.is_first:
                stack.enter_context(runs.living(self.folder, self.city, self.recipe))
            self.fit(max_epochs)
            with self.group.raise_on_all_ranks(), self.checkpoints.report_full_disk():
                if self.group.is_first:
                    runs.finish(self.folder, self._save_best, self.engine.position.history)
        return self._summary(device)

    def fit(self, max_epochs: int | None) -> None:
        """Train until done, with a checkpoint after each epoch and now and then within."""
        engine, position = self.engine, self.engine.position
        self.signals.gently = True
        first = self.group.is_first
        with (
            step("training", engine.all_steps, "steps") if first else nullcontext(SILENT) as bar,
            RunLog(self.folder / LOGS if first else None, position.step + 1 if position.step else None) as logs,
        ):
            bar.advance(position.step)
            while engine.stage and (max_epochs is None or position.epoch < max_epochs):
                row = engine.epoch(bar, self._between, logs.step)
                self._tell(row)
                logs.epoch(position.step, row.flat())
                self._save(epoch=row)
                self._between()

    def _between(self) -> None:
        """Write a checkpoint between two steps if it is time, and leave if asked to."""
        asked_for, position = self.recipe.checkpoints, self.engine.position
        due = time.monotonic() - self._saved_s > asked_for.every_s
        due |= asked_for.every_steps is not None and position.step - self._saved_step >= asked_for.every_steps
        is_due, asked = self.group.all_reduce_max(int(due), self.signals.asked)
        if (is_due or asked) and position.step != self._saved_step:
            self._save()
        if asked:
            where = f"epoch {position.epoch + 1}, after step {position.step}"
            raise stopped_by(asked, f"stopped in {where}. Give the same command with --resume to go on.", self._say)

    def _save(self, epoch: EpochRow | None = None) -> None:
        """Write a checkpoint, and after an epoch also what it changed."""
        engine = self.engine
        snapshot = engine.snapshot()
        with self.group.raise_on_all_ranks():
            if self.group.is_first:
                try:
                    self.checkpoints.save(engine.position.step, snapshot)
                    if epoch is not None:
                        with self.checkpoints.report_full_disk():
                            runs.write_history(self.folder, engine.position.history)
                        if engine.position.best_epoch == epoch.epoch:
                            self.checkpoints.save_best(self._save_best)
                except DiskFull as full:
                    if self.recipe.checkpoints.on_disk_full == "stop":
                        raise
                    self._say(f"{full.field}: {full.allowed}; training goes on without one")
        self._saved_s, self._saved_step = time.monotonic(), engine.position.step

    def _save_best(self, path: Path) -> None:
        """Write the best weights so far, with what it takes to use them."""
        self.save_weights(path, self.engine.best, self.engine.position.best_epoch)

    def _tell(self, row: EpochRow) -> None:
        seconds = (row.cost or {}).get("seconds") or 0.0
        kept = ", the best so far" if self.engine.position.best_epoch == row.epoch else ""
        epochs = sum(stage.epochs for stage in self.objective.stages)
        told = f"epoch {row.epoch} of {epochs}: loss {row.train_loss:.4f} bits"
        self._say(f"{told}, validation {row.score:.4f} bits{kept}, {seconds:.1f} s")

    def _say(self, text: str) -> None:
        if self.group.is_first:
            log(text)

    def _summary(self, device: str) -> dict[str, Any]:
        """Return what a run prints at its end."""
        position = self.engine.position
        costs = [row.cost or {} for row in position.history]
        seconds = sum(cost.get("seconds") or 0.0 for cost in costs)
        return {
            "model": self.recipe.model,
            "device": device,
            "processes": self.group.size,
            "parameters": sum(p.numel() for p in self.engine.module.parameters()),
            "training_windows": self.objective.samples,
            "epochs": position.epoch,
            "best_epoch": position.best_epoch,
            "validation_log_loss_bits": position.best_score,
            **self._judged(),
            "seconds": round(seconds, 3),
            "samples_per_s": round(position.epoch * self.objective.samples / seconds, 1) if seconds else 0.0,
        }

    def _judged(self) -> dict[str, Any]:
        """Return what the validation windows say of the best epoch; of a leaky run no skill, but what it is."""
        position = self.engine.position
        if not self.recipe.is_leaky:
            return {"validation_log_skill_bits": position.history[0].score - position.best_score}
        scores = position.history[position.best_epoch].validation
        others = {f"validation_{name}": value for name, value in scores.items() if name != "log_loss"}
        return {**others, "recipe": self.recipe.name, "warning": LEAKY}
