"""Fitting a model to a prepared city, and scoring the forecasts it makes."""
