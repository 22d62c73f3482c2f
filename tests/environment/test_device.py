"""The choice of the device, and probes of libraries that misbehave in every way seen or feared."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from hews_gpu.environment import device, probes
from hews_gpu.environment.device import Choice, ProbeResult, choose_device, choose_raster_backend, probe
from hews_gpu.errors import UserError


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    probe.cache_clear()
    yield
    probe.cache_clear()


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Put a module of the given name and code where a child process finds it first."""

    def plant(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return plant


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('cudaErrorNoDevice: no CUDA-capable device\\nmore')", "RuntimeError: cudaErrorNoDevice"),
        ("raise ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12: cannot open"),
        ("class Odd(BaseException): pass\nraise Odd('not an Exception')", "exit code 1"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os; os._exit(0)", "exit code 0"),
        ("import ctypes; ctypes.string_at(0)", "crashed with SIGSEGV"),
        ("import os; os.abort()", "crashed with SIGABRT"),
        ("import wanted_by_cudf", "wanted_by_cudf is not installed"),
        ("raise MemoryError", "MemoryError"),
        ("print('hews-probe-answer [true, 1]'); raise ValueError('\\ud800 not text')", "ValueError"),
        ("import sys; sys.stdout.close(); raise RuntimeError('no output left')", "exit code 1"),
        ("raise RuntimeError('long ' * 1000)", "RuntimeError: long long"),
    ],
)
def test_a_library_that_breaks_becomes_a_reason(plant: object, code: str, reason: str) -> None:
    plant("cudf", code)
    found = probe("cudf")
    assert not found.works
    assert reason in found.why
    assert "\n" not in found.why and len(found.why) <= device.REASON_LIMIT


def test_a_library_that_hangs_is_given_up_on(plant: object) -> None:
    plant("cudf", "import time; time.sleep(60)")
    begin = time.monotonic()
    assert probe("cudf", timeout_s=1.0) == ProbeResult(False, "no answer within 1 s")
    assert time.monotonic() - begin < 15  # far below what it would sleep, far above what a busy machine adds


def test_a_library_that_gives_wrong_answers_does_not_work(plant: object) -> None:
    """An import proves nothing: this cuDF imports, and adds wrongly."""
    wrong = "class DataFrame:\n  def __init__(self, _): pass\n  def __getitem__(self, _): return self\n"
    plant("cudf", wrong + "  def sum(self): return 7\n__version__ = '1'")
    assert probe("cudf") == ProbeResult(False, "a sum gave 7 instead of 6")


def test_a_library_that_works_says_which(plant: object) -> None:
    plant("shapely", "__version__ = '9.9'\ndef box(*_): pass\ndef contains_xy(*_): return True")
    assert probe("shapely") == ProbeResult(True, "shapely 9.9")


def test_the_working_folder_does_not_shadow_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shapely.py").write_text("raise RuntimeError('a script of the user')")
    monkeypatch.chdir(tmp_path)
    assert probe("shapely").works


def test_the_simulator_of_numba_is_not_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    found = probe("numba_cuda")
    assert not found.works and "simulator" in found.why


@pytest.mark.parametrize("name", ["numba-cuda", "numba-cuda-mlir"])
def test_the_compiler_that_is_named_is_told_with_its_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name.replace("-", "_"), reason=f"{name} is not installed")
    monkeypatch.setenv("HEWS_CUDA_COMPILER", name)
    assert probe("cuda_compiler") == ProbeResult(True, f"{name} {version(name)}")


def test_a_compiler_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEWS_CUDA_COMPILER", "nvcc")
    why = "ValueError: HEWS_CUDA_COMPILER: is 'nvcc', must be one of numba-cuda, numba-cuda-mlir"
    assert probe("cuda_compiler") == ProbeResult(False, why)


def test_only_numba_cuda_has_a_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEWS_CUDA_COMPILER", "numba-cuda-mlir")
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    found = probe("cuda_compiler")
    assert not found.works and "has no simulator" in found.why


def test_each_probe_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: calls.append(a) or real(*a, **k))
    assert probe("driver") == probe("driver")
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["pandas", "shapely", "numba_cpu", "torch_cpu", "sklearn", "dask_local"])
def test_the_engines_of_a_machine_without_a_gpu_work(name: str) -> None:
    assert probe(name).works, probe(name).why


