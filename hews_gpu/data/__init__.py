"""From raw incident files and polygons to sorted arrays, windows and labels."""
