"""HewsNet against every baseline: five generated cities of ten years, and the real table through 2017.

The sources, the rolling protocol and the scores are those of ``hews bench forecasts``, which also has the curves over
lead and delay; here is what HewsNet's place among the others is decided by: closure, skill, calibration, the difference
to boosting window by window, and where. ``--quick``: one preset of three years, nothing saved.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import header, parse_flags, real_data, save_result
from hews_gpu.evaluation.folds import Plan
from studies.forecasts import PRESETS, QUICK_YEARS, YEARS, baltimore, closed, generated, judge, show, side_by_side


def judge_one(name: str) -> dict[str, Any]:
    """A preset, or the real table up to its locked block."""
    if name in PRESETS:
        return judge(generated(name, YEARS), Plan(), quick=True)
    data = real_data()
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        return judge(*closed(baltimore(data, Path(folder))), quick=True)


def judge_all() -> dict[str, Any]:
    """Every source, as many at a time as there are cores."""
    names = [*(["baltimore"] if real_data() else []), *PRESETS]
    found = side_by_side(judge_one, names, header()["cores"])
    return {"presets": {name: found[name] for name in PRESETS}, **{n: found[n] for n in names if n not in PRESETS}}


def main() -> None:
    """Judge, save unless quick, and print."""
    flags = parse_flags(__doc__ or "")
    if flags.quick:
        plan = Plan(blocks=1, seeds=(0,))
        results: dict[str, Any] = {"presets": {"strong": judge(generated("strong", QUICK_YEARS), plan, quick=True)}}
    else:
        results = judge_all()
        print(f"saved {save_result('hewsnet', results)}", file=sys.stderr)
    if flags.json:
        print(json.dumps(results, indent=2, allow_nan=False))
        return
    for name, found in results["presets"].items():
        show(f"{found['years']} years of {name}", found)
    if "baltimore" in results:
        show(results["baltimore"]["city"], results["baltimore"])


if __name__ == "__main__":
    main()
