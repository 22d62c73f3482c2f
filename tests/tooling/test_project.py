"""The project's own rules about itself: pins, sizes, light imports, the Makefile and the CI script."""

from __future__ import annotations

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
PINS = [line for line in (ROOT / "requirements" / "lock.txt").read_text().splitlines() if not line.startswith("#")]
CODE = [
    path
    for name in ("hews_gpu", "kernels", "benchmarks", "studies", "jobs")
    for path in sorted((ROOT / name).rglob("*.py"))
]
TARGETS = [
    "install",
    "demo",
    "test",
    "lint",
    "types",
    "imports",
    "wheel",
    "docs",
    "pytest",
    "test-nightly",
    "test-oldest",
    "mutants",
    "bench",
    "gpu-check",
    "clean",
]
FUNCTION_LINES_MOST = 80
FUNCTION_LINES_MEAN = 15


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_pin_is_exact_and_names_no_place() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", pin) for pin in PINS)


def test_the_pins_are_sorted_and_name_a_package_once() -> None:
    names = [_canonical(pin.split("==")[0]) for pin in PINS]
    assert names == sorted(set(names))


def test_every_dependency_is_pinned_within_its_bound() -> None:
    pins = {_canonical(name): found for name, found in (pin.split("==") for pin in PINS)}
    for dependency in [*PROJECT["dependencies"], *EXTRAS["dev"], *EXTRAS["docs"]]:
        name, _, bound = dependency.partition(">=")
        pinned = pins[_canonical(name.split("[")[0])]
        assert _numbers(pinned) >= _numbers(bound), dependency


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def test_the_environment_is_the_pinned_one() -> None:
    """The lock, or with `make ... STACK=name` what that lays over it: `make install` notes its pins."""
    noted = Path(sys.prefix) / "pins.txt"
    pins = noted.read_text().splitlines() if noted.exists() else PINS
    installed = {pin: version(pin.split("==")[0]).split("+")[0] for pin in pins}
    assert not {pin: found for pin, found in installed.items() if pin.split("==")[1] != found}


def test_the_version_has_one_source() -> None:
    import hews_gpu

    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", hews_gpu.__version__)
    assert f"## [{hews_gpu.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_functions_stay_short() -> None:
    modules = {path.relative_to(ROOT).as_posix(): path.read_text() for path in CODE}
    lengths = {}
    for name, text in modules.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{name}:{node.name}"] = node.end_lineno - node.lineno + 1
    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MOST}
    assert statistics.mean(lengths.values()) <= FUNCTION_LINES_MEAN


@pytest.mark.parametrize(
    "module", ["hews_gpu", "hews_gpu.cli.commands", "hews_gpu.config", "hews_gpu.environment.doctor"]
)
def test_what_every_command_loads_is_light(module: str) -> None:
    """`hews --help` must be immediate, and table work and torch stay apart."""
    heavy = {"torch", "dask", "pandas", "geopandas", "shapely", "numba", "matplotlib", "scipy", "numpy"}
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def _make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.mark.parametrize("target", TARGETS)
def test_make_has_the_target_and_help_explains_it(target: str) -> None:
    assert _make("--dry-run", target).returncode == 0
    assert re.search(rf"^  make {target} +\S", _make("help").stdout, re.MULTILINE)


def test_make_test_runs_every_check_and_pytest_last() -> None:
    lines = _make("--dry-run", "test").stdout.splitlines()
    words = " ".join(lines)
    for check in ("ruff check", "ruff format --check", "bin/mypy", "lint-imports", "check_wheel.py", "sphinx-build -W"):
        assert check in words
    assert "pytest" in lines[-1]


def test_what_the_oldest_versions_leave_out_exists() -> None:
    left_out = set(re.findall(r"--ignore=(\S+)", _make("--dry-run", "test-oldest").stdout))
    assert len(left_out) > 5 and not [path for path in left_out if not (ROOT / path).exists()]


