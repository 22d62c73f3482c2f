"""What TensorBoard is shown is what was logged, also after a resume; a log that cannot be written stops nothing."""

import csv
import math
import resource

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hews_gpu.runs.train import train
from hews_gpu.training.logs import RunLog


def shown(folder):
    """What TensorBoard reads back: {tag: [(step, value)]}."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_steps_and_epochs_are_shown(tmp_path):
    with RunLog(tmp_path / "logs") as log:
        log.step(1, {"loss": 0.75, "learning_rate": 0.1})
        log.step(2, {"loss": 0.5, "learning_rate": 0.2})
        log.epoch(2, {"epoch": 1, "train_loss": 0.6, "order": "ab12", "samples_per_s": None, "waiting_s": math.nan})
    assert shown(tmp_path / "logs") == {
        "step/loss": [(1, 0.75), (2, 0.5)],
        "step/learning_rate": [(1, 0.1), (2, 0.2)],
        "epoch/epoch": [(2, 1)],
        "epoch/train_loss": [(2, 0.6)],
    }


def test_what_is_done_again_after_a_stop_is_shown_once(tmp_path):
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3, 4):
            log.step(step, {"loss": step / 10})
    with RunLog(tmp_path, purge_step=3) as log:
        for step in (3, 4, 5):
            log.step(step, {"loss": step})
    assert shown(tmp_path) == {"step/loss": [(1, 0.1), (2, 0.2), (3, 3), (4, 4), (5, 5)]}


def test_a_run_shows_each_step_once_also_after_a_stop(prepared, run, tmp_path):
    stopped = tmp_path / "stopped"
    train(prepared, stopped, model="cnn", device="cpu", max_epochs=1)
    train(prepared, stopped, model="cnn", device="cpu", resume=True)
    here, there = shown(stopped / "logs"), shown(run / "logs")
    assert {name: here[name] for name in ("step/loss", "step/learning_rate")} == {
        name: there[name] for name in ("step/loss", "step/learning_rate")
    }
    with (stopped / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    steps, losses = zip(*here["step/loss"], strict=True)
    assert list(steps) == list(range(1, 40))  # 3 epochs of 13
    means = np.reshape(losses, (3, 13)).mean(1)  # the mean of an epoch's steps is what history.csv calls its loss
    np.testing.assert_allclose(means, [float(row["train_loss"]) for row in rows], atol=1e-4)
    for name in ("train_loss", "validation_log_loss", "seconds", "samples_per_s", "waiting_s", "peak_memory_mib"):
        values = [round(float(row[name]), 4) for row in rows]
        assert [step for step, _ in here[f"epoch/{name}"]] == [13, 26, 39]
        np.testing.assert_allclose([value for _, value in here[f"epoch/{name}"]], values, rtol=1e-5, atol=1e-4)


def test_other_processes_write_nothing(tmp_path):
    with RunLog(None) as log:
        log.step(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_a_log_that_cannot_be_made_is_told_and_done_without(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with RunLog(tmp_path / "file" / "logs") as log:
        log.step(1, {"loss": 1.0})
    assert "no TensorBoard log" in capsys.readouterr().err


@pytest.fixture
def small_files():
    """Files may not grow beyond 32 KiB: what a full disk is like, for real."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**15, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_without_room_ends_the_log_and_not_the_run(tmp_path, small_files, capsys):
    with RunLog(tmp_path) as log:
        for step in range(2000):
            log.step(step, {"loss": 1.0, "learning_rate": 1.0})
    assert capsys.readouterr().err.count("TensorBoard's log ends here") == 1
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2**15
