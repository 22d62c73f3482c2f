"""The CUDA kernels equal the NumPy reference to the bit: in the simulator anywhere, on a GPU where there is one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.inputs.small_cases import CASES

SCRIPT = Path(__file__).with_name("simulate_raster.py")


@pytest.fixture(scope="module")
def simulated():
    """Output lines of one run of the simulator over all cases, and of the planted ones."""
    pytest.importorskip("numba.cuda", reason="the simulator comes with numba's CUDA support")
    command = [
        sys.executable,
        "-W",
        "error",
        "-W",
        "default::DeprecationWarning",
        SCRIPT,
        *CASES,
        "--later",
        "typical",
        "counts",
        "added discs",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(": ", 1) for line in done.stdout.splitlines()]
    return [(name, int(words.split()[0])) for name, words in lines]


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_identical_in_the_simulator(simulated, name):
    assert dict(simulated[: len(CASES)])[name] == 0


def test_a_planted_off_by_one_is_seen(simulated):
    planted = simulated[len(CASES) :]
    assert [name for name, _ in planted] == ["typical", "counts", "added discs"]
    assert all(count > 0 for _, count in planted)


def test_both_of_a_tiles_ends_are_the_maps_or_another_tiles():
    from hews_gpu.raster.cuda import Tiling

    for size in (111_456, 167_184, 13, 49_152):
        tiling = Tiling.of(size, 256, 16_384)
        assert tiling.tile <= tiling.room and tiling.tile % 16 == 0
        assert (tiling.tiles - 1) * tiling.tile < size <= tiling.tiles * tiling.tile
