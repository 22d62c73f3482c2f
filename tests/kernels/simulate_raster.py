"""Draw small cases with the CUDA kernels in numba's simulator and compare them with NumPy: simulate_raster.py NAME..

A process of its own, because the simulator has to be chosen before anything is imported. Prints `NAME: N bytes differ`
for each case, what lies around the batch included. A name after `--later` is drawn with every window ending one
incident early: the smallest mistake there is, which must be seen.
"""

import os
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from hews_gpu.raster.cuda import CudaKernels
from tests.inputs.small_cases import SmallCase

THREADS, ROOM = 64, 1536  # two warps; several tiles even of a small map


def differing(name, is_planted):
    small = SmallCase(name)
    expected, batch = small.batch(seed=1)
    slow = small.rasterizer("numpy")
    slow.fill(small.pairs, batch)
    drawn, batch = small.batch(seed=1)
    quick = CudaKernels(slow.tables, slow.neighborhoods, steps=slow.steps, threads=THREADS, room=ROOM)
    pairs = small.pairs.copy()
    if is_planted:
        pairs[..., 1] = np.maximum(pairs[..., 0], pairs[..., 1] - 1)
    quick.fill(pairs, slow.values, batch, None)
    return int(np.count_nonzero(expected.view(np.uint8) != drawn.view(np.uint8)))


if __name__ == "__main__":
    planted = False
    for argument in sys.argv[1:]:
        if argument == "--later":
            planted = True
        else:
            print(f"{argument}: {differing(argument, planted)} bytes differ", flush=True)
