"""Checkpoints: the same content gives the same bytes, and the last few and the best stay whatever the disk does."""

import contextlib
import json
import re
import resource
import subprocess
import sys

import pytest
import torch

from hews_gpu.errors import UserError
from hews_gpu.runs.train import train
from hews_gpu.training.checkpoint import (
    Checkpoints,
    Snapshot,
    read_tensors,
    require_same_settings,
    write_tensors,
)
from hews_gpu.training.recipe import load_recipe, parse_recipe
from hews_gpu.training.tensor_file import FORMAT

SCRIPT = """
import sys, torch
from pathlib import Path
from hews_gpu.training.checkpoint import write_tensors
tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.ones(())}
write_tensors(Path(sys.argv[1]), tensors, {"zeta": 1, "alpha": [1.5, None], "mid": {"y": 1, "x": 2}})
"""


def test_content_comes_back_whole(tmp_path):
    tensors = {"b": torch.randn(3, 4).T, "a": torch.tensor(1.0)}
    write_tensors(tmp_path / "file", tensors, {"pi": 3.141592653589793, "none": None})
    found, notes = read_tensors(tmp_path / "file", remedy="")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert notes == {"format": FORMAT, "pi": 3.141592653589793, "none": None}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_process_writes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / name)], check=True)
    assert len({(tmp_path / name).read_bytes() for name in ("one", "two")}) == 1


def test_it_is_safetensors_and_no_pickle(tmp_path):
    write_tensors(tmp_path / "file", {"a": torch.ones(2)}, {})
    raw = (tmp_path / "file").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["a"]["dtype"] == "F32" and list(header["__metadata__"]) == ["hews"]
    torch.save({"a": torch.ones(2)}, tmp_path / "pickle")
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "pickle", remedy="Make it again")


def test_what_is_missing_or_foreign_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"does not exist\. Make it again"):
        read_tensors(tmp_path / "none", remedy="Make it again")
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(UserError, match="format"):
        read_tensors(tmp_path / "foreign", remedy="Make it again")


def test_differences_are_named():
    then = {"same": 1, "rate": 0.1, "gone": "x"}
    require_same_settings("file", then, dict(then))
    with pytest.raises(UserError, match=r'rate was 0\.1, is 0\.2; gone was "x", is null; new was null, is \[1\]'):
        require_same_settings("file", then, {"same": 1, "rate": 0.2, "new": [1]})
    with pytest.raises(UserError, match="and 2 more"):
        require_same_settings("file", {}, dict.fromkeys("abcde", 1))


def snapshot(step):
    return Snapshot(tensors={"model.a": torch.full((3,), float(step))}, notes={"step": step})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_few_stay_and_what_a_kill_left_goes(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert not checkpoints
    checkpoints.save(1, snapshot(1))
    (checkpoints.folder / ".step-00000002.safetensors.partial-1").write_bytes(b"half")
    for step in (2, 10, 3_000_000):
        checkpoints.save(step, snapshot(step))
    checkpoints.save_best(lambda path: write_tensors(path, {"a": torch.ones(1)}, {"epoch": 3}))
    assert names(checkpoints.folder) == ["best.safetensors", "step-00000010.safetensors", "step-03000000.safetensors"]
    assert checkpoints and checkpoints.load_last().notes["step"] == 3_000_000
    assert checkpoints.load_last().part("model")["a"].tolist() == [3_000_000.0] * 3


def test_no_byte_of_a_checkpoint_can_change_unseen(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(1, snapshot(1))
    checkpoints.save(2, snapshot(2))
    newest = checkpoints.folder / "step-00000002.safetensors"
    whole = newest.read_bytes()
    for place in range(0, len(whole), 3):
        newest.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert checkpoints.load_last().notes["step"] == 1, place
    for length in range(0, len(whole), 16):
        newest.write_bytes(whole[:length])
        assert checkpoints.load_last().notes["step"] == 1, length
    assert "going on from the one before it" in capsys.readouterr().err
    newest.write_bytes(whole)
    assert checkpoints.load_last().notes["step"] == 2


def often(**changes):
    """The shipped recipe with other [checkpoints]."""
    text = load_recipe().with_model("cnn").text
    for key, value in changes.items():
        text = "\n".join(f"{key} = {value}" if line.startswith(f"{key} ") else line for line in text.splitlines())
    return parse_recipe(text, "often")


@contextlib.contextmanager
def no_file_larger_than(size):
    """The system refuses to write more to any one file: needs no rights, and the write really fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of its own."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no 'mount' to make a small disk with")
    if done.returncode:
        pytest.skip(f"a small disk may not be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def begun(prepared, run):
    train(prepared, run, model="cnn", device="cpu", max_epochs=0)
    return run


def left_and_goes_on(prepared, stopped, run, step=0):
    """Nothing half-written is left, and the run goes on to the same bits once there is room."""
    left = [name for name in names(stopped / "checkpoints") if name != "best.safetensors"]
    assert left == [f"step-{step:08d}.safetensors"]
    train(prepared, stopped, model="cnn", device="cpu", resume=True)
    assert (stopped / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()


def test_a_checkpoint_that_does_not_fit_stops_the_run_and_leaves_the_last_one(prepared, run, tmp_path):
    stopped = begun(prepared, tmp_path / "run")
    said = r"checkpoints: files may not grow that large here; step-00000000.* is the last good.*--resume"
    with no_file_larger_than(20_000), pytest.raises(UserError, match=said):
        train(prepared, stopped, model="cnn", device="cpu", resume=True)
    left_and_goes_on(prepared, stopped, run)


def test_a_run_may_go_on_without_checkpoints(prepared, run, tmp_path, capsys):
    poor = begun(prepared, tmp_path / "run")
    with no_file_larger_than(20_000):
        train(prepared, poor, recipe=often(on_disk_full='"continue"'), model="cnn", device="cpu", resume=True)
    assert capsys.readouterr().err.count("is the last good checkpoint; training goes on without one") == 3
    assert (poor / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    left_and_goes_on(prepared, poor, run)


def test_a_full_disk_stops_the_run_and_leaves_the_last_one(prepared, run, tmp_path):
    with small_disk(tmp_path / "disk", "76k") as disk:
        said = "checkpoints: the disk is full; step-000000(.*).safetensors is the last good.*--resume"
        with pytest.raises(UserError, match=said) as caught:
            train(prepared, disk / "run", model="cnn", device="cpu")
        step = int(re.search(said, str(caught.value))[1])
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        left_and_goes_on(prepared, disk / "run", run, step)


def test_older_checkpoints_make_room_for_a_new_one(prepared, run, tmp_path):
    """The disk holds three small ones at most, and a fourth is written before the oldest goes."""
    with small_disk(tmp_path / "disk", "132k") as disk:
        train(prepared, disk / "run", model="cnn", device="cpu")
        assert "step-00000039.safetensors" in names(disk / "run" / "checkpoints")
        assert (disk / "run/weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()


def test_the_best_weights_so_far_can_be_used_while_a_run_is_under_way(prepared, run, tmp_path):
    train(prepared, tmp_path / "run", model="cnn", device="cpu", max_epochs=2)
    _, notes = read_tensors(tmp_path / "run/checkpoints/best.safetensors", remedy="")
    assert notes["epoch"] == 2 and notes["model"] == "cnn"
    assert (run / "checkpoints/best.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
