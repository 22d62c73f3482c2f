"""Build sdist and wheel as a release would, install the wheel away from the checkout, and look at it from there.

Run by `make wheel`. Nothing is fetched: the build backend is the installed setuptools. What is checked: the wheel
holds `hews_gpu` and nothing else at its top, the files a city, a recipe and a report need are in it, and
`hews_gpu.kernels`, a link in the checkout, is a package of its own in the wheel that loads no module called `kernels`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA_PATTERNS = (
    "hews_gpu/alerts/*.toml",
    "hews_gpu/alerts/schema/*",
    "hews_gpu/cities/*.toml",
    "hews_gpu/cities/*.md",
    "hews_gpu/recipes/*.toml",
    "hews_gpu/slurm/[a-z]*",
    "hews_gpu/report/*.toml",
    "hews_gpu/report/**/*.j2",
    "hews_gpu/report/**/*.css",
    "hews_gpu/report/**/*.js",
    "hews_gpu/report/vendor/*",
)
LOOK = """
import pkgutil, sys
from importlib import import_module, resources
import hews_gpu, hews_gpu.kernels
from hews_gpu.config import city_template, known_cities
from hews_gpu.training.recipe import known_recipes, load_recipe
target = sys.argv[1]
for module in pkgutil.walk_packages(hews_gpu.kernels.__path__, "hews_gpu.kernels."):
    import_module(module.name)
for name in ("hews_gpu", "hews_gpu.kernels"):
    assert sys.modules[name].__file__.startswith(target), f"{name} came from {sys.modules[name].__file__}"
assert "kernels" not in sys.modules, "a module `kernels` was loaded"
assert known_cities() and all(city_template(name) for name in known_cities()), "no cities in the wheel"
assert known_recipes() and all(load_recipe(name) for name in known_recipes()), "no recipes in the wheel"
assert (resources.files("hews_gpu") / "slurm" / "train.sbatch").is_file(), "no job files in the wheel"
print(f"wheel {hews_gpu.__version__}: kernels import, cities {', '.join(known_cities())}")
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hews-wheel-") as name:
        folder = Path(name)
        _run("-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(_copy(folder / "source")))
        (wheel,) = (folder / "dist").glob("*.whl")
        _check_names(wheel)
        target = folder / "installed"
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--no-deps", "--no-index", "--target", str(target), str(wheel))
        _run("-P", "-c", LOOK, str(target), cwd=folder, env={**os.environ, "PYTHONPATH": str(target)})


def _copy(folder: Path) -> Path:
    """The files of a release in a folder of their own, links kept: nothing stale takes part or is left behind."""
    stale = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("hews_gpu", "kernels", "slurm"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=stale)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def _check_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"hews_gpu"}, f"the wheel's top level holds {sorted(tops)}"
    code = [path for path in _package_files() if path.suffix == ".py"]
    data = [path for pattern in DATA_PATTERNS for path in ROOT.glob(pattern)]
    wanted = {path.relative_to(ROOT).as_posix() for path in (*code, *data)}
    assert wanted <= names, f"not in the wheel: {sorted(wanted - names)}"


def _package_files() -> list[Path]:
    kernels = [ROOT / "hews_gpu" / path.relative_to(ROOT) for path in (ROOT / "kernels").rglob("*")]
    return [*(ROOT / "hews_gpu").rglob("*"), *kernels]


def _run(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"check_wheel: {' '.join(arguments[:3])} failed\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    if arguments[0] == "-P":
        print(done.stdout.strip())


if __name__ == "__main__":
    main()
