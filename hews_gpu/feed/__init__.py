"""From window ids to batches: which ids a step gets (plan), and how their maps reach a model (direct, dali, zarr)."""
