"""What `hews doctor` says, on this machine and on ones that are pretended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hews_gpu.environment import doctor, probes
from hews_gpu.environment.device import ProbeResult, probe
from hews_gpu.environment.doctor import ENGINES, TO_GET, Diagnosis, as_steps, as_table, diagnose

GPU_PROBES = {
    "driver",
    "gpu",
    "cuda_libraries",
    "cuda_compiler",
    "cudf",
    "cuspatial",
    "numba_cuda",
    "dali",
    "torch_cuda",
    "dask_cuda",
    "cuml",
    "umap",
}
NO_GPU = GPU_PROBES | {"slurm"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[str]], list[Diagnosis]]:
    """Diagnose a machine on which the named probes fail."""

    def diagnose_with(failing: set[str]) -> list[Diagnosis]:
        monkeypatch.setattr(doctor, "probe", lambda name: ProbeResult(name not in failing, f"{name} was asked"))
        return diagnose()

    return diagnose_with


def _chosen(rows: list[Diagnosis]) -> dict[str, str]:
    return {row["stage"]: row["engine"] for row in rows if row["status"] == "would run"}


LAPTOP = {
    "prepare: tables": "pandas",
    "prepare: point in polygon": "numba CPU",
    "rasterize": "numba CPU",
    "feed": "direct",
    "train": "torch CPU",
    "CNN on maps": "occupied cells, numba CPU",
    "groups": "scikit-learn",
    "cluster": "Dask local",
    "batch": "none: commands run here",
}


def test_without_a_gpu_every_stage_has_an_engine(machine: Callable[[set[str]], list[Diagnosis]]) -> None:
    assert _chosen(machine(NO_GPU)) == LAPTOP


def test_with_everything_the_engines_of_the_defaults_are_chosen(
    machine: Callable[[set[str]], list[Diagnosis]],
) -> None:
    gpu = {
        "rasterize": "numba CUDA",
        "train": "torch CUDA",
        "CNN on maps": "every cell, torch CUDA",
        "groups": "cuML (never run by us)",
        "batch": "SLURM (hews submit)",
    }
    assert _chosen(machine(set())) == {**LAPTOP, **gpu}


def test_dali_needs_no_gpu(machine: Callable[[set[str]], list[Diagnosis]]) -> None:
    (row,) = [row for row in machine(NO_GPU - {"dali"}) if row["engine"] == "DALI (--feed dali)"]
    assert (row["status"], row["why"], row["install"]) == ("works", "dali was asked", [])
    (row,) = [row for row in machine(NO_GPU) if row["engine"] == "DALI (--feed dali)"]
    assert (row["status"], row["install"]) == ("missing", [TO_GET["dali"]])


def test_a_gpu_that_torch_cannot_use_is_not_chosen(machine: Callable[[set[str]], list[Diagnosis]]) -> None:
    rows = machine({"torch_cuda"})
    assert _chosen(rows)["train"] == "torch CPU"
    (missing,) = [row for row in rows if row["engine"] == "torch CUDA"]
    assert missing["why"] == "torch_cuda was asked" and "CUDA build of torch" in missing["install"][0]


def test_a_stage_without_any_working_engine_says_so(machine: Callable[[set[str]], list[Diagnosis]]) -> None:
    rows = machine({*NO_GPU, "torch_cpu"})
    assert not {"train", "feed"} & set(_chosen(rows))
    assert all(row["install"] for row in rows if row["status"] == "missing")


@pytest.mark.parametrize("failing", [set(), NO_GPU])
def test_no_engine_is_said_to_be_missing_from_this_version(
    failing: set[str], machine: Callable[[set[str]], list[Diagnosis]]
) -> None:
    assert {cells[2] for cells in as_table(machine(failing))[1:]} <= {"would run", "works", "missing"}
    (batch,) = [row for row in machine(set()) if row["engine"].startswith("SLURM")]
    assert batch["status"] == "would run"


def test_each_missing_piece_is_told_once_and_for_every_engine_that_needs_it(
    machine: Callable[[set[str]], list[Diagnosis]],
) -> None:
    assert as_steps(machine({"cudf", "numba_cuda", "dali"})) == [
        "cuDF (--cluster cuda; never run by us), numba CUDA (with cuDF), numba CUDA:",
        f"    {TO_GET['cudf']}",
        "DALI (--feed dali):",
        f"    {TO_GET['dali']}",
    ]
    assert as_steps(machine({"gpu"}))[1] == f"    {TO_GET['gpu']}"
    assert as_steps(machine({"gpu", "dali"}))[2:] == ["DALI (--feed dali):", f"    {TO_GET['dali']}"]


def test_every_gpu_library_has_a_step_of_its_own_and_the_rest_one_in_common() -> None:
    assert set(TO_GET) == NO_GPU
    assert as_steps([]) == []


def test_every_probe_is_used_and_every_engine_has_known_probes() -> None:
    assert {name for engine in ENGINES for name in engine.probes} == set(probes.PROBES)


def test_the_table_is_rectangular_text(machine: Callable[[set[str]], list[Diagnosis]]) -> None:
    table = as_table(machine(NO_GPU))
    assert {len(row) for row in table} == {4} and all(isinstance(cell, str) for row in table for cell in row)


@pytest.fixture
def _broken_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every optional library is there, and each breaks in a way of its own."""
    broken = {
        "cudf": "raise RuntimeError('CUDARuntimeError: no device')",
        "cuspatial": "import ctypes; ctypes.string_at(0)",
        "nvidia": "raise ImportError('libdali.so is missing')",
        "dask_cuda": "import sys; sys.exit(7)",
        "numba": "raise SystemError('compiled for another numpy')",
        "shapely": "raise AttributeError('half installed')",
    }
    for name, code in broken.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "ENGINES", _with_gpu_assumed())
    probe.cache_clear()
    yield
    probe.cache_clear()


def _with_gpu_assumed() -> tuple[doctor.Engine, ...]:
    """The engines without their question for a GPU, so that the libraries themselves are tried."""
    return tuple(doctor.Engine(e.stage, e.name, tuple(p for p in e.probes if p != "gpu") or e.probes) for e in ENGINES)


@pytest.mark.usefixtures("_broken_libraries")
def test_broken_libraries_are_reported_and_the_rest_still_runs() -> None:
    rows = diagnose()
    why = {row["engine"]: row["why"] for row in rows}
    assert "CUDARuntimeError" in why["cuDF (--cluster cuda; never run by us)"]
    assert why["cuSpatial (not run in our tests)"] == "crashed with SIGSEGV when tried"
    assert why["DALI (--feed dali)"] == "ImportError: libdali.so is missing"
    assert why["Dask-CUDA (never run by us)"] == "ended its process with exit code 7 when tried"
    assert why["numba CPU"] == "SystemError: compiled for another numpy"
    (places,) = [row for row in rows if row["engine"] == "numba CPU" and row["stage"].startswith("prepare")]
    assert places["why"] == "SystemError: compiled for another numpy; AttributeError: half installed"
    chosen = _chosen(rows)
    assert chosen["prepare: tables"] == "pandas" and chosen["train"] == "torch CPU"
    assert "rasterize" not in chosen
    json.dumps(rows, allow_nan=False)
