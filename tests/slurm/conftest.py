"""A SLURM cluster of two nodes and a small city, once for all tests of this folder."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTLE_S = 3  # in the second of its requeue a node refuses the job: its old credential was revoked "now"
SHORT = {
    'train = ["2021-01-01", "2021-09-01"]': 'train = ["2021-01-01", "2021-03-01"]',
    'validation = ["2021-09-01", "2021-10-01"]': 'validation = ["2021-03-01", "2021-03-15"]',
    'test = ["2021-10-01", "2022-01-01"]': 'test = ["2021-03-15", "2021-04-01"]',
    "epochs = 8 ": "epochs = 12",
    "batch_size = 128": "batch_size = 32 ",
    "patience = 3 ": "patience = 99",
    "height = 32": "height = 16",
    "width = 32": "width = 16",
}


def _lab_module() -> ModuleType:
    """The file beside this one; tests are imported by path, so that there is no package to import it from."""
    spec = importlib.util.spec_from_file_location("hews_slurm_lab", Path(__file__).with_name("lab.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


LAB = _lab_module()


class Cluster(LAB.Lab):
    """The lab, with `hews` run on its login node."""

    root: Path

    def hews(self, *arguments: str | Path, code: int | None = 0, timeout_s: float = 120) -> SimpleNamespace:
        """Run the command in the cluster's folder; `code` is what it must end with."""
        command = [sys.executable, "-m", "hews_gpu", *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, cwd=self.root, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert code is None or done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return SimpleNamespace(out=done.stdout, err=done.stderr, code=done.returncode)

    def sbatch(self, *arguments: str | Path, **environment: str) -> str:
        """Submit by hand; the job's id."""
        command = ["sbatch", "--parsable", *map(str, arguments)]
        return self.client(*command, cwd=self.root, **environment).strip()

    def log(self, job: str, folder: Path | None = None) -> str:
        """What a job has written so far."""
        found = [*(folder or self.root).glob(f"hews-*-{job}.log")]
        return "".join(path.read_text(errors="replace") for path in found)

    def begin_again_now(self, job: str) -> None:
        """A requeued job waits for two minutes otherwise, which gives SLURM time to settle: it gets a little."""
        self.wait(job, states=["PENDING"])
        time.sleep(SETTLE_S)
        self.client("scontrol", "update", f"JobId={job}", "StartTime=now")

    def finish(self, job: str, timeout_s: float = 180) -> str:
        """Wait until a job is over, and never for a requeued one to begin; its state."""
        found: list[str] = []

        def is_over() -> bool:
            state = self.job(job)
            if state["JobState"] == "PENDING" and state["Reason"] == "BeginTime":
                self.begin_again_now(job)
            found.append(state["JobState"])
            return found[-1] in LAB.OVER

        LAB.wait_for(is_over, timeout_s, f"the end of job {job}", lambda: f"{self.job(job)}\n{self.log(job)}")
        return found[-1]

    def wait_for(self, is_true, timeout_s: float, what: str, more=str) -> None:
        LAB.wait_for(is_true, timeout_s, what, more)


@pytest.fixture(scope="session")
def lab_module() -> ModuleType:
    return LAB


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster; the tests are skipped, saying why, where it cannot be."""
    if why := LAB.why_no_lab():
        pytest.skip(f"no SLURM lab: {why}")
    folder = Path(tempfile.mkdtemp(prefix="hews-lab-"))  # short: pytest's own are too long for a socket's path
    lab = Cluster(folder)
    lab.root = folder / "work"
    lab.root.mkdir()
    (lab.root / "slurm").symlink_to(ROOT / "slurm")
    lab.environment |= {"OMP_NUM_THREADS": "1", "HEWS_PYTHON": sys.executable, "HEWS_SCRATCH": str(folder)}
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()
        left = lab.processes()
        shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"processes of the cluster outlived it: {left}"


@pytest.fixture(scope="session")
def city(cluster: Cluster) -> Path:
    """A generated city of three months, ready to be prepared."""
    from hews_gpu.synthetic import write_city

    path = write_city(cluster.root / "city", years=1)
    text = path.read_text(encoding="utf-8")
    for before, after in SHORT.items():
        assert before in text, before
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return path
