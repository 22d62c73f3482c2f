"""What TensorBoard is shown is what was logged, also after a resume; a log that cannot be written stops nothing."""

import math
import resource

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hews_gpu.train.logs import RunLog


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
