"""The environments: bounds in pyproject.toml, exact pins in requirements/, and conda-env.yml, which must say the same.

    pyproject.toml         what the code works with
    requirements/lock.txt  one version of everything
    requirements/NAME.txt  laid over the lock: oldest, gpu-cu12, gpu-cu13
    conda-env.yml          gpu-cu12 from conda, and cuSpatial

Nothing is solved or fetched here. That the pins resolve was tried by hand, as their files say; the conda solve was not.
"""

from __future__ import annotations

import copy
import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec, Version, VersionSpec
from rattler.exceptions import InvalidMatchSpecError

from hews_gpu.environment.doctor import TO_GET

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
NEEDED = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(text) for text in texts] for name, texts in PROJECT["optional-dependencies"].items()}
CONDA = yaml.safe_load((ROOT / "conda-env.yml").read_text())
PYTHONS = ("3.11", "3.14")
STACKS = ("oldest", "gpu-cu12", "gpu-cu13")
PROMISED = ("cudf", "cuspatial", "cupy", "numba", "pytorch", "dask", "dask-cuda", "nvidia-dali")
# What one package is called by conda and by PyPI, where that differs.
PYPI_NAME = {
    **{"pytorch": "torch", "matplotlib-base": "matplotlib", "python-tzdata": "tzdata"},
    **{"cudf": "cudf-cu12", "dask-cudf": "dask-cudf-cu12", "rmm": "rmm-cu12", "cupy": "cupy-cuda12x"},
}
NOT_ON_PYPI = {"python", "pip", "cuda-version", "cuspatial"}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(name: str) -> list[str]:
    """The pins of one file; those without a version end in ``==``."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def _pins(*names: str) -> dict[str, str]:
    """Name to version, where the first file that names a package decides, as in `make install`."""
    pins: dict[str, str] = {}
    for line in (line for name in names for line in _lines(name)):
        package, version = line.split("==")
        pins.setdefault(_canonical(package), version)
    return {package: version for package, version in pins.items() if version}


def test_every_pin_of_the_lock_is_needed() -> None:
    """By this package, an extra or its build, or by what those need on any Python that is supported."""
    pins = _pins("lock")
    try:
        if {name: version(name).split("+")[0] for name in pins} != pins:
            pytest.skip("other versions are installed than the lock's, and may need other packages")
    except PackageNotFoundError as missing:
        pytest.skip(f"{missing} of the lock is not installed: what it needs is not known")
    wanted = [*NEEDED, *(need for needs in EXTRAS.values() for need in needs)]
    wanted += map(Requirement, PYPROJECT["build-system"]["requires"])
    reached: set[tuple[str, str]] = set()
    while wanted:
        need = wanted.pop()
        for extra in {"", *need.extras} - {one for name, one in reached if name == _canonical(need.name)}:
            reached.add((_canonical(need.name), extra))
            try:
                more = map(Requirement, requires(need.name) or [])
            except PackageNotFoundError:  # of a GPU
                continue
            pythons = [{"extra": extra, "python_version": one, "python_full_version": f"{one}.0"} for one in PYTHONS]
            wanted += [one for one in more if one.marker is None or any(map(one.marker.evaluate, pythons))]
    assert not set(pins) - {name for name, _ in reached}


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_has_exact_pins_in_order_and_only_what_differs_from_the_lock(stack: str) -> None:
    lines, lock = _lines(stack), _pins("lock")
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==([0-9][A-Za-z0-9.]*)?", line) for line in lines)
    names = [_canonical(line.split("==")[0]) for line in lines]
    assert names == sorted(set(names))
    assert not [line for line in lines if lock.get(_canonical(line.split("==")[0])) == line.split("==")[1]]
    assert {_canonical(line[:-2]) for line in lines if line.endswith("==")} <= set(lock)


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_spells_a_package_as_the_lock_does(stack: str) -> None:
    """`make install` compares names letter by letter, but for case."""
    spelled = {_canonical(line.split("==")[0]): line.split("==")[0].lower() for line in _lines("lock")}
    names = [line.split("==")[0].lower() for line in _lines(stack)]
    assert not [name for name in names if spelled.get(_canonical(name), name) != name]


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_has_every_dependency_within_its_bounds(stack: str) -> None:
    pins = _pins(stack, "lock")
    assert not [str(need) for need in NEEDED if not need.specifier.contains(pins[_canonical(need.name)])]


def test_every_lower_bound_is_the_oldest_version_tested() -> None:
    """To as many numbers as the bound shows. torch 2.10 goes with RAPIDS 25.04 and is only pinned there."""
    oldest = {**_pins("oldest", "lock"), "torch": _pins("gpu-cu12")["torch"]}
    for need in NEEDED:
        (bound,) = need.specifier
        assert bound.operator == ">="
        assert f"{oldest[_canonical(need.name)]}.".startswith(f"{bound.version}."), need


def test_the_oldest_versions_are_those_of_rapids_25_04() -> None:
    cu12 = _pins("gpu-cu12")
    assert {name: cu12[name] for name in _pins("oldest")} == _pins("oldest")


@pytest.mark.parametrize("extra", ["gpu", "dali"])
def test_the_pins_for_cuda_13_fit_the_extra(extra: str) -> None:
    pins = _pins("gpu-cu13", "lock")
    assert not [str(need) for need in EXTRAS[extra] if not need.specifier.contains(pins[_canonical(need.name)])]


def test_the_stack_for_cuda_13_is_the_lock_but_for_what_rapids_holds_back() -> None:
    pins, lock = _pins("gpu-cu13", "lock"), _pins("lock")
    assert {name for name in lock if pins[name] != lock[name]} == {"pandas", "numba", "llvmlite"}


@pytest.mark.parametrize(("stack", "other"), [("gpu-cu12", "13"), ("gpu-cu13", "12")])
def test_the_cuda_releases_do_not_mix(stack: str, other: str) -> None:
    pins = _pins(stack, "lock")
    named = [name for name in pins if re.search(rf"-cu(da)?{other}[0x]?$", name)]
    versioned = [name for name in ("cuda-bindings", "cuda-python", "cuda-toolkit") if pins.get(name, "")[:2] == other]
    assert not named + versioned


def _problems(environment: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a conda environment, in words."""
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    problems, specs = [], {}
    for line in conda:
        try:
            spec = MatchSpec(line, strict=False)
        except InvalidMatchSpecError as error:
            problems.append(f"{line}: {error}")
            continue
        specs[spec.name.normalized] = spec
    names = [*specs, *(Requirement(line).name for line in pip)]
    problems += [f"{name} is missing" for name in PROMISED if not any(n.startswith(name) for n in names)]
    problems += [problem for spec in specs.values() for problem in _problems_with_pins(spec)]
    problems += [problem for need in NEEDED for problem in _problems_with_bounds(need, specs)]
    problems += [f"{line}: not the pin" for line in pip if line not in _lines("gpu-cu12")]
    if not str(specs["pytorch"].build).startswith("cuda12"):
        problems.append("pytorch may be a build for the CPU or for CUDA 13")
    if environment["channels"] != ["rapidsai", "conda-forge", "nvidia"]:
        problems.append(f"channels are {environment['channels']}")
    return problems


