"""The reference models: layer sizes as published, and the same arithmetic as Keras, written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from hews_gpu.reference.networks import ReferenceCnn, ReferenceSettings, normalize, reference_settings

COUNTS = {
    # conv 3*128*9+128 | 128*64*9+64 | 64*64*4+64 | 11*9*64 = 6336 features * 64 + 64 | 64*32+32 | 32+1
    "reference1": [3584, 73_792, 16_448, 405_568, 2080, 33],
    "reference2": [896, 18_496, 73_856, 147_584, 3_211_776, 513],  # as Keras' own summary lists them
}
# After each pooling, rows and columns: 216 x 172 -> ..., 150 x 150 -> ...
SIZES = {
    "reference1": [(108, 86), (35, 28), (11, 9)],
    "reference2": [(74, 74), (36, 36), (17, 17), (7, 7)],
}
NAMES = list(COUNTS)
SMALL = {"reference1": (50, 70), "reference2": (62, 78)}


def layers(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def small(name, normalization="unit", seed=0):
    height, width = SMALL[name]
    return ReferenceCnn(ReferenceSettings(name=name, height=height, width=width, normalization=normalization), seed)


def bytes_of(height, width, batch=2, seed=0):
    """uint8 [B, 3, H, X], channels-last."""
    maps = np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(maps).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_the_published_number_of_parameters(name):
    model = ReferenceCnn(reference_settings(name))
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers(model)] == COUNTS[name]
    assert sum(p.numel() for p in model.parameters()) == sum(COUNTS[name])


@pytest.mark.parametrize("name", NAMES)
def test_maps_shrink_as_published(name):
    settings, sizes = reference_settings(name), []
    model = ReferenceCnn(settings)
    for layer in model.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[2:])))
    with torch.no_grad():
        assert model(bytes_of(settings.height, settings.width, 1)).shape == (1,)
    assert sizes == SIZES[name]
    assert settings.last_size == SIZES[name][-1]


def keras_forward(model, maps):
    """The same in NumPy, float64, with the batch as [B, H, X, C] and kernels as [rows, columns, in, out]."""
    x = maps.permute(0, 2, 3, 1).numpy().astype(np.float64)
    if model.settings.normalization == "unit":
        x = x / 255
    else:
        x = x / np.maximum(np.sqrt((x**2).sum(axis=-1, keepdims=True)), 1e-12)
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            kernel = layer.weight.detach().double().numpy().transpose(2, 3, 1, 0)
            if layer.padding == "same":
                x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            seen = sliding_window_view(x, kernel.shape[:2], axis=(1, 2))  # [B, rows, columns, in, k, k]
            x = np.einsum("bhxckl,klco->bhxo", seen, kernel, optimize=True) + layer.bias.detach().double().numpy()
        elif isinstance(layer, nn.ReLU):
            x = np.maximum(x, 0)
        else:
            p = layer.kernel_size
            x = x[:, : x.shape[1] // p * p, : x.shape[2] // p * p]
            x = x.reshape(len(x), x.shape[1] // p, p, x.shape[2] // p, p, -1).max(axis=(2, 4))
    x = x.reshape(len(x), -1)  # rows, columns, channels
    for layer in model.head:
        if isinstance(layer, nn.Linear):
            x = x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        else:
            x = np.maximum(x, 0)
    return x[:, 0]


@pytest.mark.parametrize("normalization", ["unit", "l2"])
@pytest.mark.parametrize("name", NAMES)
def test_the_arithmetic_is_that_of_keras(name, normalization):
    model, maps = small(name, normalization), bytes_of(*SMALL[name])
    with torch.no_grad():
        for layer in layers(model):
            layer.bias.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(3))
        found = model(maps).numpy()
    np.testing.assert_allclose(found, keras_forward(model, maps), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_weights_start_as_keras_draws_them(name):
    for layer in layers(ReferenceCnn(reference_settings(name), seed=4)):
        field = math.prod(layer.weight.shape[2:])
        limit = math.sqrt(6 / (field * (layer.weight.shape[0] + layer.weight.shape[1])))
        weights = layer.weight.detach()
        assert weights.abs().max() <= limit * (1 + 1e-6)
        assert weights.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.2 if weights.numel() < 500 else 0.05)
        assert not layer.bias.any()


def test_the_seed_and_nothing_else_decides_the_weights():
    torch.manual_seed(1)
    first = small("reference2", seed=5).state_dict()
    torch.manual_seed(2)
    again, other = small("reference2", seed=5).state_dict(), small("reference2", seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


def test_either_memory_layout_gives_the_same():
    model, maps = small("reference2"), bytes_of(*SMALL["reference2"])
    with torch.no_grad():
        torch.testing.assert_close(model(maps), model(maps.contiguous()), rtol=1e-5, atol=1e-6)


def test_l2_makes_pixels_unit_vectors_and_leaves_black():
    maps = torch.tensor([[255, 255, 255], [127, 127, 127], [0, 0, 0], [255, 0, 0], [30, 40, 0]], dtype=torch.uint8)
    found = normalize(maps.T[None, :, :, None], "l2")[0, :, :, 0].T
    third = 1 / math.sqrt(3)
    expected = [[third] * 3, [third] * 3, [0, 0, 0], [1, 0, 0], [0.6, 0.8, 0]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_unit_divides_by_255():
    maps = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    torch.testing.assert_close(normalize(maps, "unit").flatten(), torch.arange(256) / 255)


def test_maps_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="too small for the layers of reference2"):
        ReferenceSettings(name="reference2", height=45, width=150, normalization="unit")
    with pytest.raises(ValueError, match="must be one of reference1, reference2"):
        ReferenceSettings(name="reference3", height=150, width=150, normalization="unit")
