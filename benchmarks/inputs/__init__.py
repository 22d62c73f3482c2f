"""Inputs that benchmarks and tests share."""