def test_probes_need_only_the_standard_library_to_start() -> None:
    code = f"import sys, runpy; runpy.run_path({probes.__file__!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "dask", "numba", "hews_gpu"} & set(done.stdout.split())


def _pretend(monkeypatch: pytest.MonkeyPatch, **found: ProbeResult) -> None:
    monkeypatch.setattr(device, "probe", lambda name: found[name])


NO_GPU = ProbeResult(False, "no NVIDIA driver")
GPU = ProbeResult(True, "1 x NVIDIA H200")
NO_TORCH = ProbeResult(False, "torch 2.13.0 is a CPU build")
TORCH = ProbeResult(True, "torch 2.13.0 on NVIDIA H200")


def test_auto_takes_the_gpu_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, gpu=GPU, torch_cuda=TORCH)
    assert choose_device("auto") == Choice("cuda", "torch 2.13.0 on NVIDIA H200")
    assert str(choose_device("cuda")) == "cuda (as requested; torch 2.13.0 on NVIDIA H200)"


@pytest.mark.parametrize(("gpu", "torch"), [(NO_GPU, TORCH), (GPU, NO_TORCH)])
def test_auto_says_why_it_takes_the_cpu(monkeypatch: pytest.MonkeyPatch, gpu: ProbeResult, torch: ProbeResult) -> None:
    _pretend(monkeypatch, gpu=gpu, torch_cuda=torch)
    reason = gpu.why if not gpu.works else torch.why
    assert choose_device("auto") == Choice("cpu", reason)


@pytest.mark.parametrize(("gpu", "torch"), [(NO_GPU, TORCH), (GPU, NO_TORCH)])
def test_a_named_gpu_that_does_not_work_is_an_error(
    monkeypatch: pytest.MonkeyPatch, gpu: ProbeResult, torch: ProbeResult
) -> None:
    _pretend(monkeypatch, gpu=gpu, torch_cuda=torch)
    with pytest.raises(UserError, match=r"--device = 'cuda': does not work here: .* Use --device cpu"):
        choose_device("cuda")


def test_cpu_asks_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch)
    assert choose_device("cpu") == Choice("cpu", "as requested")


def test_a_misspelt_device_is_an_error() -> None:
    with pytest.raises(UserError, match=r"must be one of auto, cpu, cuda. Did you mean 'cuda'"):
        choose_device("cuda0")


NUMBA = ProbeResult(True, "numba 0.68.1")
NO_NUMBA = ProbeResult(False, "numba_cuda is not installed")


def test_maps_are_drawn_where_numba_works_whatever_torch_can(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, gpu=GPU, torch_cuda=NO_TORCH, numba_cuda=NUMBA)
    assert choose_raster_backend() == Choice("cuda", "numba 0.68.1")
    assert choose_raster_backend().backend == "cuda"
    assert str(choose_raster_backend("cuda")) == "cuda (as requested; numba 0.68.1)"
    assert choose_raster_backend("cpu") == Choice("cpu", "as requested")
    assert choose_raster_backend("cpu").backend == "numba"


@pytest.mark.parametrize(("gpu", "numba"), [(NO_GPU, NUMBA), (GPU, NO_NUMBA)])
def test_maps_are_drawn_on_the_cpu_only_if_nothing_else_was_named(
    monkeypatch: pytest.MonkeyPatch, gpu: ProbeResult, numba: ProbeResult
) -> None:
    _pretend(monkeypatch, gpu=gpu, torch_cuda=TORCH, numba_cuda=numba)
    assert choose_raster_backend("auto") == Choice("cpu", gpu.why if not gpu.works else numba.why)
    with pytest.raises(UserError, match=r"--device = 'cuda': does not work here: .* Use --device cpu"):
        choose_raster_backend("cuda")
    with pytest.raises(UserError, match="Did you mean 'cuda'"):
        choose_raster_backend("cuba")


@pytest.mark.gpu
def test_the_gpu_works() -> None:
    """Shown where a GPU is: the driver, its GPUs and torch on it."""
    if not os.path.exists("/dev/nvidiactl"):
        pytest.skip("no NVIDIA GPU on this machine")
    assert choose_device("cuda").device == "cuda"
    assert choose_raster_backend("cuda").backend == "cuda"
