"""What becomes of forecasts that learn from the patrols they send: generated cities whose law is known.

`hews simulate feedback` with its defaults: 50 cycles of two weeks, 20 cities, the calendar at its recent level with
its shares of the neighborhoods, under the policy that `hews train` writes; a picture beside the result. ``--context``,
with a file of its own: HewsNet, which looks at all categories and a new table every day, but takes tens of times as
long and so has fewer and shorter histories, of shootings alone. By ``--cluster``'s workers; what is done lies in
``.local``, and a run that was cut short, or one of more ``--seeds``, goes on there. ``--quick``: two cities, four
cycles, nothing saved.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import ROOT, finish, parse_flags
from hews_gpu.audit.feedback import NEEDS_CONTEXT, Settings, feedback, feedback_table
from hews_gpu.cli.printing import print_table
from hews_gpu.cluster.dask_workers import parse_cluster
from hews_gpu.report.figures.feedback import drifts
from hews_gpu.report.style import light_svg

PACKAGES = ("distributed", "scipy")
MAIN = Settings()
CONTEXT = Settings(
    arms=("reported", *NEEDS_CONTEXT, "random"), model="hewsnet", cycles=10, cycle_weeks=4, delivery_days=1, seeds=8
)


def measure(settings: Settings, cluster: str, out: Path) -> dict[str, Any]:
    """Run all histories."""
    out.parent.mkdir(exist_ok=True)
    return feedback(settings, out, replace(parse_cluster(cluster), least_rows=1), resume=True)


def show(result: dict[str, Any]) -> None:
    """Print what each arm comes to."""
    print_table(f"forecast by {result['settings']['model']}", feedback_table(result))


def main() -> None:
    """Measure, print, and save unless quick."""
    flags = parse_flags(
        __doc__ or "",
        cluster={"default": "local:2", "help": "as of 'hews simulate feedback'"},
        seeds={"type": int, "default": MAIN.seeds, "metavar": "N", "help": "cities, at most"},
        context={"action": "store_true", "help": "HewsNet, with all categories"},
    )
    settings, name = (CONTEXT, "feedback_context") if flags.context else (MAIN, "feedback")
    settings = replace(settings, seeds=min(settings.seeds, flags.seeds))
    if flags.quick:
        settings = replace(settings, cycles=4, seeds=2)
    out = ROOT / ".local" / f"feedback-{settings.model}"
    result = measure(settings, flags.cluster, out)
    path = finish(name, result, flags, show, PACKAGES)
    if path is not None:
        path.with_suffix(".svg").write_text(light_svg(drifts(result["arms"])), encoding="utf-8")


if __name__ == "__main__":
    main()
