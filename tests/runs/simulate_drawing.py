"""Open both objectives as on a GPU, in numba's simulator, and say what would draw: a process of its own."""

import os
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

from hews_gpu.data.events import open_prepared
from hews_gpu.environment import device as environment
from hews_gpu.runs.train import open_objective
from hews_gpu.training.recipe import load_recipe, parse_recipe

DEVICE = "meta"  # torch's device without memory: all that a GPU is asked for before the first batch


def source(objective):
    return objective.feeds["train"].source


if __name__ == "__main__":
    prepared, works = open_prepared(Path(sys.argv[1])), sys.argv[2] == "works"
    environment.probe = lambda name: environment.ProbeResult(works or name == "gpu", "simulated")
    text = load_recipe("reference2").text.replace("= 150", "= 48").replace('"equal"', '"none"')
    for recipe in (load_recipe().with_model("cnn"), parse_recipe(text, "reference2")):
        (there, _), (here, _) = (open_objective(prepared, recipe, "direct", device) for device in (DEVICE, "cpu"))
        feeds = there.feeds.values()
        backends = {feed.source.rasterizer.backend for feed in feeds}, source(here).rasterizer.backend
        print(recipe.protocol, *map(str, backends), {str(feed.device) for feed in feeds})
