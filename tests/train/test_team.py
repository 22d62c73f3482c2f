"""Several processes: who they are, how they start and stop together, and that they learn what one learns."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

from benchmarks.kills import Trainer, wait
from hews_gpu.errors import UserError
from hews_gpu.train.recipe import load_recipe
from hews_gpu.train.team import Place, Team, find_place
from hews_gpu.train.together import is_loss

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "5", "SLURM_NTASKS": "8"}


@pytest.mark.parametrize(
    ("devices", "environ", "place"),
    [
        (None, {}, Place()),
        (2, {}, Place(size=2, local_size=2)),
        (2, {"HEWS_RANK": "1", "HEWS_PROCESSES": "2", "HEWS_PORT": "9"}, Place(rank=1, size=2, local_size=2, port=9)),
        (None, TORCHRUN, Place(rank=3, size=4, local_size=2, started_by="torchrun")),
        (2, TORCHRUN, Place(rank=3, size=4, local_size=2, started_by="torchrun")),
        (None, SRUN, Place(rank=5, size=8, local_size=4, started_by="srun")),
        (None, {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, Place()),  # a batch script, not srun
        (None, {**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, Place()),
    ],
)
def test_where_a_process_finds_its_place(devices, environ, place):
    assert find_place(devices, environ) == place


@pytest.mark.parametrize(
    ("place", "environ", "local_rank"),
    [
        (Place(rank=1, size=2, local_size=2), {}, 1),
        (Place(rank=3, size=4, local_size=2, started_by="torchrun"), {"LOCAL_RANK": "1"}, 1),
        (
            Place(rank=1, size=4, local_size=2, started_by="srun"),
            {"SLURM_LOCALID": "0", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"},
            0,
        ),  # dealt out in turn
    ],
)
def test_each_process_of_a_machine_has_a_number_there(place, environ, local_rank, monkeypatch):
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    assert place.local_rank == local_rank


def test_devices_must_be_what_was_started():
    with pytest.raises(UserError, match="--devices = 3: must be the 2 processes that torchrun started"):
        find_place(3, TORCHRUN)


def test_a_team_of_one_needs_nobody():
    team = Team(Place(), "cpu", "32-true")
    team.join()
    assert (team.most(1, 0), team.gather("a"), team.from_first(2)) == ((1, 0), ["a"], 2)
    with pytest.raises(UserError, match="none"), team.as_one():
        raise UserError("any", allowed="none")
    with team.as_one():
        pass
    team.leave()


def often(folder):
    """A recipe that writes a checkpoint after each step."""
    path = folder / "often.toml"
    path.write_text(re.sub(r"(?m)^every_s .*$", "every_steps = 1", load_recipe().text), encoding="utf-8")
    return path


def rows(run):
    with (run / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def started(*command):
    """A command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_hews_starts_two_a_signal_stops_both_and_torchrun_goes_on(prepared, run, tmp_path):
    pair, recipe = tmp_path / "pair", str(often(tmp_path))
    arguments = ["train", str(prepared), "--out", str(pair), "--recipe", recipe, "--device", "cpu"]
    first = started(sys.executable, "-m", "hews_gpu", *arguments, "--devices", "2")
    while not list(pair.glob("checkpoints/step-00000002*")) and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)  # the first process alone: it must tell the other
    _, said = first.communicate(timeout=60)
    assert first.returncode == 75, said
    assert said.count("Give the same command with --resume to go on.") == 1 and "Traceback" not in said
    with pytest.raises(ProcessLookupError):  # nobody of the group is left
        os.killpg(first.pid, 0)
    assert not (pair / "weights.safetensors").exists()

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    second = started(*torchrun, "-m", "hews_gpu", *arguments, "--resume", "auto")
    told, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert told.count("Trained into") == 1
    assert said.count("goes on from step") == 1
    assert [row["order"] for row in rows(pair)] == [row["order"] for row in rows(run)]
    for mine, other in zip(rows(pair), rows(run), strict=True):
        for column in ("train_loss", "validation_log_loss"):
            assert float(mine[column]) == pytest.approx(float(other[column]), rel=1e-6)


def test_what_one_refuses_stops_all(toy, run, tmp_path):
    """The first process finds that the run belongs to other settings; the other hears of it and ends, too."""
    other = toy.write(tmp_path / "prepared", toy.incidents(), learning_rate=0.02)
    (tmp_path / "run").symlink_to(run)
    processes = Trainer(other, processes=2).start(tmp_path / "run")
    wait(processes, [1, 2])  # an exception, and a silent end
    assert not (tmp_path / "run.1.log").read_text().count("Error")


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (RuntimeError("[/x/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:1: Connection reset by peer."), True),
        (dist.DistBackendError("NCCL communicator was aborted on rank 0."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), False),
    ],
)
def test_the_loss_of_another_process_is_told_from_a_defect_of_ours(error, is_one):
    """Worded as gloo words it (seen on the SLURM lab, where a node was killed) and as NCCL does."""
    assert is_loss(error) == is_one
