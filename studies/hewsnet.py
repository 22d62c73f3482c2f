"""HewsNet against every baseline: five generated cities of ten years, and the real table through 2017.

The sources, the rolling protocol and the scores are those of ``hews bench forecasts``, which also has the curves over
lead and delay; here is what HewsNet's place among the others is decided by: closure, skill, calibration, the difference
to boosting window by window, and where. ``--quick``: one preset of three years, nothing saved.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, header, parse_flags
from studies.forecasts import judge_all, judge_quickly, show


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    result = judge_quickly(["strong"]) if flags.quick else judge_all(jobs=header()["cores"], with_curves=False)
    finish("hewsnet", result, flags, show)


if __name__ == "__main__":
    main()
