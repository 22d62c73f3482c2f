"""The limits that a benchmark measures beside the work: what no program on this machine could be faster than."""
