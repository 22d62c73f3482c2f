"""Who bears the warnings of Baltimore: one stack, its policy at three budgets, and the census of its neighborhoods.

Of the portal table with the 278 neighborhoods, where HEWS_REAL_DATA has it, a stack is trained and judged on the test
split; the locked years stay closed. Of that split the likeliest windows and neighborhoods are warned of, as many as
each budget allows, by the model, by the climatology and by the long-run rate, and audited by what the census of 2010
says of the neighborhoods (`hews audit fairness`). ``--quick``: one budget and one column, and a run must be given.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, parse_flags, real_data
from hews_gpu.audit.fairness import fairness
from hews_gpu.cli.printing import print_table
from studies.live import trained

CENSUS = "baltimore/neighborhoods_278_census2010.geojson.gz"
BY = ("Blk_AfAm/Population", "Vacant/Housing", "Occ_Rent/Occupied")
BUDGETS = (10, 100, 1000)
"""Warned windows and neighborhoods a week."""
KEPT = ("from", "to", "neighborhoods", "residents", "events", "hours_per_event", "caught", "came_true", "calibration")
BUDGET = "[neighborhoods]\nwatch_per_week = {}\nwarning_per_week = 0\n"


def measure(data: Path, folder: Path, quick: bool, given: Path | None) -> dict[str, Any]:
    """Audit a run at each budget."""
    run, _ = trained(data, folder, given)
    budgets, by = (BUDGETS[:1], BY[:1]) if quick else (BUDGETS, BY)
    audits = {}
    for budget in budgets:
        (run / "warnings.toml").write_text(BUDGET.format(budget))
        out, census = folder / str(budget), data / CENSUS
        audits[str(budget)] = _kept(fairness(run, census=census, name="Name", residents="Population", by=by, out=out))
    shutil.rmtree(run)
    return {"budgets": audits}


def _kept(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Return an audit without single neighborhoods, and without when and by what it was made; groups by name."""
    left_out = ("by_neighborhood", "created", "command", "version", "kind")
    by = {}
    for one in audit["by"]:
        groups = {
            name: {row["group"]: {key: row[key] for key in KEPT} for row in rows}
            for name, rows in one["groups"].items()
        }
        by[one["by"]] = {**one, "groups": groups}
    return {**{name: value for name, value in audit.items() if name not in left_out}, "by": by}


def show(result: Mapping[str, Any]) -> None:
    """Print hours per event of the highest quarter, in those of the whole city."""
    rows = [["windows a week", "by", "model", "climatology", "long-run rate", "caught", "at equal hours"]]
    for budget, audit in result["budgets"].items():
        for by, one in audit["by"].items():
            last = [groups["highest quarter"]["hours_per_event"]["ratio"] for groups in one["groups"].values()]
            ends = [f"{row['caught']['value']:.3f}" for row in (one["equal_hours"][0], one["equal_hours"][-1])]
            rows.append([budget, by, *(f"{ratio['value']:.2f}" for ratio in last), *ends])
    print_table("Hours under warning for each event, highest quarter of residents to the city", rows)


def main() -> None:
    """Measure, print, and save unless quick."""
    told = {"type": Path, "default": None, "help": "a trained and judged run of the table, instead of training one"}
    flags = parse_flags(__doc__ or "", run=told)
    data = real_data()
    if data is None:
        sys.exit("fairness: HEWS_REAL_DATA must name the folder of real tables")
    with tempfile.TemporaryDirectory() as scratch:
        finish("fairness", measure(data, Path(scratch), flags.quick, flags.run), flags, show)


if __name__ == "__main__":
    main()
