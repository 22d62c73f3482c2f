"""What warnings and their audit look like where fewer incidents are reported: generated cities whose law is known.

`hews simulate underreporting` with a policy of forty warnings a week, so that groups can be told apart. Then half of
the records of shootings alone and of weapons alone, which foretell some, with a new table every day: with this
forecaster and with HewsNet, which looks at all categories; with HewsNet in fewer cities. ``--quick``: two cities, two
shares, nothing saved.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, parse_flags
from hews_gpu.alerts.policy import NeighborhoodBudget, Policy
from hews_gpu.audit.feedback import Settings
from hews_gpu.audit.underreporting import SHARES, underreporting, underreporting_table
from hews_gpu.cli.printing import print_table
from hews_gpu.synthetic.patrolled import SHOOTING, WEAPONS

POLICY = Policy(neighborhoods=NeighborhoodBudget(watch_per_week=28, warning_per_week=12, each_per_week=10))


PART = (1.0, 0.5)
PARTS = {"shootings": (SHOOTING,), "weapons": (WEAPONS,)}
CITIES = {"level": 20, "hewsnet": 8}


def show(result: dict[str, Any]) -> None:
    """Print all measures."""
    print_table("Neighborhoods that report less", underreporting_table(result))
    for model, parts in result["by_category"].items():
        for name, shares in parts.items():
            print_table(f"Of {name} alone, {model}", underreporting_table({"shares": shares}))


def measure(settings: Settings, shares: tuple[float, ...], cities: dict[str, int]) -> dict[str, Any]:
    """Audit all shares of all reports, then half of the records of one category, by model."""
    result, daily = underreporting(settings, shares), replace(settings, delivery_days=1)
    result["by_category"] = {
        model: {
            name: underreporting(replace(daily, model=model, seeds=seeds), PART, categories)["shares"]
            for name, categories in PARTS.items()
        }
        for model, seeds in cities.items()
    }
    return result


def main() -> None:
    """Measure, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    if flags.quick:
        result = measure(Settings(policy=POLICY, seeds=2), SHARES[::3], {"level": 2})
    else:
        result = measure(Settings(policy=POLICY), SHARES, CITIES)
    finish("underreporting", result, flags, show, ("scipy",))


if __name__ == "__main__":
    main()
