"""Every rule set fails on a planted violation; a rule that cannot fail would guard nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = ROOT / "pyproject.toml"
BIN = Path(sys.executable).parent
DOC = '"""A module."""\n'

# One violation for each selected family of ruff: the rule that must fire and the code that breaks it.
RUFF = {
    "E501": DOC + f"x = '{'long' * 40}'\n",
    "F401": DOC + "import json\n",
    "W291": DOC + "x = 1 \n",
    "I001": DOC + "import sys\nimport json\n\nprint(json, sys)\n",
    "B006": DOC + 'def f(x: list[int] = []) -> None:\n    """Do."""\n    print(x)\n',
    "UP006": DOC + "from typing import List\n\nx: List[int] = []\n",
    "NPY002": DOC + "import numpy as np\n\nx = np.random.rand(3)\n",
    "PERF401": DOC + "x = []\nfor i in range(3):\n    if i:\n        x.append(i * 2)\n",
    "ANN001": DOC + 'def f(x) -> None:\n    """Do."""\n    print(x)\n',
    "D103": DOC + "def f() -> None:\n    print(1)\n",
    "RUF005": DOC + "x = [1, 2]\ny = [0] + x\n",
    "TID251": DOC + "import kernels\n\nprint(kernels)\n",
    "TID252": DOC + "from . import device\n\nprint(device)\n",
    "TID253": DOC + "import cudf\n\nprint(cudf)\n",
    "BLE001": DOC + "try:\n    print(1)\nexcept Exception:\n    print(2)\n",
    "T100": DOC + "breakpoint()\n",
}


def _ruff(code: str) -> set[str]:
    """The rules that fire on `code`, as if it stood in the package."""
    command = [BIN / "ruff", "check", "--no-cache", "--config", PYPROJECT, "--output-format", "json"]
    name = ["--stdin-filename", "hews_gpu/planted.py", "-"]
    done = subprocess.run([*command, *name], input=code, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr
    return {found["code"] for found in json.loads(done.stdout)}


@pytest.mark.parametrize("rule", sorted(RUFF))
def test_ruff_fires_on_a_planted_violation(rule: str) -> None:
    assert rule in _ruff(RUFF[rule])


def test_ruff_is_silent_on_sound_code() -> None:
    assert _ruff(DOC + "x = 1\n") == set()


def test_every_ruff_family_has_a_planted_violation() -> None:
    families = tomllib.loads(PYPROJECT.read_text())["tool"]["ruff"]["lint"]["select"]
    assert not [family for family in families if not any(rule.startswith(family) for rule in RUFF)]


@pytest.mark.parametrize("line", ["import kernels", "import kernels.scalars", "from kernels import scalars"])
def test_ruff_bans_every_form_of_a_bare_import_of_kernels(line: str) -> None:
    assert "TID251" in _ruff(f"{DOC}{line}\n")


def test_ruff_lets_the_kernels_be_imported_by_their_full_name() -> None:
    assert "TID251" not in _ruff(f"{DOC}import hews_gpu.kernels\n\nprint(hews_gpu.kernels)\n")


def test_mypy_is_strict(tmp_path: Path) -> None:
    planted = (
        "import numba\n"
        "def untyped(x):\n    return x\n\n"
        "def calls() -> int:\n    return untyped(1)\n\n"
        "def wrong() -> int:\n    return 'text'\n\n"
        "def bare(x: list) -> None:\n    print(x)\n\n"
        "def silenced() -> int:\n    return 'text'  # type: ignore\n\n"
        "def optional(x: int | None) -> int:\n    return x + 1\n"
    )
    (tmp_path / "planted.py").write_text(planted)
    command = [BIN / "mypy", "--config-file", PYPROJECT, "--cache-dir", tmp_path / "cache", tmp_path / "planted.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    expected = {"no-untyped-def", "no-untyped-call", "no-any-return", "return-value", "type-arg", "ignore-without-code"}
    fired = {line.rsplit("[", 1)[1].rstrip("]") for line in done.stdout.splitlines() if line.endswith("]")}
    assert expected - {"no-any-return"} <= fired
    assert "operator" in fired


# Where a line is planted, and the contract that must then break.
IMPORTS = {
    "kernels reach for a table library": ("kernels/__init__.py", "import pandas", "kernels-numpy-numba"),
    "kernels reach up": ("kernels/__init__.py", "import hews_gpu.config", "layers"),
    "a network uses numpy": ("hews_gpu/forecasters/cnn_network.py", "import numpy", "networks-torch"),
    "a network reads the city": ("hews_gpu/reference/networks.py", "import hews_gpu.config", "networks-torch"),
    "forecasters know the judge": ("hews_gpu/forecasters/__init__.py", "import hews_gpu.evaluation", "layers"),
    "the judge knows runs": ("hews_gpu/evaluation/__init__.py", "import hews_gpu.runs", "layers"),
    "a reader cleans": ("hews_gpu/data/readers/files.py", "import hews_gpu.data.clean", "data-layers"),
    "a forecaster reads groups": ("hews_gpu/forecasters/__init__.py", "import hews_gpu.groups", "groups-feed-nothing"),
    "a forecaster reads the census": (
        "hews_gpu/forecasters/__init__.py",
        "import hews_gpu.data.census",
        "census-for-audits",
    ),
    "data draws maps": ("hews_gpu/data/__init__.py", "import hews_gpu.raster", "layers"),
    "raster reads the feed": ("hews_gpu/raster/__init__.py", "import hews_gpu.feed", "layers"),
    "feed knows the trainer": ("hews_gpu/feed/__init__.py", "import hews_gpu.training", "layers"),
    "train knows the report": ("hews_gpu/training/__init__.py", "import hews_gpu.report", "layers"),
    "the report calls the command line": ("hews_gpu/report/__init__.py", "import hews_gpu.cli.commands", "layers"),
    "a foundation module reaches up": ("hews_gpu/files.py", "import hews_gpu.data", "layers"),
    "a foundation module uses kernels": ("hews_gpu/environment/device.py", "import hews_gpu.kernels", "foundation"),
    "tables load torch": ("hews_gpu/data/windows.py", "import torch", "tables-without-torch"),
    "the feed loads Dask through a module it uses": (
        "hews_gpu/data/events.py",
        "import dask.dataframe",
        "torch-without-dask",
    ),
    "the package calls a job": ("hews_gpu/training/__init__.py", "import jobs", "nothing-imports-jobs"),
    "the kernels by their bare name": ("hews_gpu/raster/__init__.py", "import kernels", "nothing-imports-jobs"),
}


def _lint_imports(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    limits = [part for contract in contracts for part in ("--contract", contract)]
    command = [BIN / "lint-imports", "--config", PYPROJECT, "--no-cache", "--no-logo", *limits]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package to plant imports in."""
    folder = tmp_path_factory.mktemp("imports")
    for name in ("hews_gpu", "kernels"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_import_rules_hold(package: Path) -> None:
    done = _lint_imports(package)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("case", IMPORTS)
def test_a_planted_import_breaks_its_contract(case: str, package: Path) -> None:
    name, line, contract = IMPORTS[case]
    path = package / name
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        done = _lint_imports(package, contract)
    finally:
        path.write_text(before)
    assert done.returncode == 1, done.stdout
    assert "1 broken" in done.stdout


def test_a_module_without_a_place_in_the_order_is_refused(package: Path) -> None:
    planted = package / "hews_gpu" / "planted.py"
    planted.write_text(DOC)
    try:
        done = _lint_imports(package, "layers")
    finally:
        planted.unlink()
    assert done.returncode == 1 and "planted" in done.stdout


def test_every_contract_has_a_planted_import() -> None:
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == {contract for _, _, contract in IMPORTS.values()}


def test_contracts_that_allow_a_few_libraries_forbid_every_other_dependency() -> None:
    """A new dependency must be added to the lists in pyproject.toml, or those packages could use it."""
    content = tomllib.loads(PYPROJECT.read_text())
    imported_as = {"scikit-learn": "sklearn", "python-calamine": "python_calamine"}
    names = [dependency.split(">")[0].split("[")[0] for dependency in content["project"]["dependencies"]]
    dependencies = {imported_as.get(name, name) for name in names}
    allowed = {
        "kernels-numpy-numba": {"numpy", "numba"},
        "forecast-pure": {"numpy", "scipy", "sklearn", "scores", "threadpoolctl"},
        "models-torch": {"torch"},
    }
    for contract in content["tool"]["importlinter"]["contracts"]:
        if contract["id"] in allowed:
            forbidden = {name for name in contract["forbidden_modules"] if not name.startswith("hews_gpu.")}
            assert forbidden == dependencies - allowed[contract["id"]], contract["id"]
