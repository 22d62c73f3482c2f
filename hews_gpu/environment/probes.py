"""What works on this machine: one tiny real operation per library, run in a process of its own.

An import proves nothing: some GPU libraries import without a GPU, others raise anything from ImportError to a crash of
the interpreter. So each probe does a real piece of work, and this file is run as a script with one probe's name
(`environment.device` does that): a crash, an exit or a hang then costs a child process, and torch and RAPIDS never meet
in one. Standard library only at the top; every probe imports what it tests.

A probe returns a few words about what there is, or raises with the reason.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["ANSWER", "PROBES"]

ANSWER = "hews-probe-answer "  # starts the one line of output that counts: libraries print lines of their own
SLURM_TIMEOUT_S = 20  # SLURM's clients wait for minutes where the controller is down


class NotHere(Exception):
    """A probe's own reason, told as it is; what a library raises is told with the error's name."""


def _require(ok: object, reason: str) -> None:
    if not ok:
        raise NotHere(reason)


def _cuda_driver() -> ctypes.CDLL:
    """Return the driver's library, initialized."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NotHere("no NVIDIA driver (libcuda.so.1 is not found)") from None
    code = driver.cuInit(0)
    _require(code != 100, "the NVIDIA driver sees no GPU")
    _require(code == 0, f"the NVIDIA driver does not start (cuInit gives error {code})")
    return driver


def driver() -> str:
    """The NVIDIA driver starts and says which CUDA it speaks."""
    number = ctypes.c_int()
    _require(_cuda_driver().cuDriverGetVersion(ctypes.byref(number)) == 0, "the NVIDIA driver gives no version")
    return f"speaks CUDA {number.value // 1000}.{number.value % 1000 // 10}"


def gpu() -> str:
    """The driver counts and names the GPUs."""
    cuda, count, name = _cuda_driver(), ctypes.c_int(), ctypes.create_string_buffer(100)
    _require(cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0, "the NVIDIA driver sees no GPU")
    _require(cuda.cuDeviceGetName(name, len(name), 0) == 0, "the NVIDIA driver does not name GPU 0")
    return f"{count.value} x {name.value.decode()}"


def cuda_libraries() -> str:
    """NVRTC, CUDA's run-time compiler, loads and gives its version."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    for name in (*_nvrtc_files(), *(f"libnvrtc.so.{number}" for number in (13, 12))):
        try:
            code = ctypes.CDLL(name).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        except OSError:
            continue
        _require(code == 0, f"{name} gives error {code}")
        return f"NVRTC {major.value}.{minor.value}"
    raise NotHere("no CUDA libraries (libnvrtc.so is not found)")


def cuda_compiler() -> str:
    """What compiles CUDA kernels, as HEWS_CUDA_COMPILER names it, loads."""
    from hews_gpu.kernels._shim_cuda import COMPILER

    return f"{COMPILER} {version(COMPILER)}"


def _nvrtc_files() -> list[str]:
    """Return the paths of NVRTC as pip installs it, below site-packages/nvidia."""
    folders = [Path(entry) / "nvidia" for entry in sys.path if entry.endswith("-packages")]
    return [str(path) for folder in folders for path in sorted(folder.glob("*/lib/libnvrtc.so.*"))]


def pandas() -> str:
    """A pandas frame adds up a column."""
    import pandas as pd

    total = pd.DataFrame({"a": [1, 2, 3]})["a"].sum()
    _require(total == 6, f"a sum gave {total} instead of 6")
    return f"pandas {pd.__version__}"


def cudf() -> str:
    """A cuDF frame adds up a column on the GPU."""
    import cudf

    total = cudf.DataFrame({"a": [1, 2, 3]})["a"].sum()
    _require(total == 6, f"a sum gave {total} instead of 6")
    return f"cuDF {cudf.__version__}"


def shapely() -> str:
    """Shapely finds a point in a square."""
    import shapely as library

    inside = library.contains_xy(library.box(0, 0, 1, 1), 0.5, 0.5)
    _require(inside, "a point in the middle of a square was found outside")
    return f"shapely {library.__version__}"


def cuspatial() -> str:
    """CuSpatial finds a point in a square on the GPU."""
    import cuspatial as library
    from shapely.geometry import Point, box

    points, polygons = library.GeoSeries([Point(0.5, 0.5)]), library.GeoSeries([box(0, 0, 1, 1)])
    inside = library.point_in_polygon(points, polygons).iloc[0, 0]
    _require(inside, "a point in the middle of a square was found outside")
    return f"cuSpatial {library.__version__}"


def numba_cpu() -> str:
    """Numba compiles a loop and runs it."""
    import numba

    def total(n: int) -> int:
        value = 0
        for i in range(n):
            value += i
        return value

    result = numba.njit(total)(4)
    _require(result == 6, f"a sum gave {result} instead of 6")
    return f"numba {numba.__version__}, {numba.config.NUMBA_NUM_THREADS} threads"


def numba_cuda() -> str:
    """The compiler of CUDA kernels makes one for the GPU and runs it; numba's simulator does not count."""
    import numpy as np

    from hews_gpu.kernels._shim_cuda import COMPILER, SIMULATED, cuda, kernel

    _require(not SIMULATED, "NUMBA_ENABLE_CUDASIM is set: this is numba's simulator, not a GPU")

    def add_one(values: Any) -> None:
        i = cuda.grid(1)
        if i < values.size:
            values[i] += 1

    values = np.zeros(8, np.int32)
    kernel(add_one)[1, 8](values)
    _require((values == 1).all(), f"a kernel that adds one to zeros gave {values.tolist()}")
    return f"{COMPILER} {version(COMPILER)}"


