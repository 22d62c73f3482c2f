"""Where hard points lie, as hashes kept in golden_pip.json: any machine, with or without a GPU, is checked at once."""

import json

import numpy as np
import pytest

from benchmarks.inputs.polygons import patchwork, points_near, random_points
from hews_gpu.kernels.pip_tables import build_tables
from hews_gpu.kernels.pip_walk import find_all
from tests.inputs.polygon_cases import CASES
from tests.kernels.golden_pip import PATH, hash_of, right_answers

GOLDEN = json.loads(PATH.read_text(encoding="utf-8"))


def on_cpu(rings, x, y):
    found = np.full(len(x), 7, np.int32)
    find_all(build_tables(*rings), x, y, found)
    return found


def test_every_case_has_a_hash_of_its_own():
    assert set(GOLDEN) == set(CASES)
    assert len(set(GOLDEN.values())) == len(GOLDEN)


@pytest.mark.parametrize("name", CASES)
def test_a_cpu_gives_the_golden_answers(name):
    rings = CASES[name]()
    found = on_cpu(rings, *points_near(rings))
    assert hash_of(found) == GOLDEN[name]
    assert len(np.unique(found)) >= 3  # places inside and outside
    found[-1] += 1
    assert hash_of(found) != GOLDEN[name]


@pytest.mark.parametrize("name", ["slivers", "tiny"])
def test_the_reference_still_gives_them(name):
    assert hash_of(right_answers(name)) == GOLDEN[name]


def on_gpu(rings, x, y):
    from hews_gpu.kernels import pip_cuda
    from hews_gpu.kernels._shim_cuda import cuda

    tables = build_tables(*rings)
    on_device = type(tables)(*(cuda.to_device(array) for array in tables))
    out = cuda.to_device(np.full(len(x), 7, np.int32))
    pip_cuda.find_all[pip_cuda.blocks_for(len(x)), pip_cuda.THREADS](
        on_device, cuda.to_device(x), cuda.to_device(y), out
    )
    return out.copy_to_host()


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_gives_the_golden_answers(name):
    rings = CASES[name]()
    assert hash_of(on_gpu(rings, *points_near(rings))) == GOLDEN[name]


@pytest.mark.gpu
def test_a_gpu_places_a_million_points_as_a_cpu_does():
    rings = patchwork(16, 15, 100)
    x, y = random_points(rings[0], 1_000_000)
    np.testing.assert_array_equal(on_gpu(rings, x, y), on_cpu(rings, x, y))
