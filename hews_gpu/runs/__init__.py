"""Run folders: train a forecaster into one, evaluate it, and score further tables with it."""