def _admits(spec: MatchSpec, version: str) -> bool:
    return spec.version is None or VersionSpec(spec.version).matches(Version(version))


def _problems_with_pins(spec: MatchSpec) -> list[str]:
    """Whether a spec admits its pin, and no more than it where the pin is not the lock's."""
    name = spec.name.normalized
    if name in NOT_ON_PYPI:
        return []
    pins, pypi = _pins("gpu-cu12", "lock"), PYPI_NAME.get(name, name)
    if not _admits(spec, pins[pypi]):
        return [f"{spec} does not admit {pins[pypi]}"]
    major = int(pins[pypi].split(".")[0])
    if pypi in _pins("gpu-cu12") and _admits(spec, f"{major + 1}.0"):
        return [f"{spec} admits another major release than {pins[pypi]}"]
    return []


def _problems_with_bounds(need: Requirement, specs: dict[str, MatchSpec]) -> list[str]:
    """Whether conda is asked for a dependency of pyproject.toml, and for nothing older than its bound."""
    conda_name = {pypi: name for name, pypi in PYPI_NAME.items()}.get(need.name, need.name)
    if conda_name not in specs:
        return [f"{need} has no counterpart"]
    version = str(specs[conda_name].version or "")
    least = re.match(r"(?:>=|==)?([0-9.]+?)(?:\.\*)?(?:,|$)", version)
    if least is None or not need.specifier.contains(least[1]):
        return [f"{specs[conda_name]} admits less than {need}"]
    return []


