"""The reference system's networks and protocol, reproduced with their leaks, and an ablation of those leaks."""

__all__ = ["LEAKY_FILES"]

LEAKY_FILES = "metrics.json", "leaky_held_out.parquet"
"""What judging a leaky run leaves."""