def dali() -> str:
    """DALI runs a pipeline of one array through the CPU."""
    import numpy as np
    from nvidia.dali import Pipeline, fn

    pipeline = Pipeline(batch_size=1, num_threads=1, device_id=None)
    with pipeline:
        pipeline.set_outputs(fn.external_source(source=lambda: [np.full(2, 3, np.uint8)]))
    pipeline.build()
    result = np.asarray(pipeline.run()[0].at(0)).tolist()
    _require(result == [3, 3], f"a pipeline gave {result} instead of [3, 3]")
    return "nvidia.dali runs a CPU pipeline"


def torch_cpu() -> str:
    """Torch multiplies a matrix on the CPU, in memory that it shares with NumPy as the direct feed does."""
    import numpy as np
    import torch

    array = np.zeros((2, 2), np.float32)
    torch.from_numpy(array).fill_(1)
    total = float((torch.from_numpy(array) @ torch.ones(2, 2)).sum())
    _require(total == 8, f"a product gave {total} instead of 8")
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def torch_cuda() -> str:
    """Torch multiplies a matrix on the GPU."""
    import torch

    _require(torch.version.cuda, f"torch {torch.__version__} is a CPU build")
    total = float((torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")).sum())
    _require(total == 8, f"a product gave {total} instead of 8")
    return f"torch {torch.__version__} on {torch.cuda.get_device_name(0)}"


def sklearn() -> str:
    """Scikit-learn puts two far points into two groups."""
    import sklearn as library
    from sklearn.cluster import KMeans

    labels = KMeans(2, n_init=1, random_state=0).fit([[0.0], [9.0]]).labels_
    _require(labels[0] != labels[1], "two far points were put into one group")
    return f"scikit-learn {library.__version__}"


def cuml() -> str:
    """CuML puts two far points into two groups, on the GPU."""
    import cuml as library
    import numpy as np
    from cuml.cluster import KMeans

    labels = np.asarray(
        KMeans(n_clusters=2, n_init=1, random_state=0).fit(np.array([[0.0], [9.0]], np.float32)).labels_
    )
    _require(labels[0] != labels[1], "two far points were put into one group")
    return f"cuML {library.__version__}"


def umap() -> str:
    """UMAP lays a few points out on a plane."""
    import numpy as np
    from umap import UMAP

    points = np.random.default_rng(0).random((30, 3))
    shape = UMAP(n_neighbors=5, n_epochs=5, random_state=0, n_jobs=1).fit_transform(points).shape
    _require(shape == (30, 2), f"a plane of 30 points has the shape {shape}")
    return f"umap-learn {version('umap-learn')}"


def dask_local() -> str:
    """A Dask client and scheduler in this process run one task."""
    from distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        result = client.submit(sum, [1, 2, 3]).result(timeout=20)
    _require(result == 6, f"a sum gave {result} instead of 6")
    return f"distributed {version('distributed')}"


def dask_cuda() -> str:
    """Dask-CUDA counts the GPUs through NVML, as its clusters do."""
    from dask_cuda.utils import get_n_gpus

    count = get_n_gpus()
    _require(count > 0, "Dask-CUDA sees no GPU")
    return f"dask-cuda {version('dask-cuda')}, {count} GPU"


def slurm() -> str:
    """SLURM's controller answers with its partitions."""
    _require(shutil.which("sbatch") and shutil.which("sinfo"), "sbatch and sinfo are not on PATH")
    command = ["sinfo", "--noheader", "--format=%R"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_TIMEOUT_S, check=False)
    _require(done.returncode == 0, f"sinfo fails: {done.stderr.strip()}")
    return f"partitions: {', '.join(sorted(set(done.stdout.split())))}"


PROBES: dict[str, Callable[[], str]] = {
    probe.__name__: probe
    for probe in (
        *(driver, gpu, cuda_libraries, cuda_compiler, pandas, cudf, shapely, cuspatial, numba_cpu, numba_cuda),
        *(dali, torch_cpu, torch_cuda, sklearn, cuml, umap, dask_local, dask_cuda, slurm),
    )
}
"""Every probe by its name."""


def main(name: str) -> None:
    """Run one probe and print its answer as the last line: ``[works, words]``."""
    try:
        answer = [True, PROBES[name]()]
    except NotHere as error:
        answer = [False, str(error)]
    except ModuleNotFoundError as error:
        answer = [False, f"{error.name} is not installed"]
    except Exception as error:  # noqa: BLE001 - the one place: a library may raise anything, and the user wants to know what
        answer = [False, f"{type(error).__name__}: {error}".removesuffix(": ")]
    print(f"\n{ANSWER}{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
