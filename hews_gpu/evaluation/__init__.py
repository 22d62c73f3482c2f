"""How good forecasts are: folds in time, one judge, metrics with intervals."""
