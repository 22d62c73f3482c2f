"""Killed with SIGKILL, a run goes on as if nothing had happened: a handful here, a hundred in benchmarks/kills.py."""

import random
import signal

import pytest

from benchmarks.kills import Trainer, contents, disturb, kill, wait


@pytest.fixture(scope="module")
def alone(prepared):
    return Trainer(prepared)


def test_random_kills_leave_no_trace(alone, tmp_path, run):
    tally = disturb(alone, tmp_path, kills=3, seed=1)
    assert (tally.kills, tally.different) == (3, 0)
    assert tally.before_the_first_checkpoint < 3
    written_once_an_epoch, written_at_each_step = contents(run), contents(tmp_path / "run-0")
    assert written_at_each_step[0] == written_once_an_epoch[0]


@pytest.mark.parametrize(
    "call",
    [
        ("os.fsync", 25),  # written, not yet flushed
        ("Path.replace", 25),  # flushed, not yet named
        ("hews_gpu.train.checkpoints._remove", 25),  # named, the oldest not yet removed
    ],
)
def test_a_kill_within_a_checkpoint_write_leaves_no_trace(alone, tmp_path, run, call):
    killed = tmp_path / "killed"
    wait(alone.start(killed, kill_at=call), [-signal.SIGKILL])
    assert len(list((killed / "checkpoints").glob("step-*"))) >= 2
    alone.finish(killed)
    assert contents(killed)[0] == contents(run)[0]
    assert not list(killed.rglob(".*"))


def test_two_processes_are_killed_and_go_on(prepared, tmp_path, run):
    pair = Trainer(prepared, processes=2)
    tally = disturb(pair, tmp_path, kills=1, seed=3)
    assert (tally.kills, tally.different) == (1, 0)
    one, two = contents(run)[1]["position"]["history"], contents(tmp_path / "run-0")[1]["position"]["history"]
    assert [row["order"] for row in one] == [row["order"] for row in two]
    for mine, other in zip(one, two, strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)
        assert mine["validation"] == pytest.approx(other["validation"], rel=1e-5)
    # with one process lost, the other does not wait for ever
    processes = pair.start(tmp_path / "lost")
    while not (tmp_path / "lost").exists():
        processes[0].join(0.05)
    kill(processes[1:], random.Random(0))
    processes[0].join(30)
    assert processes[0].exitcode not in (None, 0)
