"""What compiled kernels do, seen on an interpreter: the bits of the NumPy reference, and no more work than they need.

resources.json says what a tile may cost; resources.py writes it by hand. A change that makes a kernel slower fails
here, without a GPU, unless the table is written anew.
"""

import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: kernels cannot be compiled")

from hews_gpu.kernels._launch_cuda import lay_out
from hews_gpu.kernels._shim_cuda import HAS_BULK, cuda, kernel, types
from tests.inputs.small_cases import CASES
from tests.kernels.ptx import Fault, Memory, Program
from tests.kernels.ptx_launches import CITIES, Placed, cases_of, cost_of, draw
from tests.kernels.resources import COMPUTES, LIMITS, PIP, compile_ptx, ptx_of, require_limits

SLACK = 1.02
"""Another compiler release may order instructions differently; a loop more costs more than this."""
PLAIN = ("reference: uint8", "channels: uint8", "discs: uint8")
ROWS = [*((name, "sm_90") for name in LIMITS), (PLAIN[0], "sm_80" if HAS_BULK else "sm_100"), (PLAIN[1], "sm_100")]
"""Without copies in bulk, with them, and by the newer of a compiler's halves."""


@pytest.mark.parametrize(("name", "compute"), ROWS)
def test_a_kernel_gives_the_bits_of_the_reference_and_costs_no_more_than_it_may(name, compute, tmp_path):
    cost, differing = cost_of(name, compute)
    assert not any(differing)
    limits = LIMITS[name][compute]["per_tile"]
    for count in ("instructions", "conflicts", "divergent"):
        assert cost[count] <= limits[count] * SLACK + 1, (cost, limits)
    if name != PIP:  # whose products test_pip_cuda.py looks at
        require_limits(name, compute, tmp_path)  # last: it skips where there is no assembler


def test_every_city_and_all_small_maps_are_drawn_but_discs_of_other_sizes():
    drawn = {id(case[0].tables) for name in LIMITS if name != PIP for case in cases_of(name)}
    assert len(drawn) == len(CITIES) + len(CASES) - 2


def test_a_planted_off_by_one_is_seen():
    """A blend rounds down what it should round up."""
    text = ptx_of("reference: uint8", "sm_90")
    planted = text.replace(", 128;", ", 127;")
    assert planted != text
    assert draw(planted, *cases_of("reference: uint8")[0])[2] > 0


def test_a_loop_more_is_over_the_budget():
    text = ptx_of("reference: uint8", "sm_90")
    loop = "$again:\nadd.s32 %r999, %r999, 1;\nsetp.lt.u32 %p999, %r999, 20;\n@%p999 bra $again;\n"
    planted = re.sub(r"^\s*ld\.param", lambda first: loop + first[0], text, count=1, flags=re.MULTILINE)
    counts, tiles, differing = draw(planted, *cases_of("reference: uint8")[0])
    assert differing == 0
    assert counts.instructions / tiles > LIMITS["reference: uint8"]["sm_90"]["per_tile"]["instructions"] * SLACK + 1


def interpreted(body, *arrays, threads=32, blocks=1):
    """Compile a kernel for arrays, run it on them, and return its counts; the arrays then hold what it wrote."""
    memory = Memory()
    placed = [Placed(memory, array, is_written=True) for array in arrays]
    signature = tuple(types.Array(getattr(types, array.dtype.name), array.ndim, "C") for array in arrays)
    program = Program(compile_ptx(kernel(body), signature, COMPUTES["sm_90"]))
    counts = program.launch(lay_out(placed)[0], memory, (blocks, 1), threads)
    for array, one in zip(arrays, placed, strict=True):
        array[:] = memory.read(one.address, array)
    return counts


@pytest.mark.parametrize(("stride", "repeats"), [(0, 0), (1, 0), (2, 1), (3, 0), (8, 7), (32, 31)])
def test_lanes_meet_in_a_bank_as_the_programming_guide_says(stride, repeats):
    """Section "Shared Memory" of NVIDIA's CUDA C++ Programming Guide: 32 banks of 4 bytes; odd strides never meet."""

    def strided(out):
        words = cuda.shared.array(1024, types.int32)
        out[cuda.threadIdx.x] = words[cuda.threadIdx.x * out[40]]

    out = np.full(41, stride, np.int32)
    assert interpreted(strided, out).conflicts == repeats


def test_a_jump_that_parts_a_warp_is_counted_and_both_ways_are_run():
    def parted(out):
        i = cuda.threadIdx.x
        if out[i] > 40:
            cuda.atomic.add(out, 64, 1)
        else:
            out[i] = -1

    out = np.arange(65, dtype=np.int32)
    assert interpreted(parted, out, threads=64).divergent == 1
    assert out[:41].tolist() == [-1] * 41 and out[41:64].tolist() == [*range(41, 64)] and out[64] == 64 + 23


