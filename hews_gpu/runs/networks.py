"""Every model by name: what a recipe may ask for, and what a run's weights are put back into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hews_gpu.forecasters.cnn_network import SmallCnn, SmallCnnSettings
from hews_gpu.forecasters.hewsnet_network import HewsNet, HewsNetSettings
from hews_gpu.reference.networks import ReferenceCnn, ReferenceSettings

__all__ = ["MODELS", "build_model"]

MODELS: dict[str, tuple[type[nn.Module], type[Any]]] = {
    "cnn": (SmallCnn, SmallCnnSettings),
    "reference1": (ReferenceCnn, ReferenceSettings),
    "reference2": (ReferenceCnn, ReferenceSettings),
    "reference_small": (ReferenceCnn, ReferenceSettings),
    "hewsnet": (HewsNet, HewsNetSettings),
}
"""The module of each name and the dataclass that it is built from; a module takes that and a seed."""


def build_model(name: str, settings: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """A model with its initial weights.

    Args:
        name: a key of `MODELS`.
        settings: fields of its dataclass, as `dataclasses.asdict` gives them back.
        seed: of the weights, which depend on nothing else.

    Raises:
        ValueError: an unknown name, or settings that are not that model's.
    """
    if name not in MODELS:
        raise ValueError(f"name = {name!r} must be one of {', '.join(MODELS)}")
    module, kind = MODELS[name]
    try:
        found = kind(**settings)
    except TypeError as error:
        raise ValueError(f"settings: are not those of {name} ({error})") from None
    model: nn.Module = module(found, seed)
    return model
