"""What becomes of forecasts that learn from the patrols they send: generated cities whose law is known.

`hews simulate feedback` with its defaults: 50 cycles of two weeks, 20 cities, the calendar at its recent level with
its shares of the neighborhoods, under the policy that `hews train` writes. Beside it HewsNet, which looks at all
categories, takes long, and so has fewer and shorter histories, but a table every day: whether what patrols find of
other categories carries a forecast of shootings away. By ``--cluster``'s workers; what is done lies in
``.local/feedback-*``, and a run that was cut short goes on there. ``--quick``: two cities, four cycles, nothing saved.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import ROOT, finish, parse_flags
from hews_gpu.audit.feedback import ARMS, NEEDS_CONTEXT, Settings, feedback, feedback_table
from hews_gpu.cli.printing import print_table
from hews_gpu.cluster.dask_workers import parse_cluster
from hews_gpu.report.figures.feedback import drifts
from hews_gpu.report.style import light_svg

PACKAGES = ("distributed", "scipy")
MAIN = Settings(arms=tuple(name for name in ARMS if name not in NEEDS_CONTEXT))
CONTEXT = Settings(
    arms=("reported", *NEEDS_CONTEXT, "random"), model="hewsnet", cycles=8, cycle_weeks=4, delivery_days=1, seeds=4
)


def measure(cluster: str, seeds: int, quick: bool) -> dict[str, Any]:
    """Run both."""
    result, workers = {}, replace(parse_cluster(cluster), least_rows=1)
    for name, settings in (("level", MAIN), ("hewsnet", CONTEXT)):
        own = replace(settings, cycles=4, seeds=2) if quick else replace(settings, seeds=min(settings.seeds, seeds))
        out = ROOT / ".local" / f"feedback-{name}"
        out.parent.mkdir(exist_ok=True)
        result[name] = feedback(own, out, workers, resume=True)
    return result


def show(result: dict[str, Any]) -> None:
    """Print what each arm comes to."""
    for name, one in result.items():
        print_table(f"forecast by {name}", feedback_table(one))


def main() -> None:
    """Measure, print, and save unless quick."""
    flags = parse_flags(
        __doc__ or "",
        cluster={"default": "local:2", "help": "as of 'hews simulate feedback'"},
        seeds={"type": int, "default": MAIN.seeds, "metavar": "N", "help": "cities, at most"},
    )
    result = measure(flags.cluster, flags.seeds, flags.quick)
    path = finish("feedback", result, flags, show, PACKAGES)
    if path is not None:
        path.with_suffix(".svg").write_text(light_svg(drifts(result["level"]["arms"])), encoding="utf-8")


if __name__ == "__main__":
    main()
