"""A generated city and the toy city."""

from tests.invented_city import strong
from tests.toy_city import one_thread, prepared, run, trained

__all__ = ["one_thread", "prepared", "run", "strong", "trained"]
