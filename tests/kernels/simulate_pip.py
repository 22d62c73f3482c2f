"""Place points with the CUDA kernel in numba's simulator: python simulate_pip.py RESULT.npz.

A process of its own, because the simulator has to be chosen before anything is imported.
"""

import os
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from hews_gpu.data.geometry.point_in_polygon import grid_of
from hews_gpu.kernels.pip_cuda import THREADS, blocks_for, find_all
from tests.kernels.pip_cases import CASES, points_of


def main() -> None:
    results = {}
    for case in ("patchwork", "overlapping stars", "slivers", "tiny city"):
        polygons = CASES[case]()
        x, y = points_of(polygons, random_points=500)
        picked = np.random.default_rng(0).permutation(len(x))[:120]
        x, y = np.append(x[picked], x[-10:]), np.append(y[picked], y[-10:])
        out = np.full(len(x), 7, np.int32)
        find_all[blocks_for(len(x)), THREADS](grid_of(polygons), x, y, out)
        results |= {f"{case}/x": x, f"{case}/y": y, f"{case}/found": out}
    np.savez(sys.argv[1], **results)


if __name__ == "__main__":
    main()
