"""Killed with SIGKILL, a run goes on as if nothing had happened: a handful here, a hundred in studies/kills.py."""

import signal

import pytest

from studies.kills import Life, Trainer, await_step, contents, disturb, wait


@pytest.fixture(scope="module")
def alone(prepared):
    return Trainer(prepared)


def test_random_kills_leave_no_trace(alone, tmp_path, run):
    life = Life(start_s=1.0, training_s=1.0, steps=39)
    tally = disturb(alone, tmp_path, run, life, kills=3, seed=1)
    assert (tally.kills, tally.different) == (3, 0)
    assert tally.before_the_first_checkpoint < 3


@pytest.mark.parametrize(
    "call",
    [
        ("os.fsync", 25),  # written, not yet flushed
        ("Path.replace", 26),  # flushed, not yet named
    ],
)
def test_a_kill_within_a_checkpoint_write_leaves_no_trace(alone, tmp_path, run, call):
    killed = tmp_path / "killed"
    wait(alone.start(killed, kill_at=call), [-signal.SIGKILL])
    assert len(list((killed / "checkpoints").glob("step-*"))) >= 2
    assert list(killed.glob("checkpoints/.*.partial-*"))
    alone.finish(killed)
    assert contents(killed) == contents(run)
    assert not list(killed.rglob(".*"))


def test_of_two_processes_one_is_killed_and_both_go_on(prepared, tmp_path, run):
    pair, killed = Trainer(prepared, processes=2), tmp_path / "killed"
    pair.finish(tmp_path / "yardstick")
    processes = pair.start(killed)
    await_step(processes, killed, 9)
    processes[1].kill()
    wait(processes)  # the other does not wait for ever
    assert processes[0].exitcode != 0
    pair.finish(killed)
    expected = contents(tmp_path / "yardstick")
    assert contents(killed) == expected
    one, two = contents(run)[1]["position"]["history"], expected[1]["position"]["history"]
    assert [row["order"] for row in one] == [row["order"] for row in two]
    for mine, other in zip(one, two, strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)
        assert mine["validation"] == pytest.approx(other["validation"], rel=1e-6)
