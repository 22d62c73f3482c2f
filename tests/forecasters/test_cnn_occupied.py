"""What is computed of occupied cells is what the dense layers say of all, with the same gradients."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hews_gpu.forecasters.cnn_network import SmallCnn, SmallCnnSettings, dense_layers
from hews_gpu.forecasters.cnn_occupied import choose_layers, occupied_layers

FILTERS = 5
CITY = SmallCnnSettings(steps=12, groups=6, height=54, width=43, calendar=16)


def drawn(maps):
    """Counts [B, H, X, C] as a feed gives them."""
    return torch.from_numpy(np.ascontiguousarray(maps, dtype=np.uint8)).permute(0, 3, 1, 2)


def weights_of(channels, seed=0, dtype=torch.float32):
    random = np.random.default_rng(seed)
    shapes = ((FILTERS, channels), (FILTERS, FILTERS, 3, 3), (FILTERS,))
    return [torch.from_numpy(random.normal(size=shape)).to(dtype).requires_grad_() for shape in shapes]


def results(layers, maps, area_cells, seed=0, dtype=torch.float32):
    """Both outputs, and the gradients of a random sum of the second, float64."""
    weights = weights_of(maps.shape[1], seed, dtype)
    totals, areas = layers(maps, *weights, area_cells)
    pulled = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=areas.shape)).to(dtype)
    (areas * pulled).sum().backward()
    return [each.detach().double() for each in (totals, areas, *(weight.grad for weight in weights))]


def require_equal(maps, area_cells, seed=0):
    """Against the dense layers in float64, within what adding up in float32 rounds."""
    names = ("totals", "areas", "kernel", "near", "bias")
    exact = results(dense_layers, maps, area_cells, seed, torch.float64)
    found = results(occupied_layers, maps, area_cells, seed)
    for name, one, other in zip(names, exact, found, strict=True):
        assert torch.allclose(other, one, rtol=0, atol=3e-5 * max(1.0, float(one.abs().max()))), name


@st.composite
def some_maps(draw):
    """Maps of any small shape: empty, full, many in one cell, at the edges."""
    shape = [draw(st.integers(low, high)) for low, high in ((1, 4), (1, 9), (1, 9), (1, 7))]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share, most = draw(st.sampled_from([0, 0.003, 0.05, 1])), draw(st.sampled_from([1, 3, 255]))
    return drawn((random.random(shape) < share) * random.integers(1, most + 1, shape))


@settings(deadline=None, max_examples=150)
@given(maps=some_maps(), area_cells=st.integers(1, 5), seed=st.integers(0, 99))
@example(maps=drawn(np.zeros((2, 6, 5, 4))), area_cells=2, seed=0)
@example(maps=drawn(np.full((1, 1, 1, 1), 255)), area_cells=6, seed=0)
def test_the_same_as_the_dense_layers(maps, area_cells, seed):
    require_equal(maps, area_cells, seed)


@pytest.mark.parametrize("row", [0, 3, 7])
@pytest.mark.parametrize("column", [0, 2, 5])
def test_a_footprint_ends_at_the_edge_of_the_map(row, column):
    maps = np.zeros((3, 8, 6, 4))
    maps[1, row, column, 2] = 1
    require_equal(drawn(maps), 4)


def test_each_history_step_and_category_is_its_own():
    maps = np.zeros((72, 5, 5, 72))
    maps[np.arange(72), 2, 3, np.arange(72)] = 1 + np.arange(72)
    require_equal(drawn(maps), 3)


def test_any_part_of_a_batch():
    """Maps of 105 bytes: parts begin and end within a word."""
    maps = drawn(np.random.default_rng(0).poisson(0.05, (9, 5, 7, 3)))
    weights = weights_of(3)
    whole = occupied_layers(maps, *weights, 2)
    for first, last in ((0, 1), (1, 4), (3, 3), (5, 9)):
        part = occupied_layers(maps[first:last], *weights, 2)
        assert all(torch.equal(one, of_all[first:last]) for one, of_all in zip(part, whole, strict=True))
    for one, of_all in zip(occupied_layers(maps.contiguous(), *weights, 2), whole, strict=True):
        assert torch.equal(one, of_all)


def test_where_nothing_happened_there_is_nothing_to_the_bit():
    for result in results(occupied_layers, drawn(np.zeros((2, 9, 8, 3))), 4):
        assert not result.any()


def test_a_gradient_asked_for_later_is_that_of_its_own_maps():
    """The feed draws the next batch into the same memory."""
    maps = drawn(np.random.default_rng(0).poisson(0.1, (2, 6, 6, 3)))
    expected, weights = results(occupied_layers, maps, 2), weights_of(3)
    _, areas = occupied_layers(maps, *weights, 2)
    maps.zero_()
    (areas * torch.from_numpy(np.random.default_rng(1).normal(size=areas.shape)).float()).sum().backward()
    assert torch.equal(weights[0].grad.double(), expected[2])


@pytest.mark.parametrize("maps", [torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8, device="meta")])
def test_other_maps_are_refused(maps):
    with pytest.raises(ValueError, match=r"must be torch.uint8 on cpu"):
        occupied_layers(maps, *weights_of(3), 2)


def test_the_device_decides_unless_torch_compiles():
    assert choose_layers("cpu")[0] is occupied_layers
    for device, is_compiled in (("cuda", False), ("cuda:1", False), ("cpu", True), ("cuda", True)):
        layers, words = choose_layers(device, is_compiled=is_compiled)
        assert layers is dense_layers and ("torch.compile" in words) == is_compiled


def trained(layers, steps=12):
    """A network of the city's size after some steps, as `fit_scale` and AdamW leave it."""
    random = np.random.default_rng(0)
    maps = drawn(random.poisson(0.001, (64, CITY.height, CITY.width, CITY.steps * CITY.groups)))
    calendar = torch.from_numpy(random.normal(size=(64, CITY.calendar)).astype(np.float32))
    y, base = torch.from_numpy((random.random(64) < 0.3).astype(np.float32)), torch.full((64,), -1.0)
    network = SmallCnn(CITY, seed=3, layers=layers)
    network.fit_scale(maps.split(16))
    adam = torch.optim.AdamW(network.parameters(), lr=0.003)
    for step in range(steps):
        part = torch.arange(16) + 16 * (step % 4)
        adam.zero_grad()
        functional.binary_cross_entropy_with_logits(network(maps[part], calendar[part], base[part]), y[part]).backward()
        adam.step()
    return network, (maps, calendar, base)


