"""Run the GPU benchmark's logic on small maps in numba's simulator: a process of its own."""

import os
import sys
import time
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.gpu import pip, raster
from benchmarks.inputs.polygons import patchwork
from hews_gpu.raster.output import Values


class Simulated:
    """NumPy's memory and this process's clock."""

    def empty(self, shape, dtype):
        return np.zeros(shape, dtype)

    def to_device(self, array):
        return array

    def to_host(self, array):
        return array

    def device_s(self, call, calls):
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) / calls

    wall_s = staticmethod(lambda call: Simulated().device_s(call, 1))

    def fill(self, array):
        array.fill(7)

    def copy(self, source, target):
        target[:] = source

    def launch(self, kernel, blocks, threads, arguments):
        kernel[blocks, threads](*arguments)


POINTS_NEAR = pip.points_near

if __name__ == "__main__":
    small = {
        "painting": lambda backend: raster.painting(backend, areas=5, height=16, width=12),
        "counting": lambda backend: raster.counting(backend, height=2, width=2),
    }
    for name, make in small.items():
        row = raster.measure(Simulated(), make, Values.unit("float16"), 1, rounds=3, calls=1)
        print(name, row["same_as_cpu"], row["batch"], row["share_of_fill"] > 0, row["gb_per_s"] > 0)
    pip.points_near = lambda rings: tuple(column[::120] for column in POINTS_NEAR(rings))
    row = pip.measure(Simulated(), patchwork(3, 3, 2), 20, checked=10, rounds=3)
    print("pip", row["same_as_cpu"], row["points"], row["polygons"], row["points_per_s"] > 0)
