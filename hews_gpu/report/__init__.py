"""The report: one self-contained HTML page about one city and one run."""
