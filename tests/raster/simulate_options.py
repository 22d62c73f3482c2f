"""Draw every option with the CUDA kernels in numba's simulator, and hand them batches that make no sense.

A process of its own, because the simulator has to be chosen before anything is imported. Prints `NAME: N` with the
number of bytes that differ from NumPy's, or `NAME: OUTCOME`. With the argument `drawings`, only every option.
"""

import os
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from hews_gpu.raster.cuda import CudaKernels
from tests.raster.options import drawing, drawn, pairwise, rasterizer_of, windows_of

SMALL = {"threads": 32, "room": 4096}
MOST = 70  # incidents of the first window: more than are looked at in one go
FEW = 4


def quick_of(slow):
    return CudaKernels(slow.tables, slow.neighborhoods, steps=slow.steps, **SMALL)


def differing(chosen, count, is_staging=False):
    slow = rasterizer_of(chosen, "numpy")
    quick = quick_of(slow)
    quick.is_staging = is_staging

    def fill(pairs, batch):
        quick.fill(pairs, slow.values, batch, None)

    return int(np.count_nonzero(drawn(chosen, slow, count, MOST) != drawn(chosen, slow, count, MOST, fill)))


def outcome(chosen, spoil):
    """What a spoilt batch leads to: it is drawn as if empty, and `check` raises, once."""
    slow = rasterizer_of(chosen, "numpy")
    quick = quick_of(slow)
    pairs = windows_of(slow, 2, FEW)
    expected, batch = (np.empty((2, *slow.shape), slow.values.codes.dtype) for _ in range(2))
    none = np.zeros_like(pairs)
    spoil(pairs)
    good = pairs.copy()
    good[1] = none[1]
    slow.fill(good, expected)
    quick.fill(pairs, slow.values, batch, None)
    is_empty = np.array_equal(batch[0], expected[0]) and np.count_nonzero(batch[1] != expected[1]) == 0
    words = []
    for _ in range(2):
        try:
            quick.check(None)
        except ValueError as error:
            words.append(str(error))
    return f"{len(words)} {is_empty} {words[0] if words else ''}"


def last_far(pairs):
    pairs[1, ..., :] = [3, 401]


def negative(pairs):
    pairs[1, ..., :] = [-1, 5]


def both_negative(pairs):
    pairs[1, ..., :] = [-9, -3]


def backwards(pairs):
    pairs[1, ..., :] = [9, 3]


def beyond_32_bits(pairs):
    pairs[1, ..., :] = [2**32, 2**32 + 3]


def nothing(pairs):
    pairs[1] = 0


SPOILT = (nothing, last_far, negative, both_negative, backwards, beyond_32_bits)

if __name__ == "__main__":
    if sys.argv[1:] == ["drawings"]:
        for k, chosen in enumerate(pairwise()):
            print(f"drawing {k}: {differing(chosen, 2)}", flush=True)
        sys.exit()
    for dtype in range(3):
        print(f"staged {dtype}: {differing(drawing(0, dtype, 1, 0, 1, 1), 2, is_staging=True)}", flush=True)
    for style in (0, 3, 5):  # one function of all styles looks at pairs; that each asks it, two show
        for spoil in SPOILT if style == 3 else SPOILT[:2]:
            print(f"{spoil.__name__}, {style}: {outcome(drawing(style, 0, 0, 0, 1, 0), spoil)}", flush=True)
