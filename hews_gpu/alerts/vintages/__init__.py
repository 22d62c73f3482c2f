"""Every delivery of a city's table, kept: what was known when, how late rows come, and what is still missing."""
