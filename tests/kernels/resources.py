"""What a compiler makes of every CUDA kernel on every architecture; as a script, by hand, writes resources.json.

The table has a part for each compiler; the script writes that of HEWS_CUDA_COMPILER, or of it the rows that are named.
`per_tile` is what the interpreter of PTX counts: instructions of warps, also by what lies between barriers. What is
compiled for sm_80 is counted where it differs from sm_90's in more than its name: bytes that are copied in bulk there.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hews_gpu.kernels import layout_cuda, pip_cuda, raster_cuda
from hews_gpu.kernels._shim_cuda import COMPILER, HAS_BULK, cuda, types
from hews_gpu.kernels.pip_tables import PipTables
from hews_gpu.kernels.raster_cuda import Output

PATH = Path(__file__).with_suffix(".json")
TABLE = json.loads(PATH.read_text(encoding="utf-8"))
LIMITS = TABLE.get(COMPILER, {})
"""Of the compiler of this process, by kernel and architecture; without a word of what is spilled, nothing is."""
PIP = "point in polygon"
COMPUTES = {"sm_80": (8, 0), "sm_90": (9, 0), "sm_100": (10, 0)}
"""Architectures and their compute capabilities."""
OUTPUTS = {
    "uint8": Output(),
    "uint8, not whole": Output(is_whole=False),
    "uint8 by a table": Output(1, True),
    "float16": Output(2, True),
    "float32": Output(4, True),
    "float32, not whole": Output(4, True, False),
}
CODES = {1: types.uint8, 2: types.uint16, 4: types.uint32}


def flat(*kinds):
    return [types.Array(getattr(types, kind), 1, "C") for kind in kinds]


LAYOUTS = {
    "reference": types.NamedTuple(
        flat("uint64", "int32", "uint64", "uint64", "int32", "int32", "int32", "uint64", "uint8", "uint8", "uint8"),
        layout_cuda.ReferenceLayout,
    ),
    "channels": types.NamedTuple(flat("uint64", "uint64"), layout_cuda.ChannelsLayout),
    "discs": types.NamedTuple(flat("uint64", "uint64", "uint8"), layout_cuda.DiscsLayout),
}
DISC_SIDE = 3  # of the default radius

PIP_TABLES = types.NamedTuple(
    [
        types.Array(getattr(types, kind), dims, "C")
        for kind, dims in (
            *(("float64", 1), ("float64", 1), ("int32", 1), ("int32", 1), ("int32", 1), ("int32", 1)),
            *(("float64", 2), ("int32", 2), ("float64", 2)),
        )
    ],
    PipTables,
)


def compile_ptx(made, signature, compute):
    """PTX of a kernel for argument types, without a GPU: there no driver can be asked for a device, nor assemble."""

    class Device:
        compute_capability = compute

    class Nothing:
        code = b""

    with pytest.MonkeyPatch.context() as patch:
        if COMPILER == "numba-cuda":
            patch.setattr("numba.cuda.dispatcher.get_current_device", Device)
        else:
            patch.setattr("numba_cuda_mlir.tools._cached_cc", compute)
            patch.setattr("numba_cuda_mlir.linker.Linker.complete", lambda linker: Nothing)
        text, _ = cuda.compile_ptx(made.py_func, signature, cc=compute)
    return text.rstrip("\0")


def kernel_of(name, compute="sm_90"):
    """The kernel that a row of the table names, the types of its arguments, and what it writes."""
    if name == PIP:
        return pip_cuda.find_all, (PIP_TABLES, *flat("float64", "float64", "int32")), None
    style, _, words = name.partition(": ")
    output = OUTPUTS[words.removesuffix(", many owners")]
    size = (raster_cuda.THREADS, raster_cuda.TILE_BYTES, HAS_BULK and COMPUTES[compute] >= (9, 0))
    is_rest = words.endswith("many owners")
    made = {
        "reference": lambda: raster_cuda.reference_kernel(output, 512, is_rest, *size),
        "channels": lambda: raster_cuda.channels_kernel(output, *size),
        "discs": lambda: raster_cuda.discs_kernel(output, DISC_SIDE, *size),
    }[style]()
    codes = types.Array(CODES[output.item], 1, "C")
    out = types.Array(types.uint64, 1, "C") if output.is_whole else codes
    sizes = types.NamedTuple([types.int32] * len(layout_cuda.Sizes._fields), layout_cuda.Sizes)
    return made, (LAYOUTS[style], *flat("int64"), codes, out, sizes, *flat("int32")), output


@cache
def ptx_of(name, compute):
    """PTX of the kernel that a row of the table names, compiled once for all tests."""
    made, signature, _ = kernel_of(name, compute)
    return compile_ptx(made, signature, COMPUTES[compute])


def ptxas():
    """The assembler that comes with the pinned packages, or the one on PATH."""
    found = sorted(Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/bin/ptxas"))
    path = str(found[0]) if found else shutil.which("ptxas")
    if path is None:
        pytest.skip("ptxas is not installed: registers cannot be counted")
    return path


def resources(text, compute, folder, made=None):
    """Registers of a thread (as many as kernel `made` may have), shared memory of a block, and bytes spilled."""
    source = folder / "kernel.ptx"
    source.write_text(text)
    target = "-arch=sm_{}{}".format(*compute)
    command = [ptxas(), "-v", target, str(source), "-o", str(folder / "kernel.cubin")]
    if made is not None and (most := made.targetoptions.get("max_registers")):
        command += ["--maxrregcount", str(most)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    shared = re.search(r"(\d+) bytes smem", said)
    return {
        "registers": int(re.search(r"Used (\d+) registers", said)[1]),
        "shared_bytes": int(shared[1]) if shared else 0,
        "spilled_bytes": sum(int(count) for count in re.findall(r"(\d+) bytes spill", said)),
        "stack_bytes": int(re.search(r"(\d+) bytes stack frame", said)[1]),
    }


def require_limits(name, compute, folder):
    """See that a kernel for maps computes with whole numbers, stores widely, and needs no more than its row says."""
    made, _, output = kernel_of(name, compute)
    text = ptx_of(name, compute)
    assert "f64" not in text and "f32" not in text
    assert bool(re.search(r"st\.global\.v[24]|cp\.async\.bulk\.global", text)) == output.is_whole
    assert ("cp.async.bulk.shared" in text) == (HAS_BULK and output == Output() and compute != "sm_80")
    # Several threads flip bits of one word, and the simulator's take turns too seldom to lose one of them.
    assert not name.startswith("reference") or text.count("atom.shared.xor") in (4, 8)  # a loop written out
    used = resources(text, COMPUTES[compute], folder, made)
    limit = LIMITS[name][compute]
    assert all(used[count] <= limit.get(count, 0) for count in used), used


def measured(names, computes):
    """Registers, shared memory and work of kernels, and what differs from the reference in any; by name."""
    from tests.kernels.ptx_launches import cost_of

    table, differing = {name: {} for name in names}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for compute in computes:
                made, _, output = kernel_of(name, compute)
                used = resources(ptx_of(name, compute), COMPUTES[compute], Path(folder), made)
                table[name][compute] = {key: n for key, n in used.items() if n or key == "shared_bytes"}
                if compute != "sm_80" or (HAS_BULK and output == Output()):
                    table[name][compute]["per_tile"], differing[name, compute] = cost_of(name, compute)
    return table, differing


NAMES = [f"{style}: {words}" for style in LAYOUTS for words in OUTPUTS]
NAMES.insert(len(OUTPUTS), "reference: uint8, many owners")
NAMES.append(PIP)


if __name__ == "__main__":
    table, differing = measured(sys.argv[1:] or NAMES, COMPUTES)
    assert not any(map(any, differing.values())), differing
    PATH.write_text(json.dumps({**TABLE, COMPILER: {**LIMITS, **table}}, indent=2) + "\n", encoding="utf-8")
