"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real tables that HEWS_REAL_DATA names; the test is skipped, saying so, without one."""
    name = os.environ.get("HEWS_REAL_DATA", "")
    if not name:
        pytest.skip("HEWS_REAL_DATA is unset: no folder of real tables was given")
    folder = Path(name)
    assert folder.is_dir(), f"HEWS_REAL_DATA = {name!r} is not a folder"
    return folder
