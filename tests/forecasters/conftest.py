"""The invented city."""

from tests.invented_city import city

__all__ = ["city"]
