"""Compiled kernels that are kept on disk: taken by the next process, and by none whose sources are others."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest

from hews_gpu.kernels import _disk_cache

ROOT = Path(__file__).resolve().parents[2]
DRAW = """
import numpy as np
from hews_gpu.data.geometry.point_in_polygon import find_in_grid
from hews_gpu.kernels.pip_tables import build_tables
from hews_gpu.kernels.pip_walk import find_all
triangle = np.array([[0, 0], [1, 0], [0, 1], [0, 0]], float)
grid = build_tables(triangle, np.array([0, 4]), np.array([0]))
found = find_in_grid(grid, np.array([0.4999, 0.5001]), np.array([0.5, 0.5])).tolist()
print(found, sum(find_all.stats.cache_hits.values()), sum(find_all.stats.cache_misses.values()))
"""


@pytest.fixture
def fresh():
    _disk_cache.kernel_folder.cache_clear()
    yield
    _disk_cache.kernel_folder.cache_clear()


def found_by(root, cache):
    """What a process finds with the sources under root, and whether its kernel was there or was compiled."""
    environment = {**os.environ, "PYTHONPATH": str(root), _disk_cache.VARIABLE: str(cache)}
    done = subprocess.run([sys.executable, "-c", DRAW], env=environment, cwd=root, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout.strip()


def test_the_next_process_takes_the_kernel_and_changed_sources_compile_anew(tmp_path):
    """The change is in a function that is compiled into the kernel from another file: numba's own cache misses it."""
    copy, cache = tmp_path / "copy", tmp_path / "cache"
    copy.mkdir()
    shutil.copytree(ROOT / "hews_gpu", copy / "hews_gpu", ignore=shutil.ignore_patterns("__pycache__"))
    assert found_by(copy, cache) == "[0, -1] 0 1"
    assert found_by(copy, cache) == "[0, -1] 1 0"
    scalars = copy / "hews_gpu" / "kernels" / "pip_scalars.py"
    text = scalars.read_text()
    body_at = text.index('"""', text.index('"""', text.index("def side(")) + 3) + 3
    scalars.write_text(text[:body_at] + "\n    return 0.0\n" + text[body_at:])
    changed = found_by(copy, cache)
    assert changed.endswith(" 0 1") and changed != "[0, -1] 0 1", "the change must show, or the test shows nothing"
    assert len(list((cache / _disk_cache.OURS).iterdir())) == 2


def test_every_source_file_counts(tmp_path, monkeypatch):
    folder = tmp_path / "kernels"
    shutil.copytree(ROOT / "kernels", folder, ignore=shutil.ignore_patterns("__pycache__"))
    here = _disk_cache._state()
    monkeypatch.setattr(_disk_cache, "__file__", str(folder / "_disk_cache.py"))
    assert _disk_cache._state() == here
    seen = {here}
    for path in sorted(folder.glob("*.py")):
        with path.open("a") as file:
            file.write("\n")
        seen.add(_disk_cache._state())
    assert len(seen) == 1 + len(list(folder.glob("*.py")))