def test_networks_trained_on_either_forecast_alike_and_exchange_weights():
    (dense, inputs), (sparse, _) = trained(dense_layers), trained(occupied_layers)
    with torch.no_grad():
        before, moved = SmallCnn(CITY, seed=3)(*inputs), dense(*inputs)
        assert (moved - before).abs().max() > 0.1
        assert torch.allclose(sparse(*inputs), moved, atol=1e-4)
        other = SmallCnn(CITY, layers=occupied_layers)
        other.load_state_dict(dense.state_dict())
        assert torch.allclose(other(*inputs), moved, atol=2e-6)


def test_a_network_that_has_lost_its_way_says_so():
    maps, weights = drawn(np.ones((1, 4, 4, 3))), weights_of(3)
    with torch.no_grad():
        weights[1].fill_(torch.nan)
    assert occupied_layers(maps, *weights, 2)[1].isnan().all()


def test_in_mixed_precision_they_stay_in_float32():
    maps = drawn(np.random.default_rng(0).poisson(0.05, (4, 9, 8, 3)))
    weights = weights_of(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        totals, areas = occupied_layers(maps, *weights, 4)
    areas.sum().backward()
    assert totals.dtype == areas.dtype == weights[0].grad.dtype == torch.float32
    assert torch.allclose(areas, occupied_layers(maps, *weights, 4)[1], atol=0.1)
