"""The toy city, and a run on it."""

from tests.toy_city import one_thread, prepared, run, toy, trained

__all__ = ["one_thread", "prepared", "run", "toy", "trained"]
