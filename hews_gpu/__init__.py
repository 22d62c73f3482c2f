"""HEWS-GPU: a homicide and shooting early warning system, from a table of incidents to a judged forecast."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
