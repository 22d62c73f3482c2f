"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

LONGEST = (
    "slurm/test_cluster.py",
    "runs/test_backtest.py",
    "cli/test_demo.py",
    "training/test_distributed.py",
    "test_docs.py",
    "runs/test_score.py",
    "runs/test_evaluate.py",
    "kernels/test_raster_cuda.py",
    "test_readme.py",
    "data/prepare/test_partitions.py",
    "cluster/test_dask_workers.py",
    "training/test_kills.py",
    "audit/test_planted.py",
    "report/test_build.py",
    "studies/test_forecasts.py",
    "synthetic/test_city.py",
)
"""Files that take longest, the longest first: begun when all else is done, one would keep a single process busy."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; what is dealt out by file is dealt out in this order."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m gpu` only files that hold such tests, and folders of such files, are imported.

    A machine with a GPU may lack what other tests need, and a folder's own conftest.py, too.
    """
    if config.option.markexpr != "gpu":
        return None
    if collection_path == Path(__file__).with_name("data") and find_spec("pyarrow") is None:
        return True  # no table can be read there
    if collection_path.is_dir():
        files = collection_path.rglob("test_*.py")
    else:
        files = iter([collection_path] if collection_path.name.startswith("test_") else [])
    return None if any("mark.gpu" in path.read_text(encoding="utf-8") for path in files) else True


def pytest_configure(config: pytest.Config) -> None:
    """With `-m gpu` warnings are shown, not errors: a machine with a GPU has other versions than the pinned ones.

    What a shell starts in the background ignores Ctrl-C, and so would every process that a test starts and stops.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.markexpr == "gpu":
        config.addinivalue_line("filterwarnings", "default")
        return
    from hypothesis import settings  # a machine with a GPU may lack it

    settings.register_profile("any machine", deadline=None)  # a busy one is no failure
    settings.load_profile("any machine")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and (why := _why_no_gpu()):
        pytest.skip(f"no GPU: {why}")


@cache
def _why_no_gpu() -> str:
    from hews_gpu.environment.device import probe

    found = probe("gpu")
    return "" if found.works else found.why


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    """A Dask cluster of two worker processes, which nannies start again if they die; it takes time also when idle."""
    from distributed import LocalCluster

    made = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50)
    with suppress(TimeoutError), made as cluster:  # a nanny that waits for a killed worker is no fault of ours
        yield cluster


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real tables that HEWS_REAL_DATA names; the test is skipped, saying so, without one."""
    name = os.environ.get("HEWS_REAL_DATA", "")
    if not name:
        pytest.skip("HEWS_REAL_DATA is unset: no folder of real tables was given")
    folder = Path(name)
    assert folder.is_dir(), f"HEWS_REAL_DATA = {name!r} is not a folder"
    return folder
