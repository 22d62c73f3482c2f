"""Tables of bit patterns, batches of torch, mirrored maps: each against an answer from outside."""

import numpy as np
import pytest
import torch

from benchmarks.inputs.random_city import random_city
from hews_gpu.config import MapConfig
from hews_gpu.errors import UserError
from hews_gpu.raster.values import Values

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
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_torch_batch_holds_the_values_in_either_layout(backend, dtype, memory_format):
    rasterizer = CITY.reference(MapConfig(height=20, width=17), backend=backend)
    values = Values.log_counts(dtype)
    out = torch.empty((3, 3, 20, 17), dtype=getattr(torch, dtype)).to(memory_format=memory_format)
    rasterizer.writing(values).fill(PAIRS, out)
    expected = values.real()[rasterizer.maps(PAIRS)].transpose(0, 3, 1, 2)
    assert np.array_equal(out.double().numpy(), expected)


@pytest.mark.parametrize(("left_right", "up_down"), [(True, False), (False, True), (True, True)])
def test_a_mirrored_map_is_the_map_mirrored(left_right, up_down):
    one = CITY.reference(MapConfig(height=20, width=17))
    axes = [axis for axis, is_on in ((1, up_down), (2, left_right)) if is_on]
    mirrored = one.flipped(left_right=left_right, up_down=up_down)
    assert np.array_equal(mirrored.maps(PAIRS), np.flip(one.maps(PAIRS), axes))
    both = one.with_variants([mirrored])
    mixed = both.maps(PAIRS, np.array([1, 0, 1], np.int32))
    assert np.array_equal(mixed[1], one.maps(PAIRS)[1]) and np.array_equal(mixed[0], mirrored.maps(PAIRS)[0])
    with pytest.raises(ValueError, match=r"variants: must be 0\.\.1"):
        both.maps(PAIRS, np.array([2, 0, 1], np.int32))
