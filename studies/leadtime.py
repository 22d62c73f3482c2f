"""How far ahead anything is foreseen: on Baltimore's portal table through its test split, and on two generated cities.

The real table (HEWS_REAL_DATA names it) by the forecasters that ``--models A,B`` names: the level, HewsNet and the law
of few counts unless given, as the stack's many fits take about an hour more; its locked years stay closed. The
generated cities are controls: what `strong` holds is forgotten within a day, and in `null` there is nothing.
``--quick``: the controls alone, at two leads, nothing saved. ``--jobs N``: so many points at a time; as many as there
are cores unless given.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, header, parse_flags, real_data
from benchmarks.inputs.cities import PORTAL
from hews_gpu.cli.printing import print_line, print_table
from hews_gpu.evaluation.backtest import Problem
from hews_gpu.evaluation.tables import lead_table
from hews_gpu.files import read_manifest
from hews_gpu.runs.leadtime import DEFAULT_LEADS_S, Settings, leadtime
from studies.forecasts import CITY_SEED, baltimore

CONTROLS = {"strong": 10, "null": 10}
"""Years of each generated city."""
CONTROL_MODELS = ("hawkes",)
MODELS = "level,hewsnet,counts"


def judge(settings: Settings, jobs: int) -> dict[str, Any]:
    """Judge every lead and horizon of one city, and the processor seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        result = leadtime(settings, Path(folder) / "out", jobs=jobs)
        spent = read_manifest(Path(folder) / "out")["processor_seconds"]
    return {**result, "processor_seconds": spent}


def controls(jobs: int, leads_s: tuple[int, ...] = DEFAULT_LEADS_S) -> dict[str, Any]:
    """Judge the generated cities, of which it is known how far ahead there is anything to foresee."""
    problems = {name: Problem(preset=name, years=years, seed=CITY_SEED) for name, years in CONTROLS.items()}
    return {
        name: judge(Settings(problem=problem, models=CONTROL_MODELS, leads_s=leads_s), jobs)
        for name, problem in problems.items()
    }


def show(result: dict[str, Any]) -> None:
    """Print the table and the verdict of each city."""
    for name, one in {**({"Baltimore": result} if "points" in result else {}), **result["controls"]}.items():
        print_table(name, lead_table(one))
        print_line(f"{name}: {one['verdict']}")


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "", models={"default": MODELS}, jobs={"type": int, "metavar": "N"})
    jobs, data = flags.jobs or header()["cores"], real_data()
    if flags.quick:
        finish("leadtime", {"controls": controls(1, (DEFAULT_LEADS_S[0], DEFAULT_LEADS_S[-1]))}, flags, show)
        return
    if data is None:
        sys.exit("leadtime: needs HEWS_REAL_DATA; --quick judges the generated cities alone")
    with tempfile.TemporaryDirectory() as folder:
        baltimore(data, Path(folder), tables=(PORTAL,))
        problem = Problem(prepared=Path(folder) / "prepared")
        result = {"tables": [PORTAL], **judge(Settings(problem=problem, models=tuple(flags.models.split(","))), jobs)}
    finish("leadtime", {**result, "controls": controls(jobs)}, flags, show)


if __name__ == "__main__":
    main()
