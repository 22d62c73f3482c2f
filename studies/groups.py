"""Groups of victims: what `hews groups` finds on Baltimore's portal table, and whether it can be believed.

The real table (HEWS_REAL_DATA names it): both parts on its last whole year, which ends before its locked years, with
the 278 neighborhoods and their census of 2010; then both on a million rows drawn from the table with replacement, by
the clock and by the processor. Generated tables: planted groups must be found where they are, and tables without any
must be told so; ``--generated`` looks at these alone, and they have a file of their own. ``--quick``: three of each
kind, nothing saved.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from benchmarks.common import finish, parse_flags, real_data
from benchmarks.inputs.cities import PORTAL, write_baltimore
from hews_gpu.arrays import Int64
from hews_gpu.cli.printing import print_table
from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import prepare
from hews_gpu.files import read_manifest
from hews_gpu.groups.engine import choose_engine
from hews_gpu.groups.run import GROUPS, GroupTask, find_groups
from hews_gpu.workers import in_this_process
from studies.inputs.victims import generated

PACKAGES = ("scikit-learn", "scipy")
TABLES = 20
PLANTED = 4
ROWS = 2_500
MILLION = 1_000_000
KEPT: tuple[str, ...] = (
    "rows",
    "sample_rows",
    "silhouette_rows",
    "k",
    "is_real",
    "reasons",
    "curve",
    "t_needed",
    "gap_t",
    "silhouette_t",
)
KEPT += ("components", "stability", "null_stability", "silhouette", "alternatives", "join", "census", "joined_groups")


def controls(tables: int) -> dict[str, Any]:
    """Return how planted groups are found, and how often groups are seen in tables that have none."""
    planted: list[dict[str, Any]] = []
    null: list[dict[str, Any]] = []
    for seed in range(tables):
        for groups, into in ((PLANTED, planted), (1, null)):
            victims, truth, middles_km = generated(ROWS, groups, seed)
            with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
                task = GroupTask(choose_engine("cpu"), seed, in_this_process, Path(folder))
                result, labels, _ = find_groups(victims, None, middles_km, task)
            agreement = float(adjusted_rand_score(truth, labels))
            into.append(
                {name: result[name] for name in ("is_real", "k", "gap_t", "silhouette_t")} | {"agreement": agreement}
            )
    return {
        "planted": {
            **{"tables": tables, "groups": PLANTED, "rows": ROWS},
            "found": sum(one["is_real"] and one["k"] == PLANTED for one in planted),
            "least_agreement": min(one["agreement"] for one in planted),
            "each": planted,
        },
        "null": {
            "tables": tables,
            "rows": ROWS,
            "false_alarms": sum(one["is_real"] for one in null),
            "each": null,
        },
    }


def command(prepared: Path, out: Path, part: int, *span: str) -> dict[str, Any]:
    """Run `hews groups` in its own process, its census that of the polygons; return its result and what it took."""
    begin, before = time.perf_counter(), os.times()
    line = [
        sys.executable,
        "-m",
        "hews_gpu",
        "groups",
        str(prepared),
        "--part",
        str(part),
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    subprocess.run([*line, *span], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    content = json.loads((out / GROUPS).read_text(encoding="utf-8"))
    own = {name: content[name] for name in KEPT if name in content}
    own["groups"] = [
        {name: one[name] for name in ("group", "rows", "share", "stands_out")} for one in content["groups"]
    ]
    return {
        **{"begin": content["begin"], "end": content["end"], **own},
        "seconds": round(time.perf_counter() - begin, 1),
        "processor_seconds": round(
            after.children_user + after.children_system - before.children_user - before.children_system, 1
        ),
        "peak_memory_gb": round(read_manifest(out)["peak_memory_bytes"] / 1e9, 2),
    }


def drawn(prepared: Path, into: Path, rows: Int64) -> Path:
    """Write a prepared folder of some rows of another one, in their order."""
    into.mkdir()
    own, charts = (pq.read_table(prepared / f"{name}.parquet") for name in ("incidents", "charts_only"))
    own = own.take(rows)
    charts = charts.take(pc.index_in(own["row_id"], charts["row_id"]))
    for name, table in (("incidents", own), ("charts_only", charts)):
        numbered = table.set_column(table.column_names.index("row_id"), "row_id", pa.array(np.arange(len(rows))))
        pq.write_table(numbered, into / f"{name}.parquet")
    for name in ("neighborhoods.parquet", "city.toml", "hews.json"):
        (into / name).write_bytes((prepared / name).read_bytes())
    return into


def same_groups(prepared: Path, first: Path, part: int, folder: Path) -> dict[str, float]:
    """Return the adjusted Rand index of a run with itself done again, and with the same rows in another order."""
    row_id = pq.read_table(prepared / "incidents.parquet", columns=["row_id"])["row_id"].to_numpy()
    order = np.random.default_rng(0).permutation(len(row_id))
    other = folder / "shuffled"
    if not other.is_dir():
        drawn(prepared, other, order)
    labels = _labels(first)
    command(prepared, folder / f"again-{part}", part)
    command(other, folder / f"shuffled-{part}", part)
    shuffled = _labels(folder / f"shuffled-{part}")
    shuffled.index = row_id[order[shuffled.index]]
    again = _labels(folder / f"again-{part}")
    return {
        "repeated_run": float(adjusted_rand_score(labels, again.loc[labels.index])),
        "shuffled_rows": float(adjusted_rand_score(labels, shuffled.loc[labels.index])),
    }


def _labels(out: Path) -> Any:
    return pq.read_table(out / "groups.parquet").to_pandas().set_index("row_id")["group"]


def baltimore(data: Path) -> dict[str, Any]:
    """Return what is found on the real table, and how long a million rows take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(load_city(write_baltimore(folder, data, tables=(PORTAL,), areas=278)), folder / "prepared")
        parts = {f"part_{part}": command(folder / "prepared", folder / f"part-{part}", part) for part in (1, 2)}
        orders = {
            f"part_{part}": same_groups(folder / "prepared", folder / f"part-{part}", part, folder) for part in (1, 2)
        }
        rows = pq.read_metadata(folder / "prepared" / "incidents.parquet").num_rows
        chosen = np.sort(np.random.default_rng(0).integers(0, rows, MILLION))
        many = drawn(folder / "prepared", folder / "many", chosen)
        span = ("--from", "2012-01-01", "--to", "2017-09-02")
        million = {f"part_{part}": command(many, folder / f"many-{part}", part, *span) for part in (1, 2)}
    return {"tables": [PORTAL], **parts, "same_groups": orders, "million": million}


