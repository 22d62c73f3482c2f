"""What warnings and their audit look like where fewer incidents are reported: generated cities whose law is known.

`hews simulate underreporting` with a policy of forty warnings a week, so that groups can be told apart. ``--quick``:
two cities, two shares, nothing saved.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, parse_flags
from hews_gpu.alerts.policy import NeighborhoodBudget, Policy
from hews_gpu.audit.feedback import Settings
from hews_gpu.audit.underreporting import SHARES, underreporting, underreporting_table
from hews_gpu.cli.printing import print_table

POLICY = Policy(neighborhoods=NeighborhoodBudget(watch_per_week=28, warning_per_week=12, each_per_week=10))


def show(result: dict[str, Any]) -> None:
    """Print all measures."""
    print_table("Neighborhoods that report less", underreporting_table(result))


def main() -> None:
    """Measure, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    settings, shares = (
        (Settings(policy=POLICY, seeds=2), SHARES[::3]) if flags.quick else (Settings(policy=POLICY), SHARES)
    )
    finish("underreporting", underreporting(settings, shares), flags, show, ("scipy",))


if __name__ == "__main__":
    main()
