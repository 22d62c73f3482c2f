"""Training: learns what is there, repeats itself to the bit, goes on after a stop, refuses what it cannot use."""

import csv
import errno
import json
import os
import shutil
import signal
import tomllib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hews_gpu.data.events import open_prepared
from hews_gpu.errors import UserError
from hews_gpu.feed.maps import rasterize
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs.evaluate import evaluate
from hews_gpu.runs.folder import short_calibration
from hews_gpu.runs.run import open_run
from hews_gpu.runs.train import train
from hews_gpu.training.checkpoint import read_tensors
from hews_gpu.training.loop import TrainingLoop
from hews_gpu.training.preempt import EXIT_PREEMPTED, Preempted


def quick(prepared, run, **options):
    return train(prepared, run, model="cnn", device="cpu", **options)


def last(run):
    """The newest checkpoint of a run."""
    return max((run / "checkpoints").glob("step-*.safetensors"))


def decided(run):
    """All of the last checkpoint but the clock's part of the history."""
    tensors, notes = read_tensors(last(run), remedy="")
    for row in notes["position"]["history"]:
        del row["cost"]
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, notes


def test_it_learns_what_the_toy_city_hides(run):
    rows = np.genfromtxt(run / "history.csv", delimiter=",", names=True)
    assert list(rows["epoch"]) == [0, 1, 2, 3]
    assert rows["validation_log_loss"][0] - rows["validation_log_loss"].min() > 0.05
    assert rows["train_loss"][-1] < rows["train_loss"][0]