def test_whole_numbers_are_those_of_a_device():
    def numbers(a, b, out):
        i = cuda.threadIdx.x
        x, y = a[i], b[i]
        out[0, i] = np.int32(x) // np.int32(y)
        out[1, i] = x >> (y & 31)
        out[2, i] = np.uint32(x) >> np.uint32(y & 31)
        out[3, i] = (np.int64(x) * np.int64(y)) >> np.int64(32)
        out[4, i] = min(x, y) ^ max(x, y)
        out[5, i] = np.int64(np.uint8(x)) - np.int64(np.int16(y))
        out[6, i] = cuda.popc(np.uint32(x)) if x < y else -np.int64(x)
        out[7, i] = np.uint64(np.uint32(x)) << np.uint64(y & 63)

    random = np.random.default_rng(5)
    a, b = random.integers(-(2**31), 2**31, (2, 64)).astype(np.int32)
    b[:8], a[8:16], b[b == 0] = -7, random.integers(-300, 300, 8), 1
    out = np.zeros((8, 64), np.int64)
    interpreted(numbers, a, b, out, threads=64)
    x, y = a.astype(np.int64), b.astype(np.int64)
    expected = [
        x // y,
        x >> (y & 31),
        (x & 0xFFFFFFFF) >> (y & 31),
        (x * y) >> 32,
        np.minimum(x, y) ^ np.maximum(x, y),
        (x & 255) - b.astype(np.int16),
        np.where(x < y, np.bitwise_count(a.view(np.uint32)), -x),
        ((x & 0xFFFFFFFF).astype(np.uint64) << (y & 63).astype(np.uint64)).view(np.int64),
    ]
    np.testing.assert_array_equal(out, expected)


def test_what_a_device_would_refuse_is_a_fault():
    def beyond(out):
        out[cuda.threadIdx.x] = 1

    def parted_by_a_barrier(out):
        if cuda.threadIdx.x < 16:
            cuda.syncthreads()
            out[0] = 1
        else:
            cuda.syncthreads()
            out[1] = 1
        cuda.syncthreads()

    with pytest.raises(Fault, match="outside"):
        interpreted(beyond, np.zeros(31, np.int32))
    with pytest.raises(Fault, match="different barriers"):
        interpreted(parted_by_a_barrier, np.zeros(32, np.int32))


def test_shared_memory_is_aligned_as_declared_and_no_better():
    text = ptx_of("reference: uint8", "sm_80")
    assert Program(text).shared[re.search(r"\.shared .* (\w+)\[16384\]", text)[1]] % 16 == 8
    planted = text.replace("ld.shared.u64", "ld.shared.v2.u64")
    planted = re.sub(r"(ld\.shared\.v2\.u64\s+)(%rd\d+)", r"\1{\2, %rd999999}", planted)
    assert planted != text
    with pytest.raises(Fault, match="not aligned"):
        draw(planted, *cases_of("reference: uint8")[0])


FENCE = r"fence\.proxy\.async\.shared::cta;"
MEETING = r"(\s+// end inline asm(?:\s+// begin inline asm)?\s+bar\.sync\s+0;)"
"""Where threads meet after a fence; numba-cuda-mlir's barriers are inline assembly, too."""
MISTAKES = {
    "a barrier not shown": (FENCE, ""),
    "a barrier is overwritten": (r"(mbarrier\.init\S+ (\[%r\d+\]), 1;)", r"\1\nst.shared.b32 \2, %tid.x;"),
    "a barrier is overwritten by a copy": (
        r"(mbarrier\.init\S+ )(\[%r\d+\])((?s:.*?) _, )\2((?s:.*?))(\[%r\d+\])(, \[%rd\d+\], %r\d+, )\2",
        r"\1\5\3\5\4\5\6\5",
    ),
    "expecting other bytes": (r"(expect_tx.* _, \[%r\d+\]), %r\d+", r"\1, 16"),
    "touched before a copy has arrived": (r"(selp\.b32 %r\d+), 1, 0, %p;", r"\1, 1, 1, %p;"),
    "not aligned": (r"\.align 16 ", ".align 8 "),
    "not shown to the engine": (FENCE + MEETING, r"\1"),
    "not shown to the engine, as threads met before": (FENCE + MEETING, r"\1\nfence.proxy.async.shared::cta;"),
    "changed while a copy reads": (
        r"(cp\.async\.bulk\.global\S+ \S+ (\[%r\d+\]), .*;)",
        r"\1\nst.shared.b32 \2, %tid.x;",
    ),
    "ends before a copy has read": (r"cp\.async\.bulk\.wait_group\.read 0;", ""),
    "ends before a copy has read, as it was not committed": (r"cp\.async\.bulk\.commit_group;", ""),
}
"""By what is said of it, and why: a pattern in a kernel that copies in bulk, and what stands there by mistake."""


@pytest.mark.parametrize("said", MISTAKES)
def test_a_mistake_with_bulk_copies_is_a_fault(said):
    text, (pattern, mistake) = ptx_of("reference: uint8", "sm_90"), MISTAKES[said]
    planted = re.sub(pattern, mistake, text, count=1)
    assert planted != text
    with pytest.raises(Fault, match=said.partition(",")[0]):
        draw(planted, *cases_of("reference: uint8")[-1])
