"""Fixtures that every test may use."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m gpu` only files that hold such tests are imported: a machine with a GPU may lack what others need."""
    if config.option.markexpr != "gpu" or collection_path.suffix != ".py" or collection_path.name == "conftest.py":
        return None
    return True if "mark.gpu" not in collection_path.read_text(encoding="utf-8") else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and (why := _why_no_gpu()):
        pytest.skip(f"no GPU: {why}")


@cache
def _why_no_gpu() -> str:
    from hews_gpu.device import probe

    found = probe("gpu")
    return "" if found.works else found.why


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real tables that HEWS_REAL_DATA names; the test is skipped, saying so, without one."""
    name = os.environ.get("HEWS_REAL_DATA", "")
    if not name:
        pytest.skip("HEWS_REAL_DATA is unset: no folder of real tables was given")
    folder = Path(name)
    assert folder.is_dir(), f"HEWS_REAL_DATA = {name!r} is not a folder"
    return folder
