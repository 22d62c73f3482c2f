"""Training a network step by step: recipes, the loop, the ranks that share it, checkpoints, logs."""
