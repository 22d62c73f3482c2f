"""The leak audit: gates that inputs, forecasts and splits must pass, each shown to catch leaks planted on purpose."""