def test_two_runs_give_the_same_bytes(prepared, run, tmp_path):
    quick(prepared, tmp_path / "again")
    for name in ("weights.safetensors", "city.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes()
    assert decided(tmp_path / "again") == decided(run)


def test_another_seed_gives_other_weights(run, toy, tmp_path):
    other = toy.write(tmp_path / "prepared", toy.incidents(), seed=1)
    quick(other, tmp_path / "run")
    assert (tmp_path / "run/weights.safetensors").read_bytes() != (run / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_a_resumed_run_ends_with_the_same_bits(prepared, run, tmp_path, epochs):
    stopped = tmp_path / "stopped"
    summary = quick(prepared, stopped, max_epochs=epochs)
    assert summary["epochs"] == epochs
    assert quick(prepared, stopped, resume=True)["epochs"] == 3
    assert (stopped / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    assert decided(stopped) == decided(run)


def signal_in_step(monkeypatch, number, step):
    """Send a real signal to this process while it takes a step, counted from 1."""
    real, count = TrainingLoop._step, iter(range(1, 1000))

    def told_to_stop(self, *arguments):
        if next(count) == step:
            os.kill(os.getpid(), number)
        return real(self, *arguments)

    monkeypatch.setattr(TrainingLoop, "_step", told_to_stop)


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Preempted), (signal.SIGUSR2, Preempted)],
)
def test_a_stop_finishes_its_step_and_says_how_to_go_on(prepared, run, tmp_path, monkeypatch, capsys, number, raised):
    stopped, before = tmp_path / "stopped", signal.getsignal(number)
    with monkeypatch.context() as patch:
        signal_in_step(patch, number, 17)  # 13 steps an epoch: in the second
        with pytest.raises(raised) as caught:
            quick(prepared, stopped)
    assert getattr(caught.value, "code", EXIT_PREEMPTED) == EXIT_PREEMPTED == 75
    assert signal.getsignal(number) == before
    said = str(caught.value) if number == signal.SIGINT else capsys.readouterr().err  # the command shows it last
    assert "epoch 2, after step 17. Give the same command with --resume" in said
    position = decided(stopped)[1]["position"]
    assert (position["epoch"], position["epoch_step"], position["step"]) == (1, 4, 17)
    assert not (stopped / "weights.safetensors").exists()
    assert not list(stopped.rglob(".*"))
    assert json.loads((stopped / "hews.json").read_text())["state"] == "training"
    quick(prepared, stopped, resume="auto")
    assert (stopped / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    assert decided(stopped) == decided(run)
    assert json.loads((stopped / "hews.json").read_text())["state"] == "trained"


def stopped_at(real, nth):
    """A function that Ctrl-C reaches just before its `nth` call."""
    count = iter(range(1000))

    def interrupted(*arguments):
        if next(count) == nth:
            raise KeyboardInterrupt
        return real(*arguments)

    return interrupted


def test_a_stop_before_the_first_checkpoint_leaves_nothing(prepared, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingLoop, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(prepared, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_exists_is_refused_and_replaced_only_by_force(prepared, run, tmp_path):
    old = shutil.copytree(run, tmp_path / "run")
    (old / "metrics.json").write_text("{}", encoding="utf-8")
    before = contents(old)
    with pytest.raises(UserError, match=r"--out.*exists already.*--force"):
        quick(prepared, old)
    assert contents(old) == before
    quick(prepared, old, force=True, max_epochs=0)
    assert not (old / "metrics.json").exists()
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize(
    "where",
    [
        "training.loop.TrainingLoop.start",
        "runs.folder.shutil.copyfile",
        "training.checkpoint.write_tensors",
        "training.checkpoint.save",
    ],
)
def test_force_keeps_the_older_run_until_the_first_checkpoint(prepared, run, tmp_path, monkeypatch, where, error):
    old = shutil.copytree(run, tmp_path / "run")
    before = contents(old)

    def stop(*_, **__):
        raise error

    monkeypatch.setattr(f"hews_gpu.{where}", stop)
    with pytest.raises((KeyboardInterrupt, OSError, UserError)):
        quick(prepared, old, force=True)
    assert contents(old) == before
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("nth", range(6))
def test_force_leaves_a_whole_run_wherever_a_rename_is_stopped(prepared, run, tmp_path, monkeypatch, nth):
    """Either the older one or the new one with its checkpoint."""
    old = shutil.copytree(run, tmp_path / "run")
    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            patch.setattr(Path, name, stopped_at(getattr(Path, name), nth))
        with suppress(KeyboardInterrupt):
            quick(prepared, old, force=True, max_epochs=0)
    assert list(tmp_path.iterdir()) == [old]
    decided(old)
    quick(prepared, old, resume=True, max_epochs=0)


def test_a_learning_rate_beyond_all_reason_is_one_line(toy, tmp_path):
    wild = toy.write(tmp_path / "prepared", toy.incidents(), learning_rate=1e30)
    with pytest.raises(UserError, match=r"learning_rate: .* of epoch 1 is nan: training has diverged. Lower it"):
        quick(wild, tmp_path / "run")


def test_force_never_replaces_a_folder_that_is_no_run(prepared, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match=r"hews\.json"):
        quick(prepared, tmp_path / "mine", force=True)
    with pytest.raises(UserError, match="prepared"):
        quick(prepared, prepared, force=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("options", "said"), [({"resume": True}, "checkpoint"), ({"force": True, "resume": True}, "--force")]
)
def test_what_cannot_be_resumed_is_refused(prepared, tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        quick(prepared, tmp_path / "none", **options)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_settings_or_data_is_refused_and_the_difference_named(toy, run, tmp_path):
    old = shutil.copytree(run, tmp_path / "run")
    before = contents(old)
    changed = toy.write(tmp_path / "settings", toy.incidents(), learning_rate=0.02, cells=9)
    with pytest.raises(UserError, match=r"learning_rate was 0\.01, is 0\.02") as caught:
        quick(changed, old, resume=True)
    assert "[channels] height was 8, is 9" in str(caught.value)
    other = toy.write(tmp_path / "data", toy.incidents().iloc[:-1])
    with pytest.raises(UserError, match="data_fingerprint was"):
        quick(other, old, resume=True)
    assert contents(old) == before
    assert json.loads((old / "hews.json").read_text())["state"] == "trained"


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(prepared, run, tmp_path, capsys):
    old = shutil.copytree(run, tmp_path / "run")
    newest = last(old)
    whole = newest.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:-100], b"", b"\xff" * len(whole), bytes(flipped)):
        newest.write_bytes(damaged)
        quick(prepared, old, resume=True)
        said = capsys.readouterr().err
        assert "the CNN looks at maps from occupied cells alone" in said
        assert f"{newest}: cannot be read" in said and "going on from the one before it" in said
        assert "goes on from step 26" in said
        assert (old / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
        assert decided(old) == decided(run)
        assert newest.with_name(f"{newest.name}.damaged").read_bytes() == damaged


def test_without_a_whole_checkpoint_it_is_refused(prepared, run, tmp_path):
    old = shutil.copytree(run, tmp_path / "run")
    for path in (old / "checkpoints").glob("step-*"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"checkpoints/step-.*cannot be read.*--force"):
        quick(prepared, old, resume=True)


def test_where_there_is_nothing_to_learn_it_stops_early_and_keeps_the_best_epoch(toy, tmp_path):
    quiet = toy.write(tmp_path / "prepared", toy.incidents(contagion=0.0), learning_rate=0.05, epochs=8)
    summary = quick(quiet, tmp_path / "run")
    assert summary["epochs"] == summary["best_epoch"] + 3 < 8  # patience
    quick(quiet, tmp_path / "stopped", max_epochs=2)
    quick(quiet, tmp_path / "stopped", resume=True)
    weights = "weights.safetensors"
    assert (tmp_path / "stopped" / weights).read_bytes() == (tmp_path / "run" / weights).read_bytes()
    metrics = evaluate(tmp_path / "run")  # with the weights of the best epoch, not the last
    assert metrics["parts"]["validation"]["log_loss_bits"] == pytest.approx(summary["validation_log_loss_bits"])
    assert metrics["forecasts"]["cnn"]["against"]["level"]["log_skill_bits"]["interval"][0] <= 0


def test_stored_maps_serve_a_run_though_the_table_reaches_further_than_its_splits(toy, tmp_path):
    prepared = toy.write(tmp_path / "prepared", toy.incidents(), epochs=1)
    path = prepared / "city.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"2024-05-06"', '"2024-04-22"'), encoding="utf-8")
    rasterize(prepared, tmp_path / "maps", style="channels")
    quick(prepared, tmp_path / "drawn")
    train(prepared, tmp_path / "stored", model="cnn", device="cpu", feed=f"zarr:{tmp_path / 'maps'}")
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("drawn", "stored")]
    assert files[0] == files[1]


def test_what_only_networks_can_do_is_refused_of_a_model_fitted_at_once(prepared, tmp_path):
    with pytest.raises(UserError, match=r"--feed = 'dali': is for networks, .* stack draws none. Leave it out"):
        train(prepared, tmp_path / "run", device="cpu", feed="dali")
    with pytest.raises(UserError, match=r"max_epochs = 3: is for networks: level is fitted at once"):
        train(prepared, tmp_path / "run", model="level", device="cpu", max_epochs=3)
    assert not (tmp_path / "run").exists()


AT_ONCE = [name for name, entry in FORECASTERS.items() if not entry.is_network]
FILES = {"city.toml", "hews.json", "history.csv", "recipe.toml", "warnings.toml", "weights.safetensors"}


@pytest.mark.parametrize("model", FORECASTERS)
def test_every_model_leaves_the_same_files(trained, prepared, model):
    folder = trained(model)
    names = {path.name for path in folder.iterdir()}
    assert names - {"checkpoints", "logs"} == FILES
    assert ("checkpoints" in names) == FORECASTERS[model].is_network
    notes = json.loads((folder / "hews.json").read_text())
    assert (notes["kind"], notes["state"], notes["model"], notes["recipe"]) == ("run", "trained", model, "forecast")
    assert notes["data_fingerprint"] == open_prepared(prepared).fingerprint
    assert tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))["model"] == model
    assert (folder / "city.toml").read_bytes() == (prepared / "city.toml").read_bytes()
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(4 if FORECASTERS[model].is_network else 1))
    losses = [float(row[name]) for row in rows for name in ("train_loss", "validation_log_loss")]
    assert all(0 < loss < 1.5 for loss in losses) and all(float(row["seconds"] or 0) >= 0 for row in rows)


