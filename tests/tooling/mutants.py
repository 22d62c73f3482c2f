"""Change one thing at a time in the modules that decide results, and count the changes that their tests see.

``python -m tests.tooling.mutants [MODULE ...] [--jobs N] [--out FILE]``, or ``make mutants``. A mutant is a module with
one operator, number, key, condition or statement changed. No file is touched: each mutant is compiled from a changed
syntax tree in a process of its own, forked from one that has loaded the libraries, and its tests run there until one
fails. A mutant that no test sees is listed with its line: either a test is missing, or the change means the same. Those
of which that can be shown are in SAME, with the reason, and are not counted.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import math
import operator
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    "hews_gpu/config.py": "tests/test_config.py",
    "hews_gpu/data/windows.py": "tests/data/test_windows.py",
    "hews_gpu/data/prepare/duplicates.py": "tests/data/prepare/test_duplicates.py",
    "hews_gpu/evaluation/alarms.py": "tests/evaluation/test_alarms.py",
    "hews_gpu/evaluation/bootstrap.py": "tests/evaluation/test_bootstrap.py",
    "hews_gpu/evaluation/calibration.py": "tests/evaluation/test_calibration.py",
    "hews_gpu/evaluation/folds.py": "tests/evaluation/test_folds.py tests/evaluation/test_experiment.py",
    "hews_gpu/evaluation/judge.py": "tests/evaluation/test_judge.py",
    "hews_gpu/evaluation/metrics.py": "tests/evaluation/test_metrics.py tests/evaluation/test_bootstrap.py",
    "hews_gpu/kernels/pip_scalars.py": "tests/kernels/test_pip_scalars.py tests/kernels/test_pip_walk.py",
    "hews_gpu/kernels/scalars.py": "tests/kernels/test_scalars.py",
    "hews_gpu/report/formatting.py": "tests/report/test_formatting.py",
    "hews_gpu/report/sections/scores.py": "tests/report/sections/test_scores.py",
}
SAME: dict[str, dict[tuple[str, str], str]] = {
    "hews_gpu/data/prepare/duplicates.py": {
        ("NONE = -1", "1 -> 2"): "no row has a negative id",
        ("MAX_PAIRS = ", "2000000 -> 2000001"): "how much is done at once changes no pair",
        ("frame.sort_values", "True -> False"): "columns are taken by position, not by the index",
        ("layout != layout[:1]", "NotEq -> Eq in layout != layout[:1]"): "one layout has no earlier one to search",
        ("np.flatnonzero(repeated", "GtE -> Gt in repeated >= 0"): "the first row of all repeats none itself",
        ("np.flatnonzero(repeated", "0 -> 1"): "the first row of all repeats none itself",
        ("download == download[:1]", "Eq -> NotEq in download == download[:1]"): "one download has no earlier one",
        ("shared = np.flatnonzero(pd.Series(keys[0])", "0 -> 1"): "rows that share all keys share the second one",
        ("groups = pd.Series(shared)", "False -> True"): "the order of groups is not looked at",
        ("np.arange(len(keys[0]))", "0 -> 1"): "all keys are equally long",
        ("while begin < len(busy)", "Lt -> LtE in begin < len(busy)"): "one more part without pairs",
        ("rows.time_s[of_first], kind", "'stable' -> 'stable_other'"): "NumPy reads the first letter alone",
        ("zip(*near, strict=True)", "True -> False"): "all parts are equally long",
        ("zip(a[order].tolist()", "True -> False"): "both are equally long",
    },
    "hews_gpu/evaluation/bootstrap.py": {
        ("values.reshape(self.length, -1)", "1 -> 2"): "NumPy works out any negative length",
    },
    "hews_gpu/evaluation/calibration.py": {
        ("x = log_odds - center", "Sub -> Add in log_odds - center"): "a slope does not depend on where x begins",
        (
            "np.clip(left, 0, points - 1)",
            "Sub -> Add in points - 1",
        ): "no forecast lies beyond the last cell",
    },
    "hews_gpu/evaluation/folds.py": {
        ("* 3 // 5", "FloorDiv -> Div in (end_s - begin_s) * 3 // 5"): "edges of blocks are cut to whole seconds",
    },
    "hews_gpu/kernels/scalars.py": {
        ("both if both < 255", "Lt -> LtE in both < 255"): "a sum of 255 is 255 either way",
        ("both if both < 255", "255 -> 256"): "a sum of 255 is 255 either way",
    },
}
"""Mutants that do what the module does: by module, a part of their line and what is changed; and the reason."""
LIBRARIES = set("numpy pandas pyarrow scipy sklearn shapely geopandas matplotlib numba torch dask jinja2 zarr".split())
UNCHANGED = -1  # in place of a mutant: the module as it is, loaded as a mutant would be
SLOWEST, LEAST_S = 4, 10  # times the processor seconds of the tests without a mutant, and at least; more is stopped
PATIENCE = 20  # times the processor seconds may pass by the clock
MEMORY_BYTES = 12 * 2**30

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.Break: ast.Continue},
}
NAMES = dict(
    pair
    for a, b in (("min", "max"), ("minimum", "maximum"), ("any", "all"), ("floor", "ceil"), ("argmin", "argmax"))
    for pair in ((a, b), (b, a))
)
TEXTS = {"left": "right", "right": "left"}
MESSAGES = {"allowed", "remedy", "summary"}  # texts for people under these names


@dataclass(frozen=True)
class Mutant:
    """One change of a syntax tree."""

    line: int
    what: str
    apply: Callable[[], None]


def mutants_of(tree: ast.Module) -> Iterator[Mutant]:
    """Return every mutant of a module, in order of its lines; at most one may be applied to a tree."""
    for node, owner in _walk(tree):
        yield from _mutants_at(node, owner)


def _walk(node: ast.AST, owner: Callable[[ast.AST], None] | None = None) -> Iterator[tuple[ast.AST, Any]]:
    """Return each node that is run, with a function that puts another in its place."""
    yield node, owner
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment", "op", "ops", "ctx"):
            continue
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not _is_words(child, node):

                def put(new: ast.AST, name: str = name, value: Any = value, i: int = i) -> None:
                    if isinstance(value, list):
                        value[i] = new
                    else:
                        setattr(node, name, new)

                yield from _walk(child, put)


def _is_words(node: ast.AST, parent: ast.AST) -> bool:
    """Return whether a node says something to people or to the type checker, and does nothing else."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id in {"__all__", *MESSAGES}
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    if isinstance(parent, ast.Raise) or isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.keyword) and node.arg in MESSAGES


