"""Incident files of any kind, read as blocks of text rows with their schemas and dates."""