@pytest.mark.parametrize("model", AT_ONCE)
def test_two_fits_leave_the_same_bytes_and_the_losses_are_those_of_evaluate(trained, prepared, tmp_path, model):
    summary = train(prepared, tmp_path / "again", model=model, device="cpu")
    assert decided_at_once(tmp_path / "again") == decided_at_once(trained(model))
    parts = evaluate(trained(model), out=tmp_path / "judged")["parts"]
    for name in ("train", "validation"):
        assert summary[f"{name}_log_loss_bits"] == pytest.approx(parts[name]["log_loss_bits"], rel=1e-12)
    assert summary["training_windows"] == parts["train"]["windows"] and summary["model"] == model
    usual = evaluate(trained("climatology"), out=tmp_path / "usual")["parts"]["validation"]["log_loss_bits"]
    gained = usual - parts["validation"]["log_loss_bits"]
    assert summary["validation_log_skill_bits"] == pytest.approx(gained, abs=1e-12)


def decided_at_once(run):
    """All files but the clock's part."""
    with (run / "history.csv").open(newline="") as file:
        history = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    return history, [(run / name).read_bytes() for name in sorted(FILES - {"hews.json", "history.csv"})]


SHORT = "thresholds of warnings are set on 2024-03-11 to 2024-04-07, less than a year"


def test_a_short_calibration_block_is_told_where_a_policy_is_written(prepared, tmp_path, capsys):
    train(prepared, tmp_path / "run", model="climatology", device="cpu")
    assert SHORT in capsys.readouterr().err
    day_s = 86_400
    assert short_calibration(0, 365 * day_s) == "" != short_calibration(0, 364 * day_s)


def test_what_is_fitted_at_once_takes_one_process(prepared, tmp_path):
    with pytest.raises(UserError, match=r"--devices = 2: must be 1: level is fitted in one process"):
        train(prepared, tmp_path / "run", model="level", device="cpu", devices=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["climatology", "hewsnet"])
