"""Write golden_pip.json: the hashes of where the exact reference puts the hard points. Run as a script, by hand."""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.inputs.polygons import points_near
from tests.inputs.polygon_cases import CASES
from tests.kernels.pip_reference import find_by_rays

PATH = Path(__file__).with_suffix(".json")


def hash_of(found):
    """SHA-256 of the answers int32[P]."""
    return hashlib.sha256(np.ascontiguousarray(found, np.int32).tobytes()).hexdigest()


def right_answers(name):
    """int32[P] by the reference."""
    rings = CASES[name]()
    return find_by_rays(*rings, *points_near(rings))


if __name__ == "__main__":
    hashes = {name: hash_of(right_answers(name)) for name in CASES}
    PATH.write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
