"""Generated cities, small enough for every test."""

from tests.invented_city import city, strong

__all__ = ["city", "strong"]
