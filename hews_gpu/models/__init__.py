"""Neural networks that turn maps of the past into a probability; they know torch and nothing of ours."""
