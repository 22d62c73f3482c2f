"""Getting a city's public tables from its open data feed, so that nothing is lost, doubled or half kept."""

from hews_gpu.fetch.city import fetch_city, find_city

__all__ = ["fetch_city", "find_city"]