def test_where_they_are_kept(tmp_path, monkeypatch, fresh):
    monkeypatch.delenv(_disk_cache.VARIABLE, raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _disk_cache._root() == tmp_path / "xdg" / "hews-gpu-kernels"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert _disk_cache._root() == tmp_path / "numba" / "hews-gpu-kernels"
    monkeypatch.setenv(_disk_cache.VARIABLE, str(tmp_path / "own"))
    folder = Path(_disk_cache.kernel_folder())
    assert folder.parent == tmp_path / "own" / "hews-gpu-kernels" and folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("where", ["0", "/proc/hews"])
def test_nothing_is_kept_where_the_user_says_so_or_nothing_can_be_written(where, monkeypatch, fresh):
    monkeypatch.setenv(_disk_cache.VARIABLE, where)
    assert _disk_cache.kernel_folder() is None
    kernel = SimpleNamespace(py_func=len, _cache="none")
    _disk_cache.cache_on_disk(kernel)
    assert kernel._cache == "none"


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch, fresh):
    """What lies there is run."""
    monkeypatch.setenv(_disk_cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert _disk_cache.kernel_folder() is None


def test_states_that_were_not_used_for_long_go_and_nothing_else(tmp_path, monkeypatch, fresh):
    """The folder may be one in which the user keeps other things."""
    monkeypatch.setenv(_disk_cache.VARIABLE, str(tmp_path))
    ours = tmp_path / "hews-gpu-kernels"
    states = [ours / f"{age:024x}" for age in range(10)]
    others = [tmp_path / f"{11:024x}", ours / "thesis", ours / ("f" * 25), ours / ("F" * 24)]
    for age, folder in enumerate([*states, *others]):
        folder.mkdir(parents=True)
        (folder / "file").touch()
        os.utime(folder, (1_000_000_000 - age, 1_000_000_000 - age))
    (ours / ("a" * 24)).symlink_to(others[0])
    now = Path(_disk_cache.kernel_folder())
    assert {path for path in ours.iterdir() if _disk_cache.STATE.fullmatch(path.name)} == {
        now, *states[: _disk_cache.STATES - 1], ours / ("a" * 24)
    }  # fmt: skip
    assert all((folder / "file").is_file() for folder in others)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("NUMBA_BOUNDSCHECK", True), ("NUMBA_OPT", True), ("NUMBA_NUM_THREADS", False), ("NUMBA_CACHE_DIR", False)],
)
def test_settings_of_the_compiler_count_unless_they_change_no_code(monkeypatch, name, counts):
    monkeypatch.delenv(name, raising=False)
    before = _disk_cache._state()
    monkeypatch.setenv(name, "1")
    assert (_disk_cache._state() != before) == counts


def test_another_processor_has_kernels_of_its_own(monkeypatch):
    before = _disk_cache._state()
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: "z80")
    assert _disk_cache._state() != before


def test_a_processor_of_the_same_name_with_other_features_has_kernels_of_its_own(monkeypatch):
    """A node of a cluster may have one switched off, where code that uses it is an illegal instruction."""
    before = _disk_cache._state()
    features = SimpleNamespace(flatten=lambda: "+sse2,-avx512f")
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    assert _disk_cache._state() != before


def test_what_cannot_be_kept_or_read_costs_time_and_no_run(tmp_path, monkeypatch, fresh):
    monkeypatch.setenv(_disk_cache.VARIABLE, str(tmp_path))

    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    first = numba.njit(add)
    _disk_cache.cache_on_disk(first)
    assert first(2, 3) == 5
    monkeypatch.undo()
    monkeypatch.setenv(_disk_cache.VARIABLE, str(tmp_path))
    second = numba.njit(add)
    _disk_cache.cache_on_disk(second)
    assert second(2, 3) == 5
    files = [path for path in tmp_path.rglob("*.nb?") if path.is_file()]
    assert len(files) == 2  # an index, and the code it names
    for path in files:
        path.write_bytes(b"damaged")
    third = numba.njit(add)
    _disk_cache.cache_on_disk(third)
    assert third(2, 3) == 5 and not third.stats.cache_hits
    again = numba.njit(add)
    _disk_cache.cache_on_disk(again)
    assert again(2, 3) == 5 and again.stats.cache_hits  # what was damaged was put right
    shutil.rmtree(tmp_path)
    fourth = numba.njit(add)
    _disk_cache.cache_on_disk(fourth)
    assert fourth(2, 3) == 5


def test_a_kernel_is_read_and_written_by_one_at_a_time(tmp_path, monkeypatch, fresh):
    monkeypatch.setenv(_disk_cache.VARIABLE, str(tmp_path))
    first = numba.njit(add)
    _disk_cache.cache_on_disk(first)
    first(2, 3)
    (path,) = tmp_path.rglob("*.lock")
    second = numba.njit(add)
    _disk_cache.cache_on_disk(second)
    with ThreadPoolExecutor(1) as pool:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            waiting = pool.submit(second, 2, 3)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
        assert waiting.result(timeout=30) == 5 and second.stats.cache_hits


def add(a, b):
    return a + b
