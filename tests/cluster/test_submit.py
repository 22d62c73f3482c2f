"""`hews submit` where there is no SLURM: what it would submit, and what it refuses (tests/slurm has the real thing)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hews_gpu.config import city_template


def hews(*arguments, cwd, code=0):
    """Run the command as on a machine without SLURM: a folder with its clients is taken out of PATH."""
    folders = [entry for entry in os.environ["PATH"].split(":") if not (Path(entry) / "sbatch").exists()]
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("HEWS_", "SBATCH_", "SLURM"))}
    command = [sys.executable, "-m", "hews_gpu", *map(str, arguments)]
    environment = {**keep, "PATH": ":".join([*folders, str(cwd / "bin")])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "city.toml").write_text(city_template("demo"))
    (tmp_path / "bin").mkdir()
    for name in ("bash", "env"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    return tmp_path


def option(text, script, key):
    part = text[text.index(f"slurm/{script}.sbatch:\n") :]
    return re.search(rf"^#SBATCH --{key}=(.*)$", part, re.MULTILINE).group(1)


def test_the_whole_chain_is_printed_anywhere_and_nothing_is_written(folder):
    size = ("--nodes", 2, "--gpus-per-node", 4, "--model", "cnn")
    text = hews("submit", "pipeline", "city.toml", *size, "--dry-run", cwd=folder).stdout
    commands = [line for line in text.splitlines() if line.startswith("$ ")]
    assert [Path(line.split()[-1]).name for line in commands] == [
        f"{name}.sbatch" for name in ("prepare", "train", "evaluate", "report")
    ]
    assert "--dependency" not in commands[0]
    for before, command in zip(("PREPARE", "TRAIN", "EVALUATE"), commands[1:], strict=True):
        assert f"--dependency=afterok:JOB_OF_{before} --kill-on-invalid-dep=yes" in command
    assert [option(text, "train", key) for key in ("nodes", "gpus-per-node", "ntasks-per-node")] == ["2", "4", "4"]
    assert option(text, "evaluate", "nodes") == "1"
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(("gpus", "tasks"), [(0, "1"), (1, "1"), (3, "3")])
def test_one_task_per_gpu(folder, gpus, tasks):
    text = hews(
        "submit", "pipeline", "city.toml", "--model", "cnn", "--gpus-per-node", gpus, "--dry-run", cwd=folder
    ).stdout
    assert option(text, "train", "ntasks-per-node") == tasks
    assert ("#SBATCH --gpus-per-node=" in text) == (gpus > 0)


def test_without_slurm_it_says_where_to_go(folder):
    done = hews("submit", "pipeline", "city.toml", cwd=folder, code=2)
    assert done.stderr.startswith("hews: sbatch: is not installed here. Run this on a login node")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("city.toml", "--nodes", "0"), "--nodes = 0: must be 1 or more"),
        (("city.toml", "--recipe", "forcast"), "Did you mean 'forecast'"),
        (("city.toml", "--model", "cnm"), "Did you mean 'cnn'"),
        (("city.toml", "--nodes", "2"), "tasks = 2: is more than one: stack is fitted by one process"),
        (("none.toml",), "none.toml"),
        (("city.toml", "--site", "none.env"), "none.env': is not a file"),
    ],
)
def test_mistakes_are_found_before_anything_is_submitted(folder, arguments, words):
    done = hews("submit", "pipeline", *arguments, "--dry-run", cwd=folder, code=2)
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_sweep_is_one_array(folder):
    (folder / "s.toml").write_text('prepared = "p"\nat_once = 2\n[grid]\nseed = [1, 2, 3]\n')
    text = hews("submit", "sweep", "s.toml", "--dry-run", cwd=folder).stdout
    assert option(text, "sweep", "array") == "0-2%2"
    assert option(text, "sweep", "output").endswith("runs/s/slurm/logs/hews-sweep-%A_%a.log")
    (folder / "s.toml").write_text('prepared = "p"\n[grid]\nseed = [1, -2]\n')
    assert "must be 0 or more" in hews("submit", "sweep", "s.toml", "--dry-run", cwd=folder, code=2).stderr


def test_benchmarks_have_a_node_for_themselves(folder):
    text = hews("submit", "bench", "raster", "pip", "--quick", "--dry-run", cwd=folder).stdout
    assert text.count("#SBATCH --exclusive\n") == 2
    assert "set -- pip --quick" in text
    assert "Did you mean 'raster'" in hews("submit", "bench", "rastr", "--dry-run", cwd=folder, code=2).stderr


def test_each_job_waits_for_the_one_before_it(folder):
    """With a stand-in for sbatch that numbers its jobs and notes what it was given."""
    note = 'echo "$*" >> sbatch.log; n=0; while read -r _; do n=$((n + 1)); done < sbatch.log; echo $((100 + n))'
    sbatch = folder / "bin" / "sbatch"
    sbatch.write_text(f'#!/bin/bash\ncase "$*" in *--test-only*) exit 0 ;; esac\n{note}\n')
    sbatch.chmod(0o755)
    hews("submit", "pipeline", "city.toml", cwd=folder)
    lines = (folder / "sbatch.log").read_text().splitlines()
    assert [Path(line.split()[-1]).stem for line in lines] == ["prepare", "train", "evaluate", "report"]
    waits = [re.findall(r"--dependency=(\S+) --kill-on-invalid-dep=yes", line) for line in lines]
    assert waits == [[], ["afterok:101"], ["afterok:102"], ["afterok:103"]]
    jobs = json.loads((folder / "runs" / "city" / "slurm" / "jobs.json").read_text())["jobs"]
    assert [(job["name"], job["id"]) for job in jobs] == [
        ("prepare", "101"), ("train", "102"), ("evaluate", "103"), ("report", "104")
    ]  # fmt: skip
