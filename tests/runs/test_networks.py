"""Every registered model can be built from what `asdict` gives back, and from nothing else."""

from dataclasses import asdict

import pytest
import torch

from hews_gpu.forecasters.cnn_network import SmallCnnSettings
from hews_gpu.forecasters.hewsnet_network import HewsNetSettings
from hews_gpu.reference.networks import ReferenceSettings
from hews_gpu.runs.networks import MODELS, build_model

SETTINGS = {
    "cnn": SmallCnnSettings(steps=2, groups=3, height=8, width=8, calendar=4),
    "reference1": ReferenceSettings(name="reference1", height=50, width=70, normalization="l2"),
    "reference2": ReferenceSettings(name="reference2", height=62, width=78, normalization="unit"),
    "reference_small": ReferenceSettings(name="reference_small", height=48, width=40, normalization="unit"),
    "hewsnet": HewsNetSettings(areas=3, local=(True, False)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_built_again_from_its_settings_and_takes_its_weights(name):
    first = build_model(name, asdict(SETTINGS[name]), seed=1)
    again = build_model(name, asdict(SETTINGS[name]), seed=2)
    assert first.settings == again.settings == SETTINGS[name]
    again.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="must be one of cnn, reference1"):
        build_model("resnet", {})
    with pytest.raises(ValueError, match=r"not those of cnn .*unexpected keyword"):
        build_model("cnn", asdict(SETTINGS["reference1"]) | {"normalization": "l2"})