def show(result: dict[str, Any]) -> None:
    """Print what was found and what it took."""
    rows = [["table", "rows", "k", "real", "silhouette", "processor s"]]
    for name, one in {**result.get("baltimore", {}), **result.get("baltimore", {}).get("million", {})}.items():
        if isinstance(one, dict) and "k" in one:
            cells = [f"{one['rows']:,}", str(one["k"]), str(one["is_real"]), f"{one['silhouette']['value']:.3f}"]
            rows.append([name, *cells, f"{one['processor_seconds']:.0f}"])
    print_table("Baltimore", rows)
    if "controls" not in result:
        return
    own = result["controls"]
    planted, null = own["planted"], own["null"]
    summary = [
        ["", "tables", "said to have groups", "least agreement"],
        ["planted", str(planted["tables"]), str(planted["found"]), f"{planted['least_agreement']:.3f}"],
        ["none", str(null["tables"]), str(null["false_alarms"]), ""],
    ]
    print_table("Generated tables", summary)


def main() -> None:
    """Find, print, and save unless quick."""
    flags = parse_flags(__doc__ or "", generated={"action": "store_true"})
    data = real_data()
    if flags.quick or flags.generated:
        finish("groups_generated", {"controls": controls(3 if flags.quick else TABLES)}, flags, show, PACKAGES)
        return
    if data is None:
        sys.exit("groups: needs HEWS_REAL_DATA; --generated does without")
    finish("groups", {"baltimore": baltimore(data)}, flags, show, PACKAGES)


if __name__ == "__main__":
    main()
