"""Generated cities, small enough for every test."""

import pytest

from hews_gpu.evaluation.sources import synthetic_source
from tests.invented_city import city

__all__ = ["city", "strong"]


@pytest.fixture(scope="session")
def strong():
    return synthetic_source("strong", years=2)
