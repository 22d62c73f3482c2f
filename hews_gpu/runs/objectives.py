"""What can be learned: each module is one `Objective` for the engine."""

from __future__ import annotations

from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError
from hews_gpu.train.objective import Objective
from hews_gpu.train.recipe import Recipe

__all__ = ["open_objective"]


def open_objective(prepared: Prepared, recipe: Recipe, *, feed: str = "direct", device: str = "cpu") -> Objective:
    """What a recipe asks to learn of a prepared city.

    Args:
        prepared: the city.
        recipe: its protocol chooses the objective.
        feed: how maps reach the model; a key of `FEEDS`.
        device: "cpu" or "cuda", of the feed's tensors.

    Raises:
        UserError: the city cannot be learned from in this way.
    """
    if recipe.protocol == "reference":
        from hews_gpu.reference.protocol import ReferenceObjective

        return ReferenceObjective(prepared, recipe, feed=feed, device=device)
    if recipe.model != "cnn":
        raise UserError("[model]", recipe.model, allowed="is not trained yet, must be cnn")
    from hews_gpu.runs.cnn_objective import ForecastObjective

    return ForecastObjective(prepared, recipe, feed=feed, device=device)
