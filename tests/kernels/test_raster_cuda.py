"""The CUDA kernels equal the NumPy reference to the bit: in the simulator anywhere, on a GPU where there is one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.inputs.small_cases import CASES

SCRIPT = Path(__file__).with_name("simulate_raster.py")
FEW = (
    "nothing whole",
    "many owners",
    "float16",
    "unaligned",
    "counts",
    "log counts as bytes",
    "added discs",
    "added discs that saturate",
)
"""One of each kind of map and of value, the smallest."""
PLANTED = ("nothing whole", "counts", "added discs")


@pytest.fixture(scope="module", params=[FEW, pytest.param(tuple(CASES), marks=pytest.mark.nightly)], ids=["few", "all"])
def simulated(request):
    """The number of bytes that differ by case, from one run of the simulator, and by planted case."""
    pytest.importorskip("numba.cuda", reason="the simulator comes with numba's CUDA support")
    command = [
        sys.executable,
        "-W",
        "error",
        "-W",
        "default::DeprecationWarning",
        SCRIPT,
        *request.param,
        "--later",
        *PLANTED,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(": ", 1) for line in done.stdout.splitlines()]
    found = [(name, int(words.split()[0])) for name, words in lines]
    assert [name for name, _ in found] == [*request.param, *PLANTED]
    return dict(found[: -len(PLANTED)]), dict(found[-len(PLANTED) :])


def test_every_case_is_identical_in_the_simulator(simulated):
    assert not {name: count for name, count in simulated[0].items() if count}


def test_a_planted_off_by_one_is_seen(simulated):
    assert all(count > 0 for count in simulated[1].values())


def test_both_of_a_tiles_ends_are_the_maps_or_another_tiles():
    from hews_gpu.raster.cuda import Tiling

    for size in (111_456, 167_184, 13, 49_152):
        tiling = Tiling.of(size, 256, 16_384)
        assert tiling.tile <= tiling.room and tiling.tile % 16 == 0
        assert (tiling.tiles - 1) * tiling.tile < size <= tiling.tiles * tiling.tile