def _mutants_at(node: ast.AST, put: Any) -> Iterator[Mutant]:
    def to(new: ast.AST, what: str = "") -> Mutant:
        new = ast.copy_location(new, node)
        return Mutant(node.lineno, what or f"{ast.unparse(node)} -> {ast.unparse(new)}"[:120], lambda: put(new))

    def swapped(holder: str, kind: ast.AST, i: int | None = None) -> Iterator[Mutant]:
        if type(kind) in SWAPPED:
            new = SWAPPED[type(kind)]()
            words = f"{type(kind).__name__} -> {type(new).__name__} in {ast.unparse(node)}"[:120]
            if i is None:
                yield Mutant(node.lineno, words, lambda: setattr(node, holder, new))
            else:
                yield Mutant(node.lineno, words, lambda: operator.setitem(node.ops, i, new))

    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                yield from swapped("ops", op, i)
        case ast.BinOp() | ast.BoolOp():
            yield from swapped("op", node.op)
        case ast.AugAssign():
            yield from swapped("op", node.op)
            yield to(ast.Pass(), f"without {ast.unparse(node)}"[:120])
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=ast.expr() as operand):
            yield to(operand)
        case ast.Constant():
            if (new := _other(node.value)) is not None:
                yield to(ast.Constant(new), f"{node.value!r} -> {new!r}"[:120])
        case ast.Name(id=name) if name in NAMES:
            yield to(ast.Name(NAMES[name], node.ctx))
        case ast.Attribute(attr=name) if name in NAMES:
            yield to(ast.Attribute(node.value, NAMES[name], node.ctx))
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            new = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
            yield Mutant(node.lineno, f"if not {ast.unparse(node.test)}"[:120], lambda: setattr(node, "test", new))
        case ast.Raise() | ast.Break() | ast.Expr(value=ast.Call()):
            yield to(ast.Pass(), f"without {ast.unparse(node)}"[:120])
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield to(ast.Pass(), f"without {ast.unparse(node)}"[:120])


def _other(value: object) -> object:
    """Return another constant; None for texts that are prose, and for what has no other."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str) and value and " " not in value:
        return TEXTS.get(value, f"{value}_other")
    return None


class _Changed(MetaPathFinder, SourceFileLoader):
    """Finds one module and loads it from a changed tree."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self.tree = tree

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        spec.loader = self
        return spec

    def get_code(self, fullname: str) -> Any:
        return compile(ast.fix_missing_locations(self.tree), self.path, "exec")


