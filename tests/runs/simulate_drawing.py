"""Open both objectives as on a GPU, in numba's simulator, and say what would draw: a process of its own."""

import os
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

from hews_gpu.data.events import open_prepared
from hews_gpu.environment import device
from hews_gpu.runs.objectives import open_objective
from hews_gpu.train.recipe import load_recipe, parse_recipe

DEVICE = "meta"  # torch's device without memory: all that a GPU is asked for before the first batch


def source(objective):
    return (objective.feeds["train"] if hasattr(objective, "feeds") else objective.feed).source


if __name__ == "__main__":
    prepared, works = open_prepared(Path(sys.argv[1])), sys.argv[2] == "works"
    device.probe = lambda name: device.ProbeResult(works or name == "gpu", "simulated")
    text = load_recipe("reference2").text.replace("= 150", "= 48").replace('"equal"', '"none"')
    for recipe in (load_recipe(), parse_recipe(text, "reference2")):
        there, here = open_objective(prepared, recipe, device=DEVICE), open_objective(prepared, recipe)
        feeds = there.feeds.values() if hasattr(there, "feeds") else [s.feed for s in there.task.splits.values()]
        backends = {feed.source.rasterizer.backend for feed in feeds}, source(here).rasterizer.backend
        print(recipe.protocol, *map(str, backends), {str(feed.device) for feed in feeds})