@pytest.mark.parametrize(
    "where", ["forecasters.{}.fit_with_offset", "runs.folder.write_tensor_file", "files.write_json"]
)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_a_stop_during_a_fit_leaves_nothing_or_the_older_run(
    prepared, trained, tmp_path, monkeypatch, model, where, error
):
    old = shutil.copytree(trained("hawkes"), tmp_path / "old")
    before = contents(old)

    def stop(*_, **__):
        raise error

    monkeypatch.setattr(f"hews_gpu.{where.format(model)}", stop)
    for out, force in ((tmp_path / "deep" / "run", False), (old, True)):
        with pytest.raises((KeyboardInterrupt, OSError, UserError)):
            train(prepared, out, model=model, device="cpu", force=force)
    assert contents(old) == before
    assert [path.name for path in tmp_path.rglob("*") if path.parent == tmp_path and path.name != "deep"] == ["old"]
    assert not list((tmp_path / "deep").glob("*"))


def test_force_replaces_a_run_of_another_model(prepared, run, tmp_path):
    old = shutil.copytree(run, tmp_path / "run")
    (old / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"exists already.*--force"):
        train(prepared, old, model="level", device="cpu")
    train(prepared, old, model="level", device="cpu", force=True)
    assert {path.name for path in old.iterdir()} == FILES
    quick(prepared, old, force=True)
    assert (old / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()


def test_what_was_fitted_is_left_as_it_is_by_resume(trained, prepared, tmp_path, capsys):
    old = shutil.copytree(trained("level"), tmp_path / "run")
    before = contents(old)
    for resume in (True, "auto"):
        summary = train(prepared, old, model="level", device="cpu", resume=resume)
        assert summary == {"model": "level", "epochs": 0, "seconds": 0.0}
        assert "is trained to its end already" in capsys.readouterr().err
    assert contents(old) == before


def test_a_fit_is_not_taken_for_one_of_another_model_or_other_data(trained, run, prepared, toy, tmp_path):
    old = shutil.copytree(trained("level"), tmp_path / "run")
    with pytest.raises(UserError, match='recipe model was "level", is "hawkes"'):
        train(prepared, old, model="hawkes", device="cpu", resume=True)
    other = toy.write(tmp_path / "other", toy.incidents(seed=1))
    with pytest.raises(UserError, match="data_fingerprint was"):
        train(other, old, model="level", device="cpu", resume="auto")
    toml = (other / "city.toml").read_text(encoding="utf-8").replace('"2024-05-06"', '"2024-04-29"')
    moved = toy.write(tmp_path / "moved", toy.incidents())
    (moved / "city.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(UserError, match=r"\[splits\] test was .*05-06.*, is .*04-29"):
        train(moved, old, model="level", device="cpu", resume=True)
    toml = (prepared / "city.toml").read_text(encoding="utf-8").replace("New_York", "Chicago")
    (moved / "city.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(UserError, match=r"\[city\] timezone was .*New_York.*, is .*Chicago"):
        train(moved, old, model="level", device="cpu", resume=True)
    with pytest.raises(UserError, match='recipe model was "cnn", is "level"'):
        train(prepared, shutil.copytree(run, tmp_path / "cnn"), model="level", device="cpu", resume=True)
    assert contents(old) == contents(trained("level"))


def test_a_fit_goes_on_from_nothing_only_if_it_may(prepared, tmp_path):
    with pytest.raises(UserError, match="holds no trained forecaster"):
        train(prepared, tmp_path / "run", model="level", device="cpu", resume=True)
    with pytest.raises(UserError, match="--force would remove"):
        train(prepared, tmp_path / "run", model="level", device="cpu", resume=True, force=True)
    assert not list(tmp_path.iterdir())
    assert train(prepared, tmp_path / "run", model="level", device="cpu", resume="auto")["training_windows"] > 0


def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_fitted(prepared, trained, monkeypatch):
    def no_fit(*_):
        raise AssertionError("it was fitted")

    monkeypatch.setattr("hews_gpu.forecasters.hewsnet.HewsNetForecaster.fit", no_fit)
    for model in ("hewsnet", "stack"):
        with pytest.raises(UserError, match="exists already"):
            train(prepared, trained("level"), model=model, device="cpu")


def test_a_stack_says_what_it_kept_and_what_it_did_not_try(prepared, tmp_path, capsys):
    summary = train(prepared, tmp_path / "run", device="cpu")
    told = capsys.readouterr().err
    kept = open_run(tmp_path / "run").forecaster.fitted.experts
    assert summary["model"] == "stack" and summary["experts"] == (", ".join(kept) or "none")
    assert "a quick cnn adds" in told
    assert all(f"{name} adds" in told for name in kept)
