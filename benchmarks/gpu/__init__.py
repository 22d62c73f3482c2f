"""Benchmarks and checks for a machine with a GPU that has NumPy, numba, torch and pytest, and this checkout."""
