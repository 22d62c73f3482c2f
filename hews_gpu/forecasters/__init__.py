"""Forecasters: fitted on the past, they give a probability per window, and some of them per neighborhood."""
