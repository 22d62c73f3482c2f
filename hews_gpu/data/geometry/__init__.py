"""Neighborhood polygons, and which of them each point lies in."""
