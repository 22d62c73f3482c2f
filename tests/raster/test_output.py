"""Tables of bit patterns, and batches of several libraries: each against an answer from outside."""

import numpy as np
import pytest
import torch

from hews_gpu.config import MapConfig
from hews_gpu.errors import UserError
from hews_gpu.raster.output import Values, is_on_device, target_address
from tests.inputs.random_city import random_city

CITY = random_city(2, neighborhoods=6, events=80)
PAIRS = np.array([[0, 80], [3, 20], [5, 5]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rounding_is_torchs(dtype):
    real = np.random.default_rng(0).normal(0, 100, 256)
    expected = torch.from_numpy(real.astype(np.float32)).to(getattr(torch, dtype)).double().numpy()
    close = np.abs(Values.of(real.astype(np.float32).astype(np.float64), dtype).real() - expected)
    assert np.array_equal(close, np.zeros(256))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UserError, match="Did you mean 'float16'"):
        Values.plain("float61")
    with pytest.raises(ValueError, match="256 finite"):
        Values.of(np.full(256, np.nan))
    with pytest.raises(ValueError, match="deviation"):
        Values.normalized(0, 0)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32"])
def test_a_torch_batch_holds_the_values(backend, dtype):
    rasterizer = CITY.reference(MapConfig(height=20, width=17), backend=backend)
    values = Values.log_counts(dtype)
    out = torch.empty((3, 20, 17, 3), dtype=getattr(torch, dtype))
    rasterizer.writing(values).fill(PAIRS, out)
    assert np.array_equal(out.double().numpy(), values.real()[rasterizer.maps(PAIRS)])


class OnDevice:
    """What CuPy and numba show of an array on a GPU."""

    def __init__(self, shape, strides):
        self.__cuda_array_interface__ = {"shape": shape, "strides": strides, "typestr": "<f4", "data": (4096, False)}


@pytest.mark.parametrize("strides", [None, (96, 48, 12, 4), (96, 48, 12, 8)])
def test_a_batch_on_a_gpu_must_be_contiguous(strides):
    """Three maps of 2 x 4 pixels of 3 floats; one whose channels are no neighbors is refused."""
    batch = OnDevice((3, 2, 4, 3), strides)
    assert is_on_device(batch)
    if strides and strides[-1] != 4:
        with pytest.raises(ValueError, match="contiguous and writable"):
            target_address(batch, (3, 2, 4, 3), "float32")
    else:
        assert target_address(batch, (3, 2, 4, 3), "float32") == 4096
    with pytest.raises(ValueError, match=r"out: is float32\[3, 2, 4, 3\], must be uint8"):
        target_address(batch, (3, 2, 4, 3), "uint8")


def test_strides_of_dimensions_of_one_element_or_of_nothing_do_not_matter():
    assert target_address(OnDevice((1, 2, 4, 3), (8, 48, 12, 4)), (1, 2, 4, 3), "float32") == 4096
    assert target_address(OnDevice((0, 2, 4, 3), (1, 1, 1, 1)), (0, 2, 4, 3), "float32") == 4096
