"""Training: learns what is there, repeats itself to the bit, goes on after a stop, refuses what it cannot use."""

import errno
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hews_gpu.config import TrainingConfig
from hews_gpu.errors import UserError
from hews_gpu.train import loop
from hews_gpu.train.checkpoint import read_tensors
from hews_gpu.train.evaluate import evaluate
from hews_gpu.train.loop import learning_rate, train


def quick(prepared, run, **options):
    return train(prepared, run, device="cpu", **options)


def decided(checkpoint):
    """All of a checkpoint but the clock's part of the history."""
    tensors, notes = read_tensors(checkpoint, remedy="")
    for row in notes["position"]["history"]:
        del row["seconds"], row["samples_per_s"]
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
    assert decided(tmp_path / "again/checkpoint.safetensors") == decided(run / "checkpoint.safetensors")


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
    assert decided(stopped / "checkpoint.safetensors") == decided(run / "checkpoint.safetensors")


def stop_at(monkeypatch, steps):
    """Ctrl-C within a step, after `steps` whole ones."""
    real, count = loop._Trainer._step, iter(range(1000))

    def interrupted(self, batch):
        if next(count) == steps:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(loop._Trainer, "_step", interrupted)


def test_ctrl_c_keeps_the_last_checkpoint_and_says_how_to_go_on(prepared, run, tmp_path, monkeypatch, capsys):
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        stop_at(patch, 17)  # 13 steps an epoch: in the second
        with pytest.raises(KeyboardInterrupt):
            quick(prepared, stopped)
    assert "--resume" in capsys.readouterr().err
    assert decided(stopped / "checkpoint.safetensors")[1]["position"]["epoch"] == 1
    assert not (stopped / "weights.safetensors").exists()
    assert not list(stopped.glob(".*"))
    quick(prepared, stopped, resume=True)
    assert (stopped / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()


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

    monkeypatch.setattr(loop._Trainer, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(prepared, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_run_that_exists_is_refused_and_replaced_only_by_force(prepared, run, tmp_path):
    old = shutil.copytree(run, tmp_path / "run")
    (old / "metrics.json").write_text("{}", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    with pytest.raises(UserError, match=r"--out.*exists already.*--force"):
        quick(prepared, old)
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    quick(prepared, old, force=True, max_epochs=0)
    assert not (old / "metrics.json").exists()
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize(
    "where", ["loop._Trainer.start", "runs.shutil.copyfile", "loop.save_checkpoint", "checkpoint.save"]
)
def test_force_keeps_the_older_run_until_the_first_checkpoint(prepared, run, tmp_path, monkeypatch, where, error):
    old = shutil.copytree(run, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in old.iterdir()}

    def stop(*_, **__):
        raise error

    monkeypatch.setattr(f"hews_gpu.train.{where}", stop)
    with pytest.raises((KeyboardInterrupt, OSError, UserError)):
        quick(prepared, old, force=True)
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
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
    decided(old / "checkpoint.safetensors")
    quick(prepared, old, resume=True, max_epochs=0)


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
    before = (old / "checkpoint.safetensors").read_bytes()
    changed = toy.write(tmp_path / "settings", toy.incidents(), learning_rate=0.02, cells=9)
    with pytest.raises(UserError, match=r"learning_rate was 0\.01, is 0\.02") as caught:
        quick(changed, old, resume=True)
    assert "[channels] height was 8, is 9" in str(caught.value)
    other = toy.write(tmp_path / "data", toy.incidents().iloc[:-1])
    with pytest.raises(UserError, match="data_fingerprint was"):
        quick(other, old, resume=True)
    assert (old / "checkpoint.safetensors").read_bytes() == before
    assert json.loads((old / "hews.json").read_text())["state"] == "trained"


def test_a_damaged_checkpoint_is_refused(prepared, run, tmp_path):
    old = shutil.copytree(run, tmp_path / "run")
    whole = (old / "checkpoint.safetensors").read_bytes()
    for damaged in (whole[:-100], b"", b"\xff" * len(whole)):
        (old / "checkpoint.safetensors").write_bytes(damaged)
        with pytest.raises(UserError, match=r"checkpoint\.safetensors.*cannot be read"):
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
    assert metrics["splits"]["validation"]["log_loss_bits"] == pytest.approx(summary["validation_log_loss_bits"])
    assert metrics["log_skill_bits_interval"][0] <= 0


def test_learning_rate_rises_then_falls_to_nothing():
    config = TrainingConfig(learning_rate=0.1)
    rates = [learning_rate(config, step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1) == rates[9] == rates[10]
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert 0 < rates[-1] < 1e-4
    assert learning_rate(config, 0, 1) == pytest.approx(0.1)
