"""Gate 5, the columns: only time, place, category and the marks made of them reach a model.

Formatting can give the label away (in one real table a column is spelt out on exactly the target rows). So a copy of
the prepared folder is made in which every other column says something else, in the file of chart columns too; whatever
is read from the copy must be the same to the bit.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hews_gpu.audit.gate_result import GateResult
from hews_gpu.data.events import CHARTS, COLUMNS, QUALITY, open_prepared
from hews_gpu.feed.maps import all_windows
from hews_gpu.forecasters.city import event_groups
from hews_gpu.raster.rasterizer import channels_rasterizer, reference_rasterizer

__all__ = ["MAY_BE_READ", "Reader", "columns_gate", "read_all"]

MAY_BE_READ = frozenset(
    "time_s longitude latitude category neighborhood_id is_target "
    "row_id duplicate_of is_overlap twin_of near_twin_of".split()
)
"""Time, place, category, label; and which rows belong together."""
DRAWN = 32  # maps of each style
Reader = Callable[[Path], Mapping[str, NDArray[Any]]]


def read_all(folder: Path) -> dict[str, NDArray[Any]]:
    """Read all that forecasts are made from, out of a prepared folder: rows, events that belong together, maps."""
    prepared = open_prepared(folder)
    read: dict[str, NDArray[Any]] = {
        name: value for name, value in vars(prepared.events).items() if isinstance(value, np.ndarray)
    }
    read["categories"] = np.array(prepared.events.categories)
    read["groups"] = event_groups(prepared)
    windows = all_windows(prepared)
    some = windows.pairs[np.linspace(0, len(windows) - 1, min(DRAWN, len(windows))).astype(np.int64)]
    read["reference maps"] = reference_rasterizer(prepared).maps(some)
    read["channel maps"] = channels_rasterizer(prepared, steps=1).maps(some[:, None, :])
    return read


def columns_gate(folder: Path, *, read: Reader = read_all, seed: int = 0) -> GateResult:
    """Change every column of a prepared folder that no model may read, and compare what the pipeline reads."""
    table = pq.read_table(folder / "incidents.parquet")
    others = [name for name in table.column_names if name not in MAY_BE_READ]
    charts = pq.read_table(folder / CHARTS) if (folder / CHARTS).is_file() else pa.table({})
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "copy"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(CHARTS, "incidents.parquet", "quality.json"))
        pq.write_table(_scrambled(table, others, rng), copy / "incidents.parquet")
        pq.write_table(_scrambled(charts, charts.column_names, rng), copy / CHARTS)
        before, after = read(folder), read(copy)
    differ = [key for key in before if before[key].tobytes() != after[key].tobytes()]
    extra = sorted(set(COLUMNS) - MAY_BE_READ)
    bad = bool(differ or extra)
    scrambled = f"{len(others)} columns and {len(charts.column_names)} chart columns changed"
    return GateResult(
        gate="5 columns",
        tested=f"{', '.join(before)} read from {folder.name}",
        verdict="fail" if bad else "pass",
        summary=f"{scrambled}: " + (f"{', '.join(differ + extra)} changed" if bad else "the same bits"),
        figures={
            "read": list(COLUMNS),
            "changed": others,
            "charts_changed": charts.column_names,
            "differences": differ,
            "telling": _telling(folder),
        },
    )


def _scrambled(table: pa.Table, names: list[str], rng: np.random.Generator) -> pa.Table:
    """Deal the values of some columns to other rows, and replace words."""
    for name in names:
        column = table[name]
        moved = column.take(pa.array(rng.permutation(len(column))))
        if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
            moved = pa.array([f"changed {'x' * (i % 7)}" for i in range(len(column))])
        table = table.set_column(table.column_names.index(name), name, moved)
    return table


def _telling(folder: Path) -> list[str]:
    """Return the columns that give the label away, as `hews prepare` measured; for the record: nothing reads them."""
    if not (folder / QUALITY).exists():
        return []
    columns = open_prepared(folder).quality["label_information"]["columns"]
    return [entry["column"] for entry in columns if entry["warning"]]