def _run_all(module: str, chosen: list[int | None], jobs: int, limit_s: int, libraries: Path = Path()) -> list[Any]:
    """Run the tests with each mutant, or without: "passed", "failed" or "stopped", and the processor seconds.

    A mutant may never end, or never stop growing: it is stopped by the processor time and the memory that it takes,
    which do not depend on what else the machine does; or, if it sleeps, after a while.
    """
    results: list[Any] = [None] * len(chosen)
    waiting, running = list(enumerate(chosen)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            at, which = waiting.pop(0)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:  # whatever happens in it, this process ends here
                    os.setsid()
                    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
                    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
                    code = _child(module, which, libraries)
                finally:
                    os._exit(code)
            running[pid] = at, time.monotonic()
        time.sleep(0.02)
        for pid, (at, begin) in list(running.items()):
            if time.monotonic() - begin > PATIENCE * limit_s:
                os.killpg(pid, signal.SIGKILL)
            done, status, used = os.wait4(pid, os.WNOHANG)
            if done:
                del running[pid]
                code = os.waitstatus_to_exitcode(status)
                result = "stopped" if code < 0 else "failed" if code else "passed"
                results[at] = result, used.ru_utime + used.ru_stime
    return results


def _child(module: str, which: int | None, libraries: Path) -> int:
    """Put the mutant in place and run the tests, without a word unless they fail on the module as it is."""
    if which is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        if which != UNCHANGED:
            list(mutants_of(tree))[which].apply()
        name = module.removesuffix(".py").replace("/", ".")
        sys.meta_path.insert(0, _Changed(name, str(ROOT / module), tree))
    with tempfile.TemporaryDirectory(prefix="hews-mutant-") as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        once = (Phase.explicit, Phase.generate)  # whether there is an example, not which is the shortest
        settings.register_profile("mutants", phases=once, database=None, derandomize=True)
        options = "-x -q --no-header -p no:cacheprovider --hypothesis-profile=mutants"
        rewritten = "ignore::pytest.PytestAssertRewriteWarning"  # libraries that bring plugins are loaded already
        code = int(pytest.main([*options.split(), "-W", rewritten, f"--basetemp={folder}/t", *MODULES[module].split()]))
    if which is None:
        libraries.write_text("\n".join(name for name in sys.modules if name.partition(".")[0] in LIBRARIES))
    return code


def _require_passed(module: str, results: list[Any]) -> float:
    """End where the tests fail without a mutant, as every mutant would seem to be seen; else their seconds."""
    ((result, took_s),) = results
    if result != "passed":
        raise SystemExit(f"{module}: its tests {result} without a mutant")
    return float(took_s)


def _told_apart(module: str, unseen: list[Mutant]) -> tuple[list[str], dict[str, str]]:
    """Return which unseen mutants ask for a test, and which do what the module does, with the reason.

    End where SAME holds one that is not there any more, or that a test sees.
    """
    lines = (ROOT / module).read_text(encoding="utf-8").splitlines()
    asking, same, left = [], {}, SAME.get(module, {})
    for one in unseen:
        key = next((key for key in left if key[0] in lines[one.line - 1] and key[1] == one.what), None)
        if key is None:
            asking.append(f"{one.line}: {one.what}")
        else:
            same[f"{one.line}: {one.what}"] = left[key]
    if stale := [key for key in left if not any(key[1] == text.partition(": ")[2] for text in same)]:
        raise SystemExit(f"{module}: SAME holds what is seen, or is not there: {stale}")
    return asking, same


def judge(module: str, jobs: int) -> dict[str, Any]:
    """Run all mutants of a module; the counts, and what no test saw."""
    os.environ |= {"HEWS_KERNEL_CACHE": "0", "OMP_NUM_THREADS": "1"}
    if "kernels" in module:
        os.environ["NUMBA_DISABLE_JIT"] = "1"  # a kernel is plain Python then, and nothing is compiled anew
    with tempfile.NamedTemporaryFile("r") as loaded:
        _require_passed(module, _run_all(module, [None], 1, 600, Path(loaded.name)))
        for library in loaded.read().split():  # so that no mutant has to
            with suppress(ImportError):
                importlib.import_module(library)
    took_s = _require_passed(module, _run_all(module, [UNCHANGED], 1, 600))
    mutants = list(mutants_of(ast.parse((ROOT / module).read_text(encoding="utf-8"))))
    limit_s = max(LEAST_S, math.ceil(SLOWEST * took_s))
    results = [result for result, _ in _run_all(module, list(range(len(mutants))), jobs, limit_s)]
    passed = [one for one, result in zip(mutants, results, strict=True) if result == "passed"]
    unseen, same = _told_apart(module, passed)
    changing, seen = len(mutants) - len(same), len(mutants) - len(passed)
    counts = {"mutants": changing, "seen": seen, "of_these_stopped": results.count("stopped")}
    return {**counts, "share": round(seen / changing, 3), "unseen": unseen, "same": same}


def _apart(module: str, jobs: int) -> dict[str, Any]:
    """Do `judge` in a process of its own, as what a module's tests need loaded differs."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with os.fdopen(write, "w") as pipe:
            json.dump(judge(module, jobs), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    if not text:
        raise SystemExit(1)
    result: dict[str, Any] = json.loads(text)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="part of a path; all that are listed here unless given")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once")
    parser.add_argument("--out", type=Path, help="write the counts and what was not seen to this JSON file")
    flags = parser.parse_args()
    chosen = [name for name in MODULES if not flags.modules or any(part in name for part in flags.modules)]
    os.chdir(ROOT)
    results = {}
    for module in chosen:
        results[module] = _apart(module, flags.jobs)
        one = results[module]
        print(f"{one['share']:6.1%}  {one['seen']} of {one['mutants']}  {module}", flush=True)
        for line in one["unseen"]:
            print(f"        {line}")
    mutants, seen = (sum(one[key] for one in results.values()) for key in ("mutants", "seen"))
    print(f"{seen / mutants:6.1%}  {seen} of {mutants}  all")
    if flags.out:
        from benchmarks.common import header

        about = {
            "benchmark": "mutants",
            **header(),
            "mutants": mutants,
            "seen": seen,
            "share": round(seen / mutants, 3),
            "modules": results,
        }
        flags.out.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
