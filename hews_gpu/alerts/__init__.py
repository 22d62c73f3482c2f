"""Warnings in use: replayed, issued, sealed in a record, and scored."""
