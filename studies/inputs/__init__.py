"""Inputs of studies: the locked block."""
