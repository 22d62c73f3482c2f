"""Scientific studies: how good forecasts are, and why; speed is measured under benchmarks/."""
