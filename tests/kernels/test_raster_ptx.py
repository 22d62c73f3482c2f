"""What the compiler makes of the CUDA kernels, without a GPU: no floats, wide stores, few registers, no spills.

resources.json holds registers and shared memory of every kernel on every architecture (and what a tile costs, which
test_ptx.py looks at); resources.py writes it by hand.
Looked at in every run: all kernels on sm_90, each on one other, and the plain ones on all.
"""

import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: kernels cannot be compiled")

from hews_gpu.kernels import raster_cuda
from hews_gpu.kernels._shim_cuda import HAS_BULK
from hews_gpu.kernels._shim_cuda import kernel as compiled
from hews_gpu.kernels.raster_cuda import Output
from tests.kernels.resources import COMPUTES, LIMITS, OUTPUTS, PIP, compile_ptx, flat, kernel_of, ptx_of, resources

RASTER = [name for name in LIMITS if name != PIP]
PLAIN = ("reference: uint8", "channels: uint8", "discs: uint8")
ROWS = [
    (name, compute)
    for k, name in enumerate(RASTER)
    for compute in COMPUTES
    if name in PLAIN or compute in ("sm_90", ("sm_80", "sm_100")[k % 2])
]


@pytest.mark.parametrize(("name", "compute"), ROWS)
def test_a_kernel_stays_within_its_limits(name, compute, tmp_path):
    made, _, output = kernel_of(name, compute)
    text = ptx_of(name, compute)
    assert "f64" not in text and "f32" not in text
    assert bool(re.search(r"st\.global\.v[24]|cp\.async\.bulk\.global", text)) == output.is_whole
    assert ("cp.async.bulk.shared" in text) == (HAS_BULK and output == Output() and compute != "sm_80")
    # Several threads flip bits of one word, and the simulator's take turns too seldom to lose one of them.
    assert not name.startswith("reference") or text.count("atom.shared.xor") in (4, 8)  # a loop written out
    used = resources(text, COMPUTES[compute], tmp_path, made)
    limit = LIMITS[name][compute]
    assert all(used[count] <= limit.get(count, 0) for count in used), used


def test_the_table_names_every_output():
    words = {name.partition(": ")[2] for name in LIMITS}
    assert {*OUTPUTS, "uint8, many owners", ""} == words
    assert all(set(limits) == set(COMPUTES) for limits in LIMITS.values())


def test_eight_blocks_fit_where_training_runs():
    """65,536 registers, and 227 KiB of shared memory on sm_90; a block reserves 1 KiB more."""
    for compute in COMPUTES:
        assert LIMITS["reference: uint8"][compute]["registers"] * raster_cuda.THREADS * 8 <= 65_536
    assert (LIMITS["reference: uint8"]["sm_90"]["shared_bytes"] + 1024) * 8 <= 227 * 1024


def test_a_kernel_that_keeps_too_much_is_seen(tmp_path):
    """The check itself: the assembler is told to use fewer registers than the kernel wants, and reports spills.

    Without bulk copies, with which it wants no more than it may be held to.
    """
    text = ptx_of("reference: uint8", "sm_80")
    tight = re.sub(r"(\.visible \.entry [^{]*?\))", r"\1\n.maxnreg 24\n", text, count=1, flags=re.DOTALL)
    assert tight != text
    assert resources(tight, COMPUTES["sm_80"], tmp_path)["spilled_bytes"] > 0


def test_one_float_is_seen():
    def kernel(out):
        out[0] = np.uint8(out[0] * 0.5)

    assert "f64" in compile_ptx(compiled(kernel), tuple(flat("uint8")), COMPUTES["sm_90"])
