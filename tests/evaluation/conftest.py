"""Generated cities, small enough for every test."""

import pytest

from hews_gpu.evaluation.sources import synthetic_source


@pytest.fixture(scope="session")
def strong():
    return synthetic_source("strong", years=2)
