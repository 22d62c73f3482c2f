"""Audits: gates against leaks, each shown to catch planted ones; whom warnings fall on; feedback; under-reporting."""
