"""Forecasters put through one protocol: on generated cities whose truth is known, and on prepared tables."""
