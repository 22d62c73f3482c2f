"""Several ranks: how they are numbered, started and stopped, and that they learn what one process learns."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

from hews_gpu.errors import UserError
from hews_gpu.training.distributed import ProcessGroup, is_connection_loss
from hews_gpu.training.ranks import ProcessInfo, meeting_place, process_info, start_ranks
from hews_gpu.training.recipe import load_recipe
from studies.kills import Trainer, wait

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
BY_TORCHRUN = ProcessInfo(rank=3, world_size=4, local_rank=1, local_world_size=2, launcher="torchrun")
SRUN = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "2",  # tasks are dealt out in turn
    "SLURM_NTASKS": "8",
}
BY_SRUN = ProcessInfo(rank=5, world_size=8, local_rank=2, local_world_size=4, launcher="srun")


@pytest.mark.parametrize(
    ("devices", "environ", "info"),
    [
        (None, {}, ProcessInfo()),
        (2, {}, ProcessInfo(world_size=2, local_world_size=2)),
        (None, TORCHRUN, BY_TORCHRUN),
        (2, TORCHRUN, BY_TORCHRUN),
        (None, SRUN, BY_SRUN),
        (None, {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, ProcessInfo()),  # a batch script
        (None, {**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, ProcessInfo()),
    ],
)
def test_a_process_reads_its_rank_from_the_environment(devices, environ, info):
    assert process_info(devices, environ) == info


@pytest.mark.parametrize(
    ("devices", "said"), [(3, "must be the 2 processes that torchrun started"), (0, "must be 1 or more")]
)
def test_devices_must_be_what_was_started(devices, said):
    with pytest.raises(UserError, match=f"--devices = {devices}: {said}"):
        process_info(devices, TORCHRUN)


def port(number):
    return {"MASTER_PORT": str(number)}


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"SLURM_NODELIST": "gpu[03-05,08],big1", "SLURM_JOB_ID": "123456"}, {"MASTER_ADDR": "gpu03", **port(18456)}),
        ({"SLURM_NODELIST": "big1,gpu[03-05]", "SLURM_JOB_ID": "7"}, {"MASTER_ADDR": "big1", **port(15007)}),
        (
            {"SLURM_NODELIST": "big1,gpu7", "SLURM_STEP_NODELIST": "rack2-gpu[7,9]", "MASTER_PORT": "4000"},
            {"MASTER_ADDR": "rack2-gpu7"},
        ),
        ({"SLURM_JOB_ID": "7", "MASTER_ADDR": "fd00::1"}, port(15007)),
        ({"SLURM_NODELIST": "gpu[1-2]", "MASTER_ADDR": "", "MASTER_PORT": "4000"}, {"MASTER_ADDR": "gpu1"}),
        ({"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}, {}),
    ],
)
def test_tasks_of_srun_meet_on_the_first_node(environ, place):
    assert meeting_place(BY_SRUN, environ) == place


def test_others_meet_where_torchrun_says():
    assert meeting_place(BY_TORCHRUN, {}) == {}


RANKS = """
import os, sys
from hews_gpu.training import distributed as module
from hews_gpu.training.ranks import process_info
module.WAIT_S = 0.5
rank = int(sys.argv[1])
info = process_info(None)
with module.process_group(info, module.Choice(device="cpu", why="")) as group:
    print(info.launcher, group.gather(rank), flush=True)
"""
PLAIN_SRUN = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}
PLAIN_SRUN |= {"SLURM_JOB_ID": "77123", "SLURM_JOB_NAME": "hews", "SLURM_NODELIST": "localhost", "SLURM_NODEID": "0"}


def rank_of_srun(rank, script=RANKS, *arguments):
    """One task of `srun -n 2 hews train`, as srun starts it where nobody asked for tasks per node."""
    port = str(25000 + os.getpid() % 5000)
    environment = {**os.environ, **PLAIN_SRUN, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", script, str(rank), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_tasks_that_srun_started_without_a_number_per_node_meet():
    ranks = [rank_of_srun(rank) for rank in range(2)]
    ends = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], ends
    assert [end[0].strip() for end in ends] == ["srun [0, 1]"] * 2


ALONE = """
import sys
from pathlib import Path
from hews_gpu.runs.score import score
from hews_gpu.runs.train import train
prepared, run, out = map(Path, sys.argv[2:])
trained = train(prepared, run, model="level", device="cpu")
print(bool(trained), (run / "weights.safetensors").is_file())
scored = score(run, prepared, out, device="cpu")
print(bool(scored), (out / "forecasts.parquet").is_file())
"""


def test_tasks_wait_for_the_one_that_fits_or_scores_what_is_no_network(prepared, tmp_path):
    """SLURM would end the step, and that one with it, soon after the first of its tasks has ended."""
    folders = prepared, tmp_path / "run", tmp_path / "scores"
    ranks = [rank_of_srun(rank, ALONE, *folders) for rank in range(2)]
    ends = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], ends
    assert [end[0].split() for end in ends] == [["True", "True"] * 2, ["False", "True"] * 2], ends


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_whose_peer_never_comes_says_so_and_ends_at_once_when_told(rank):
    process = rank_of_srun(rank)
    try:
        assert f"process {rank + 1} of 2 waits for the others" in next(
            line for line in process.stderr if "waits" in line
        )
        told = time.monotonic()
        process.terminate()
        process.wait(timeout=20)
        assert time.monotonic() - told < 10
    finally:
        process.kill()
        process.communicate()


def test_tasks_of_srun_that_nodes_share_unevenly_are_refused():
    with pytest.raises(UserError, match="tasks of the srun step = 3: must be divisible by its 2 nodes"):
        process_info(None, {**SRUN, "SLURM_STEP_NUM_TASKS": "3"})


def test_a_group_of_one_needs_no_other():
    group = ProcessGroup(ProcessInfo(), "cpu")
    assert (group.all_reduce_max(1, 0), group.gather("a"), group.broadcast(2)) == ((1, 0), ["a"], 2)
    assert group.on_first_rank(lambda: 3) == 3
    with pytest.raises(UserError, match="none"), group.raise_on_all_ranks():
        raise UserError("any", allowed="none")
    with group.raise_on_all_ranks():
        pass


def test_ranks_are_started_with_the_environment_of_torchrun_which_is_put_back(monkeypatch, tmp_path):
    """Rank 1 leaves a folder, to show that it ran; a variable that the user had set is theirs again afterwards."""
    monkeypatch.setenv("MASTER_PORT", "7")
    before, made = dict(os.environ), tmp_path / "made by rank 1"
    with start_ranks(ProcessInfo(world_size=2, local_world_size=2), "os:mkdir", str(made)):
        first = process_info(None)
        assert (first.rank, first.world_size, first.launcher) == (0, 2, "torchrun")
        assert os.environ["MASTER_PORT"] != "7"
        until = time.monotonic() + 60  # at the end of the block it would have a few seconds only
        while not made.is_dir() and time.monotonic() < until:
            time.sleep(0.02)
    assert made.is_dir() and dict(os.environ) == before


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
    arguments = ["train", str(prepared), "--out", str(pair), "--recipe", recipe, "--model", "cnn", "--device", "cpu"]
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
def test_the_loss_of_another_rank_is_told_from_a_defect_of_ours(error, is_one):
    """Worded as gloo words it (seen on the SLURM lab, where a node was killed) and as NCCL does."""
    assert is_connection_loss(error) == is_one
