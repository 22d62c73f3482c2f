"""Launches by a block of parameters of our own, without a GPU: what a driver is given, and what that takes.

That the block fits the `.param` lines of every kernel, and that the kernels read it as meant, test_ptx.py sees.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: kernels cannot be compiled")

from hews_gpu.kernels._launch_cuda import lay_out, parameters
from tests.kernels.resources import kernel_of, ptx_of

HERE = Path(__file__).parent
CASES = ("typical", "float32, nothing whole", "counts", "added discs")
"""One of each style, and one that is written value by value."""


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """The environment of a process whose CUDA driver does nothing but note its launches."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler: the stub driver cannot be built")
    folder = tmp_path_factory.mktemp("driver")
    library = [str(folder / "libcuda.so.1"), str(HERE / "stub_driver.c")]
    subprocess.run([compiler, "-shared", "-fPIC", "-o", *library], check=True)
    return {**os.environ, "LD_LIBRARY_PATH": str(folder)}


def compare(stub, compiler, *cases):
    command, chosen = [sys.executable, HERE / "launch_on_stub.py", *cases], {**stub, "HEWS_CUDA_COMPILER": compiler}
    done = subprocess.run(command, env=chosen, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def compared(stub):
    return compare(stub, "numba-cuda", *CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_driver_is_given_what_numba_gives_it(compared, case):
    assert compared[case]["differing"] == []


def test_a_driver_is_given_what_the_second_compiler_gives_it(stub):
    pytest.importorskip("numba_cuda_mlir", reason="numba-cuda-mlir is not installed")
    assert compare(stub, "numba-cuda-mlir", "typical")["typical"]["differing"] == []


def test_a_launch_looks_at_what_changes_only(compared):
    """Times of the thread, the shortest of many, of two ways in one run."""
    assert all(one["us"]["block"] * 5 < one["us"]["numba"] for one in compared.values()), compared


SCRIPT = """
import sys
from hews_gpu.kernels import _launch_cuda
from tests.kernels.launch_on_stub import *
small = SmallCase("counts")
out, parameters = cuda.to_device(small.batch(seed=1)[1]), _launch_cuda.parameters
drawn = [small.rasterizer("cuda") for _ in range(3)]
for k, one in enumerate(drawn):
    _launch_cuda.parameters = (lambda ptx: parameters(ptx)[::-1]) if k == 1 else parameters
    if k == 2:
        sys.modules["cuda.bindings"] = None
    for _ in range(2):
        record(lambda: one.fill(small.pairs, out))
    print(*(launch is None for launch in one.kernels._launches.values()))
"""


def test_numba_launches_where_parameters_lie_otherwise_and_where_there_are_no_bindings(stub):
    root = {**stub, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=root, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode) == (["False", "True", "True"], 0), done.stderr


def test_fields_lie_at_multiples_of_their_sizes():
    about = {"shape": (3, 5), "typestr": "<i2", "data": (4096, False), "version": 3}
    array = type("OnDevice", (), {"__cuda_array_interface__": about})()
    block, places, first = lay_out((np.int32(7), (array, np.int32(-1)), np.int64(9)))
    assert first == [0, 1, 11]
    assert [begin for begin, _ in places] == [0, *range(8, 80, 8), 80, 88]
    assert np.frombuffer(block[8:80], np.int64).tolist() == [0, 0, 15, 2, 4096, 3, 5, 10, 2]
    assert np.frombuffer(block[80:84], np.int32)[0] == -1 and block[:4] == b"\x07\0\0\0"


@pytest.mark.gpu
def test_the_driver_names_the_same_parameters():
    from cuda.bindings import driver

    made, signature, _ = kernel_of("reference: uint8")
    made.compile(signature)
    handle = driver.CUkernel(int(next(iter(made.overloads.values()))._codelibrary.get_cufunc().kernel.handle))
    for index, place in enumerate(parameters(ptx_of("reference: uint8", "sm_90"))):
        assert driver.cuKernelGetParamInfo(handle, index) == (driver.CUresult.CUDA_SUCCESS, *place)
