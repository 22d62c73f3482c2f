"""What the compiler makes of the CUDA kernels, without a GPU: no floats, wide stores, few registers, no spills."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: kernels cannot be compiled")

from numba import types

from hews_gpu.kernels import plan_cuda, raster_cuda
from hews_gpu.kernels._shim_cuda import Compute, compile_ptx
from hews_gpu.kernels.raster_cuda import Output

LIMITS = json.loads(Path(__file__).with_name("resources.json").read_text(encoding="utf-8"))
COMPUTES = {"sm_80": Compute(8, 0), "sm_90": Compute(9, 0), "sm_100": Compute(10, 0)}
OUTPUTS = {
    "uint8": Output(),
    "uint8, not whole": Output(is_whole=False),
    "uint8 planes": Output(is_planes=True),
    "float16": Output(2, True),
    "float16 planes": Output(2, True, True),
    "float32": Output(4, True),
    "float32 planes, not whole": Output(4, True, True, False),
}
CODES = {1: types.uint8, 2: types.uint16, 4: types.uint32}


def flat(*kinds):
    return [types.Array(getattr(types, kind), 1, "C") for kind in kinds]


PLANS = {
    "reference": types.NamedTuple(
        flat("uint64", "int32", "uint64", "uint64", "int32", "int32", "uint64", "uint8", "uint8", "uint8"),
        plan_cuda.ReferencePlan,
    ),
    "channels": types.NamedTuple(flat("uint64", "uint64"), plan_cuda.ChannelsPlan),
}


def kernel_of(name):
    """The kernel that a row of the table names, and the types of its arguments."""
    style, _, words = name.partition(": ")
    output = OUTPUTS[words.removesuffix(", many owners")]
    size = (raster_cuda.THREADS, raster_cuda.TILE_BYTES)
    is_rest = words.endswith("many owners")
    made = (
        raster_cuda.reference_kernel(output, 512, is_rest, *size)
        if style == "reference"
        else raster_cuda.channels_kernel(output, *size)
    )
    codes = types.Array(CODES[output.item], 1, "C")
    out = types.Array(types.uint64, 1, "C") if output.is_whole else codes
    sizes = types.NamedTuple([types.int32] * len(plan_cuda.Sizes._fields), plan_cuda.Sizes)
    return made, (PLANS[style], *flat("int64", "int32"), codes, out, sizes), output


def ptxas():
    """The assembler that comes with the pinned packages, or the one on PATH."""
    found = sorted(Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/bin/ptxas"))
    path = str(found[0]) if found else shutil.which("ptxas")
    if path is None:
        pytest.skip("ptxas is not installed: registers cannot be counted")
    return path


def resources(text, compute, folder):
    """Registers of a thread, shared memory of a block, and bytes spilled, as the assembler counts them."""
    source = folder / "kernel.ptx"
    source.write_text(text)
    target = f"-arch=sm_{compute.major}{compute.minor}"
    command = [ptxas(), "-v", target, str(source), "-o", str(folder / "kernel.cubin")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    shared = re.search(r"(\d+) bytes smem", said)
    return {
        "registers": int(re.search(r"Used (\d+) registers", said)[1]),
        "shared_bytes": int(shared[1]) if shared else 0,
        "spilled_bytes": sum(int(count) for count in re.findall(r"(\d+) bytes spill", said)),
        "stack_bytes": int(re.search(r"(\d+) bytes stack frame", said)[1]),
    }


ROWS = [(name, "sm_90") for name in LIMITS] + [
    (name, compute) for name in ("reference: uint8", "channels: uint8") for compute in ("sm_80", "sm_100")
]


@pytest.mark.parametrize(("name", "compute"), ROWS)
def test_a_kernel_stays_within_its_limits(name, compute, tmp_path):
    made, signature, output = kernel_of(name)
    text = compile_ptx(made, signature, COMPUTES[compute])
    assert "f64" not in text and "f32" not in text
    assert ("st.global.v2" in text) == output.is_whole
    used = resources(text, COMPUTES[compute], tmp_path)
    limit = LIMITS[name]
    assert used["spilled_bytes"] == used["stack_bytes"] == 0
    assert used["registers"] <= limit["registers"], used
    assert used["shared_bytes"] <= limit["shared_bytes"], used


def test_the_table_names_every_output():
    words = {name.partition(": ")[2] for name in LIMITS}
    assert {*OUTPUTS, "uint8, many owners"} == words


def test_eight_blocks_fit_where_training_runs():
    """On sm_90: 65,536 registers and 227 KiB of shared memory; a block reserves 1 KiB more."""
    limit = LIMITS["reference: uint8"]
    assert limit["registers"] * raster_cuda.THREADS * 8 <= 65_536
    assert (limit["shared_bytes"] + 1024) * 8 <= 227 * 1024


def test_a_kernel_that_keeps_too_much_is_seen(tmp_path):
    """The check itself: the assembler is told to use fewer registers than the kernel wants, and reports spills."""
    made, signature, _ = kernel_of("reference: uint8")
    text = compile_ptx(made, signature, COMPUTES["sm_90"]).replace(".visible .entry", ".visible .entry", 1)
    tight = re.sub(r"(\.visible \.entry [^{]*?\))", r"\1\n.maxnreg 24\n", text, count=1, flags=re.DOTALL)
    assert tight != text
    assert resources(tight, COMPUTES["sm_90"], tmp_path)["spilled_bytes"] > 0


def test_one_float_is_seen():
    def kernel(out):
        out[0] = np.uint8(out[0] * 0.5)

    from hews_gpu.kernels._shim_cuda import kernel as compiled

    assert "f64" in compile_ptx(compiled(kernel), tuple(flat("uint8")), COMPUTES["sm_90"])
