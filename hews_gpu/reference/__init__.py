"""The reference system's networks and protocol, reproduced with their leaks, each of which can be taken away."""

__all__ = ["LEAKY_FILES"]

LEAKY_FILES = "metrics.json", "leaky_held_out.parquet"
"""What judging a leaky run leaves."""