def _empty_checkout(folder: Path) -> None:
    """As much of a checkout as `make install` reads."""
    (folder / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", *(f"requirements/{path.name}" for path in REQUIREMENTS)):
        (folder / name).write_bytes((ROOT / name).read_bytes())


def test_make_install_refuses_an_old_python(tmp_path: Path) -> None:
    _empty_checkout(tmp_path)
    done = _make("install", "PYTHON=false", cwd=tmp_path)
    assert done.returncode != 0 and "false is not Python 3.11 or later" in done.stderr
    assert not (tmp_path / ".venv").exists()


def _fake_environment(folder: Path, name: str = ".venv") -> Path:
    """An environment whose python only writes down what it was asked."""
    _empty_checkout(folder)
    python = folder / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    python.chmod(0o755)
    return folder / "asked"


def test_make_install_runs_once_until_the_pins_change(tmp_path: Path) -> None:
    asked = _fake_environment(tmp_path)
    assert _make("install", cwd=tmp_path).returncode == 0
    first = asked.read_text()
    assert "-r .venv/pins.txt" in first and "--no-deps --no-build-isolation --editable ." in first
    assert (tmp_path / ".venv" / "pins.txt").read_text().splitlines() == PINS
    assert _make("install", cwd=tmp_path).returncode == 0
    assert asked.read_text() == first
    later = (tmp_path / ".venv" / "installed").stat().st_mtime + 10
    os.utime(tmp_path / "requirements" / "lock.txt", (later, later))
    assert _make("install", cwd=tmp_path).returncode == 0
    assert asked.read_text() == first * 2


@pytest.mark.parametrize("stack", [path.stem for path in REQUIREMENTS if path.stem != "lock"])
def test_a_stack_lays_its_pins_over_the_lock_in_an_environment_of_its_own(tmp_path: Path, stack: str) -> None:
    asked = _fake_environment(tmp_path, f".venv-{stack}")
    assert _make("install", f"STACK={stack}", cwd=tmp_path).returncode == 0
    assert f"-r .venv-{stack}/pins.txt" in asked.read_text() and not (tmp_path / ".venv").exists()
    laid = [line for line in (ROOT / "requirements" / f"{stack}.txt").read_text().splitlines() if line[0] != "#"]
    names = {line.split("==")[0].lower() for line in laid}
    kept = [pin for pin in PINS if pin.split("==")[0].lower() not in names]
    expected = [*(line for line in laid if not line.endswith("==")), *kept]
    assert (tmp_path / f".venv-{stack}" / "pins.txt").read_text().splitlines() == expected


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (1, 2)])
def test_gpu_check_fails_with_the_check(tmp_path: Path, status: int, expected: int) -> None:
    _fake_environment(tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    assert _make("install", cwd=tmp_path).returncode == 0
    python.write_text(f"#!/bin/sh\nexit {status}\n")
    done = _make("gpu-check", cwd=tmp_path)
    assert done.returncode == expected


def _ci(folder: Path, make: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/run where `make` is the given shell script and nothing is missing."""
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    for name, text in {"make": make, "chromium": ""}.items():
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    script = folder / ".ci" / "run"
    return subprocess.run([script], capture_output=True, text=True, check=False, env=environment)


def test_ci_runs_the_tests_the_nightly_ones_and_those_of_the_oldest_versions_and_ends_with_their_sum(
    tmp_path: Path,
) -> None:
    make = f"""echo "$@" >> {tmp_path}/asked
case "$1" in
    test) echo "mypy is content"; echo "20 passed, 3 skipped, 1 warning in 70.25s (0:01:10)";;
    test-nightly) echo "5 passed, 2 skipped in 9.00s";;
    test-oldest) echo "10 passed, 1 skipped in 2.50s";;
esac"""
    done = _ci(tmp_path, make)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["install", "test", "install", "test-nightly", "install STACK=oldest", "test-oldest"]
    assert done.stdout.splitlines()[-1] == "35 passed, 6 skipped, 1 warning in 81.75s"


@pytest.mark.parametrize("failing", ["install", "test", "test-nightly", "test-oldest"])
def test_ci_fails_with_what_failed_and_says_nothing_after_it(tmp_path: Path, failing: str) -> None:
    done = _ci(tmp_path, f'echo "1 failed, 2 passed in 3.00s"; test "$1" != {failing}')
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == "1 failed, 2 passed in 3.00s"
