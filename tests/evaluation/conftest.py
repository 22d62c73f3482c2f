"""Generated cities, small enough for every test."""

import pytest

from hews_gpu.forecasters.city import generated_city
from tests.invented_city import city

__all__ = ["city", "strong"]


@pytest.fixture(scope="session")
def strong():
    return generated_city("strong", years=2)