def test_the_conda_environment_agrees_with_the_project_and_the_pins() -> None:
    assert not _problems(CONDA)


@pytest.mark.parametrize(
    ("line", "planted", "problem"),
    [
        ("cuspatial=25.04", None, "cuspatial is missing"),
        ("shapely>=2.2", None, "shapely>=2.2 has no counterpart"),
        ("numba=0.60.0", "numba=0.61.0", "numba 0.61.0.* does not admit 0.60.0"),
        ("cudf=25.04", "cudf=25.06", "cudf 25.6.* does not admit 25.4.0"),
        ("scipy>=1.17", "scipy>=1.10", "scipy >=1.10 admits less than scipy>=1.17"),
        ("scipy>=1.17", "scipy", "scipy admits less than scipy>=1.17"),
        ("pandas=2.2.3", "pandas>=2.2", "pandas >=2.2 admits another major release than 2.2.3"),
        ("cuda-bindings>=12.9,<13", "cuda-bindings>=12.9", "cuda-bindings >=12.9 admits another major release"),
        ("pytorch=2.10.0=cuda12*", "pytorch=2.10.0", "pytorch may be a build for the CPU or for CUDA 13"),
        ("geopandas>=1.2", "geopandas=>1.2", "geopandas=>1.2: "),
    ],
)
def test_a_planted_mismatch_is_found(line: str, planted: str | None, problem: str) -> None:
    environment = copy.deepcopy(CONDA)
    place = environment["dependencies"].index(line)
    environment["dependencies"][place : place + 1] = [planted] if planted else []
    assert any(found.startswith(problem) for found in _problems(environment))


def test_a_planted_mismatch_in_the_pip_part_or_the_channels_is_found() -> None:
    environment = copy.deepcopy(CONDA)
    environment["dependencies"][-1]["pip"] = ["nvidia-dali-cuda120==2.3.0"]
    environment["channels"].reverse()
    assert [found.split(":")[0] for found in _problems(environment)] == [
        "nvidia-dali-cuda120==2.3.0",
        "channels are ['nvidia', 'conda-forge', 'rapidsai']",
    ]
    environment["dependencies"][-1]["pip"] = []
    assert "nvidia-dali is missing" in _problems(environment)


def test_conda_takes_a_python_that_the_project_supports() -> None:
    (spec,) = [line for line in CONDA["dependencies"] if str(line).startswith("python=")]
    assert spec == "python=3.12"
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains("3.12")


TELLING = {
    "README.md": (ROOT / "README.md").read_text(encoding="utf-8"),
    "docs/gpu.md": (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8"),
    "conda-env.yml": (ROOT / "conda-env.yml").read_text(encoding="utf-8"),
    "hews doctor": "\n".join(TO_GET.values()),
    **{f"{stack}.txt": (ROOT / "requirements" / f"{stack}.txt").read_text() for stack in STACKS},
}


@pytest.mark.parametrize("where", TELLING)
def test_what_one_is_told_to_type_exists(where: str) -> None:
    text = TELLING[where]
    assert set(re.findall(r"pip install '[^'\[]*\[(\w+)\]", text)) <= set(EXTRAS)
    assert set(re.findall(r"STACK=([\w-]+)", text)) <= set(STACKS)
    assert set(re.findall(r"conda activate ([\w-]+)", text)) <= {CONDA["name"]}
    assert set(re.findall(r"conda env create -f ([\w.-]*\w)", text)) <= {"conda-env.yml"}


def test_the_docs_and_the_doctor_name_both_ways_to_a_gpu() -> None:
    for where in ("docs/gpu.md", "hews doctor"):
        assert "conda env create -f conda-env.yml" in TELLING[where]
        assert "pip install '.[gpu]'" in TELLING[where] and "STACK=gpu-cu13" in TELLING[where]
