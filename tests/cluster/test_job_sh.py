"""What every job does first and last, in Bash alone; tests/slurm has the rest on a real cluster."""

import os
import subprocess

import pytest

from hews_gpu.cluster.job_files import SHIPPED
from hews_gpu.cluster.jobs import events_of


def job(tmp_path, body, site="", **environment):
    """Run the lines of a job after `begin train city.toml`, as SLURM would start it on a node."""
    (tmp_path / "site.env").write_text(site)
    given = {
        "PATH": os.environ["PATH"],
        "HEWS_SLURM": str(SHIPPED),
        "HEWS_SITE": str(tmp_path / "site.env"),
        "HEWS_SCRATCH": str(tmp_path / "scratch"),
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "3",
    }
    script = f'set -euo pipefail\n. "$HEWS_SLURM/job.sh"\nbegin train some/where/city.toml\n{body}\n'
    command = ["bash", "-c", script]
    return subprocess.run(
        command, cwd=tmp_path, env={**given, **environment}, capture_output=True, text=True, check=False
    )


def test_the_folder_is_the_citys_and_both_ends_of_a_job_are_noted(tmp_path):
    done = job(tmp_path, 'echo "$OUT"; exit 3', SLURM_RESTART_COUNT="2")
    assert (done.returncode, done.stdout.strip()) == (3, "runs/city"), done.stderr
    found = events_of(tmp_path / "runs" / "city", "train")
    assert [(event.job, event.restart, event.word) for event in found] == [("7", 2, "begin"), ("7", 2, "end")]
    assert found[1].detail == "3"


def test_caches_lie_on_the_nodes_own_disk(tmp_path):
    names = ("NUMBA_CACHE_DIR", "CUPY_CACHE_DIR", "TMPDIR")
    done = job(tmp_path, "\n".join(f'echo "${name}"; test -d "${name}"' for name in names))
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(f"{tmp_path}/scratch/hews-") for line in done.stdout.splitlines())
    assert len(set(done.stdout.splitlines())) == len(names)


@pytest.mark.parametrize("what", ["link", "open", "file"])
def test_a_scratch_folder_that_another_user_may_have_made_is_refused(tmp_path, what):
    """Its name can be guessed, and compiled code in it is run."""
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    scratch, planted = tmp_path / "scratch" / f"hews-{user}", tmp_path / "planted"
    scratch.parent.mkdir()
    planted.mkdir()
    if what == "link":
        scratch.symlink_to(planted)
    elif what == "open":
        scratch.mkdir()
        scratch.chmod(0o777)
    else:
        scratch.write_text("")
    done = job(tmp_path, "echo began")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a folder that only you can write to; set HEWS_SCRATCH" in done.stderr
    assert not list(planted.iterdir())


def test_the_scratch_folder_is_private(tmp_path):
    for _ in range(2):
        assert job(tmp_path, "true").returncode == 0
    (scratch,) = (tmp_path / "scratch").iterdir()
    assert scratch.stat().st_mode & 0o777 == 0o700


def test_a_task_of_an_array_has_its_own_notes(tmp_path):
    assert job(tmp_path, "true", SLURM_ARRAY_TASK_ID="4", HEWS_OUT=str(tmp_path / "out")).returncode == 0
    assert [event.detail for event in events_of(tmp_path / "out", "train", 4)][-1] == "0"


def test_in_a_container_python_is_the_containers(tmp_path):
    site = 'HEWS_CONTAINER="/a b/hews.sif"\nHEWS_CONTAINER_OPTIONS="--nv --bind /p"\nHEWS_PYTHON=/opt/hews/bin/python\n'
    done = job(tmp_path, "printf '%s\\n' \"${PYTHON[@]}\"", site)
    *words, image, python = done.stdout.splitlines()
    assert words[:3] == ["apptainer", "exec", "--bind"]
    assert words[4:] == ["--nv", "--bind", "/p"]
    assert (image, python) == ("/a b/hews.sif", "/opt/hews/bin/python")


def test_the_sites_setup_runs_and_its_failure_ends_the_job(tmp_path):
    done = job(tmp_path, "echo after", "hews_setup() { echo setting up; return 5; }\n")
    assert (done.returncode, done.stdout) == (5, "setting up\n")
    assert events_of(tmp_path / "runs" / "city", "train")[-1].detail == "5"


@pytest.mark.parametrize("name", ["prepare", "train-nodes", "sweep", "backtest", "bench"])
def test_a_job_without_its_file_says_how_it_is_given(name, tmp_path):
    command = ["bash", str(SHIPPED / f"{name}.sbatch")]
    environment = {"PATH": os.environ["PATH"], "HEWS_SLURM": str(SHIPPED)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"slurm/{name}.sbatch" in done.stderr
    assert not list(tmp_path.iterdir())
