"""Launch kernels by their compiler and by a block of our own on the stub driver; print what differs, and each time.

A process of its own, with the stub on LD_LIBRARY_PATH. Prints JSON: by case the names of fills that were launched
otherwise than by the compiler, and the time of this thread for one `fill`.
"""

import ctypes
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


from hews_gpu.kernels._shim_cuda import COMPILER, cuda
from hews_gpu.raster.cuda import CudaKernels
from tests.inputs.small_cases import SmallCase
from tests.kernels.ptx import Program

SAME = 0 if COMPILER == "numba-cuda" else 8
"""What is compared begins behind the kernel's handle where the compiler's launcher has loaded the code for itself."""
STUB = ctypes.CDLL("libcuda.so.1")
STUB.stub_launched.restype = ctypes.POINTER(ctypes.c_ubyte * (8 + 8 + 8 + 24 + 4096))


def record(work):
    """What the driver was given by a call that launches once: kernel, stream, grid, threads and the parameters."""
    before = bytes(STUB.stub_launched().contents)
    work()
    after = bytes(STUB.stub_launched().contents)
    assert int.from_bytes(after[:8], "little") == int.from_bytes(before[:8], "little") + 1
    return after[8:]


def expect_parameters(kernels):
    """Tell the stub how many bytes each parameter has, as the kernel's PTX says."""
    (compiled,) = kernels.last.overloads.values()
    sizes = [size for _, size in Program(compiled.inspect_asm((9, 0))).parameters]
    STUB.stub_expect(len(sizes), (ctypes.c_int * len(sizes))(*sizes))


class Kernels(CudaKernels):
    """Those that remember what the compiler was asked to launch last."""

    last = None

    def kernel(self, output):
        self.last = super().kernel(output)
        return self.last


def best_us(work):
    times = []
    for _ in range(20):
        begin = time.thread_time()
        for _ in range(50):
            work()
        times.append((time.thread_time() - begin) / 50)
    return round(min(times) * 1e6, 1)


def compare(name):
    small = SmallCase(name)
    slow = small.rasterizer("numpy")
    quick = small.rasterizer("numpy")
    quick.backend, quick.kernels = "cuda", Kernels(slow.tables, slow.neighborhoods, steps=slow.steps)
    kernels, (memory, batch) = quick.kernels, small.batch(seed=1)
    on_device = cuda.to_device(memory)
    out = on_device[small.begin : small.begin + batch.size].view(batch.dtype).reshape(batch.shape)
    pairs, fewer = cuda.to_device(small.pairs), cuda.to_device(small.pairs[1:3])
    fills = {
        "the same": lambda: quick.fill(pairs, out),
        "fewer windows elsewhere": lambda: quick.fill(fewer, out[2:]),
        "on a stream": lambda: quick.fill(pairs, out, stream=0x77),
        "pairs of the host": lambda: quick.fill(small.pairs, out),
    }
    STUB.stub_expect(0, None)
    quick.fill(pairs, out)
    (key,) = kernels._launches
    launch, differing = kernels._launches[key], []
    assert launch is not None
    expect_parameters(kernels)
    for label, fill in fills.items():
        records = []
        for one in (launch, None):
            kernels._launches[key] = one
            records.append(record(fill))
        differing += [label] if records[0][SAME:] != records[1][SAME:] else []
    us = {}
    for label, one in {"numba": None, "block": launch}.items():
        kernels._launches[key] = one
        us[label] = best_us(fills["the same"])
    return {"differing": differing, "us": us}


if __name__ == "__main__":
    print(json.dumps({name: compare(name) for name in sys.argv[1:]}))
