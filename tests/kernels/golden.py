"""Write golden.json: the hashes of what the NumPy reference makes of the small cases. Run as a script, by hand."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.inputs.small_cases import CASES, SmallCase, hash_of

PATH = Path(__file__).with_suffix(".json")


def golden(backend):
    """Hash by case."""
    hashes = {}
    for name in CASES:
        small = SmallCase(name)
        _, batch = small.batch(seed=0)
        small.rasterizer(backend).fill(small.pairs, batch)
        hashes[name] = hash_of(batch)
    return hashes


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden("numpy"), indent=2) + "\n", encoding="utf-8")
