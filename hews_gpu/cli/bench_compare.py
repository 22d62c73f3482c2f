"""`hews bench compare A.json B.json`: two results of one benchmark side by side, and what else differed between them.

A ratio alone says little: another machine, other versions, a busy neighbor or a spread that covers the difference are
named beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError
from hews_gpu.own_files import check, named, read_json

__all__ = ["compare_files", "comparison_table"]

MACHINE = ("cpu", "cores", "memory_gib", "system", "device", "threads", "gpu")
TOLD = ("date", "command", "commit", "load_at_start", "benchmark")  # differ always, or are named by themselves
IDENTITY = ("threads", "batch", "processes", "workers", "rows", "points", "polygons", "windows", "years", "seed")
"""Whole numbers that say which row of a list it is, as texts always do; other numbers are what was measured."""
RESULT = {
    "benchmark": str,
    **dict.fromkeys(("date?", "command?", "commit?", "cpu?", "system?", "device?"), str),
    **dict.fromkeys(("cores?", "load_at_start?", "memory_gib?"), float),
}
SMALLER_IS_BETTER = ("_s", "seconds", "_ms", "_gb", "_mib", "_bytes")
LARGER_IS_BETTER = ("per_s", "share_of_copy_floor")
BUSY = 0.5  # of the processors: a load above that is no quiet machine
TABLE_ROWS = 60

Leaf = tuple[float, tuple[float, float] | None]  # a number, and its lowest and highest where they are known


def compare_files(paths: Sequence[Path]) -> dict[str, Any]:
    """Set two result files side by side.

    Args:
        paths: A and B.

    Returns:
        ``benchmark``, ``a``, ``b`` (files), ``rows`` (what, a, b, ratio B/A, better: a, b or neither) and
        ``differences`` (sentences on what else differed).

    Raises:
        UserError: not two files, not results, or of two benchmarks.
    """
    if len(paths) != 2:
        remedy = "hews bench compare A.json B.json"
        raise UserError("hews bench compare", len(paths), allowed="needs two result files", remedy=remedy)
    remedy = "Give a file of benchmarks/results/, or what 'hews bench NAME --json' printed"
    a, b = (read_json(path, RESULT, remedy=remedy) for path in paths)
    if a["benchmark"] != b["benchmark"]:
        allowed = f"is of the benchmark {b['benchmark']}, the first of {a['benchmark']}"
        raise UserError(str(paths[1]), allowed=allowed, remedy="Give two results of one benchmark")
    ours, others = (_figures(x, path) for x, path in zip((a, b), paths, strict=True))
    rows = [_row(what, ours[what], others[what]) for what in ours if what in others]
    return {
        "benchmark": a["benchmark"],
        "a": str(paths[0]),
        "b": str(paths[1]),
        "rows": rows,
        "differences": _differences(a, b, len(ours) - len(rows), len(others) - len(rows)),
    }


def comparison_table(comparison: Mapping[str, Any]) -> list[list[str]]:
    """Return the speeds, times and sizes as rows of text, heading first; those that differ most come first."""
    rows = [row for row in comparison["rows"] if row["better"] is not None and row["ratio"] is not None]
    rows.sort(key=lambda row: -abs(row["ratio"] - 1) if row["ratio"] > 1 else -abs(1 / max(row["ratio"], 1e-12) - 1))
    heading = ["what", "A", "B", "B / A", "better"]
    return [
        heading,
        *([r["what"], f"{r['a']:,.5g}", f"{r['b']:,.5g}", f"{r['ratio']:.3f}", r["better"]] for r in rows[:TABLE_ROWS]),
    ]


def _figures(result: Mapping[str, Any], file: Path) -> dict[str, Leaf]:
    """Return every number of a result by the path to it."""
    with named(str(file)):
        return dict(_leaves({key: one for key, one in result.items() if key not in (*MACHINE, *TOLD)}))


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yield every number with the path to it; median, lowest and highest of one timing are one number."""
    if isinstance(node, bool) or node is None or isinstance(node, str):
        return
    if isinstance(node, (int, float)):
        yield path, (float(node), None)
    elif isinstance(node, list):
        for name, item in _named(node):
            yield from _leaves(item, f"{path} {name}".strip())
    elif (ends := _ends(node, path)) is not None:
        yield f"{path}_s" if "median_s" in node else path, ends
    else:
        for key, item in node.items():
            yield from _leaves(item, f"{path} {key}".strip())


def _ends(node: Mapping[str, Any], path: str) -> Leaf | None:
    for middle, low, high in (("median_s", "min_s", "max_s"), ("median", "low", "high")):
        if {middle, low, high} <= node.keys():
            check(node, dict.fromkeys((middle, low, high), float), path)
            return float(node[middle]), (float(node[low]), float(node[high]))
    return None


def _named(items: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a list under the names that their texts give, so that a row may stand at another place."""
    seen: dict[str, int] = {}
    for i, item in enumerate(items):
        words: list[str] = []
        if isinstance(item, dict):
            words = [value for key, value in item.items() if isinstance(value, str) and not key.startswith("fastest")]
            words += [f"{key}={item[key]}" for key in IDENTITY if isinstance(item.get(key), int)]
        name = f"[{', '.join(words) or i}]"
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}#{seen[name]}", item


def _row(what: str, a: Leaf, b: Leaf) -> dict[str, Any]:
    return {"what": what, "a": a[0], "b": b[0], "ratio": b[0] / a[0] if a[0] else None, "better": _better(what, a, b)}


def _better(what: str, a: Leaf, b: Leaf) -> str | None:
    """Return which side is better; neither where their spreads overlap; None for what is neither speed nor cost."""
    larger = what.endswith(LARGER_IS_BETTER)
    if not larger and not what.endswith(SMALLER_IS_BETTER):
        return None
    if a[1] and b[1] and a[1][0] <= b[1][1] and b[1][0] <= a[1][1]:
        return "within the spread"
    if a[0] == b[0]:
        return "equal"
    return "B" if (b[0] > a[0]) == larger else "A"


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], only_a: int, only_b: int) -> list[str]:
    """List what else differs: machine, versions, command, load, and figures that one side alone has."""
    differences = []
    for key in dict.fromkeys([*a, *b]):
        x, y = a.get(key, "not said"), b.get(key, "not said")
        if key not in TOLD and x != y and all(not isinstance(value, (list, dict, float)) for value in (x, y)):
            differences.append(f"{'machine: ' if key in MACHINE else ''}{key}: {x} in A, {y} in B")
    if a.get("command") != b.get("command"):
        differences.append(f"command: {a.get('command')} in A, {b.get('command')} in B")
    for name, side in (("A", a), ("B", b)):
        if isinstance(load := side.get("load_at_start"), (int, float)) and load > BUSY * (side.get("cores") or 1):
            differences.append(
                f"{name} began at a load of {load} on {side.get('cores')} processors: not a quiet machine"
            )
        if str(side.get("commit", "")).endswith("-dirty"):
            differences.append(f"{name} was made from files that were not committed")
    differences += [f"{count} figures are in {name} alone" for name, count in (("A", only_a), ("B", only_b)) if count]
    return differences
