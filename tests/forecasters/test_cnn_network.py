"""The small CNN starts as the climatology, is what its formula says, and learns what it was built to see."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from hews_gpu.forecasters.cnn_network import SmallCnn, SmallCnnSettings

SETTINGS = SmallCnnSettings(
    steps=4, groups=3, height=12, width=10, calendar=6, filters_per_group=2, area_cells=4, hidden=7
)
BALTIMORE = SmallCnnSettings(steps=12, groups=6, height=54, width=43, calendar=16)


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors: threads that wait for each other would cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def inputs(samples=64, seed=0, settings=SETTINGS):
    rng = np.random.default_rng(seed)
    shape = (samples, settings.height, settings.width, settings.steps * settings.groups)
    maps = torch.from_numpy(rng.poisson(0.05, shape).astype(np.uint8)).permute(0, 3, 1, 2)
    calendar = torch.from_numpy(rng.normal(size=(samples, settings.calendar)).astype(np.float32))
    return maps, calendar, torch.from_numpy(rng.normal(-2, 0.5, samples).astype(np.float32))


def disturbed(settings=SETTINGS, seed=1):
    """A model none of whose parameters is zero."""
    model = SmallCnn(settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def test_untrained_it_is_the_climatology_to_the_bit():
    maps, calendar, climatology = inputs()
    assert torch.equal(SmallCnn(SETTINGS, seed=3)(maps, calendar, climatology), climatology)


def test_a_filter_starts_on_one_category_and_one_speed_of_forgetting():
    state = SmallCnn(BALTIMORE).state_dict()
    lag, mix = state["lag"], state["mix"]
    assert lag.shape == (12, 12) and mix.shape == (12, 6)
    assert mix.abs().argmax(dim=1).tolist() == [*range(6), *range(6)]
    assert torch.equal(lag[0], lag[5]) and torch.equal(lag[6], lag[11])
    assert torch.allclose(lag[0, :-3] / lag[0, 3:], torch.tensor(0.25))  # halves each 1.5 steps, newest last
    assert torch.allclose(lag[6, :-6] / lag[6, 6:], torch.tensor(0.5))


def test_areas_in_which_nothing_happened_say_nothing():
    model, nothing, calendar = disturbed(), torch.zeros(2, 12, 12, 10), torch.zeros(2, 6)
    areas = slice(SETTINGS.filters + SETTINGS.calendar, -SETTINGS.hidden)
    with torch.no_grad():
        before = model.correction(nothing, calendar)
        model.linear[areas] += 1.0
        assert torch.equal(model.correction(nothing, calendar), before)


def test_a_few_thousand_parameters():
    assert 500 < sum(parameter.numel() for parameter in SmallCnn(BALTIMORE).parameters()) < 5000


def test_its_weights_depend_on_the_seed_alone_and_leave_global_randomness_alone():
    state = torch.get_rng_state()
    models = [SmallCnn(SETTINGS, seed).state_dict() for seed in (5, 5, 6)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not torch.equal(models[0]["mix"], models[2]["mix"])


def test_it_computes_its_formula():
    """Against a plain loop over samples, filters, steps and categories in float64 NumPy."""
    model = disturbed()
    maps, calendar, climatology = inputs(samples=3)
    model.fit_scale([maps])
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    s = SETTINGS
    for i in range(3):
        counts = np.log1p(maps[i].double().numpy()).reshape(s.steps, s.groups, s.height, s.width)
        mean, scale = (w[name].reshape(s.steps, s.groups) for name in ("city_mean", "city_scale"))
        excess = (counts.sum(axis=(2, 3)) - mean) / scale
        city = np.array([w["lag"][k] @ excess @ w["mix"][k] for k in range(s.filters)])
        cells = np.stack([np.einsum("t,g,tgyx->yx", w["lag"][k], w["mix"][k], counts) for k in range(s.filters)])
        padded = np.pad(cells, ((0, 0), (1, 1), (1, 1)))
        near = np.zeros_like(cells) + w["near_bias"][:, None, None]
        for dy in range(3):
            for dx in range(3):
                window = padded[:, dy : dy + s.height, dx : dx + s.width]
                near += np.einsum("kj,jyx->kyx", w["near"][:, :, dy, dx], window)
        near = np.maximum(near, 0) - np.maximum(w["near_bias"], 0)[:, None, None]
        blocks = [near[k, y : y + 4, x : x + 4] for k in range(s.filters) for y in (0, 4, 8) for x in (0, 4, 8)]
        areas = [block.mean() * 4 for block in blocks]
        features = np.concatenate([city, calendar[i].numpy()])
        hidden = np.tanh(w["hidden"] @ features + w["hidden_bias"])
        expected = np.concatenate([features, areas, hidden]) @ w["linear"] + w["bias"][0] + climatology[i].item()
        got = model(maps[i : i + 1], calendar[i : i + 1], climatology[i : i + 1]).item()
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_integer_and_float_maps_in_any_memory_layout_are_one():
    model = disturbed()
    maps, calendar, climatology = inputs()
    with torch.no_grad():
        expected = model(maps, calendar, climatology)
        assert torch.allclose(model(maps.float().contiguous(), calendar, climatology), expected, atol=1e-5)


def test_samples_do_not_see_each_other():
    model = disturbed()
    maps, calendar, climatology = inputs()
    with torch.no_grad():
        together = model(maps, calendar, climatology)
        alone = torch.cat(
            [model(maps[i : i + 1], calendar[i : i + 1], climatology[i : i + 1]) for i in range(len(maps))]
        )
    assert torch.allclose(together, alone, atol=1e-5)


def test_every_parameter_is_trained():
    model = disturbed()
    maps, calendar, climatology = inputs()
    model(maps, calendar, climatology).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_scale_makes_usual_counts_usual():
    model = SmallCnn(SETTINGS)
    maps, _, _ = inputs(samples=500)
    model.fit_scale(maps.split(100))
    totals = torch.log1p(maps.float()).sum(dim=(2, 3))
    usual = (totals - model.city_mean) / model.city_scale
    assert usual.mean(dim=0).abs().max() < 1e-5
    assert (usual.std(dim=0, correction=0) - 1).abs().max() < 1e-4
    model.fit_scale([torch.zeros_like(maps)])  # a channel that never holds anything
    assert torch.equal(model.city_scale, torch.ones_like(model.city_scale))


def fitted_auc(signal, epochs=10):
    """AUC on fresh samples after training on outcomes whose log-odds are `signal(maps)`."""
    from sklearn.metrics import roc_auc_score

    maps, calendar, _ = inputs(samples=3000, seed=7)
    score = signal(maps.float())
    score = (score - score.mean()) / score.std()
    y = (torch.rand(3000, generator=torch.Generator().manual_seed(0)) < torch.sigmoid(2 * score - 1)).float()
    nothing = torch.zeros(3000)
    model = SmallCnn(SETTINGS)
    model.fit_scale([maps[:2000]])
    adam = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for epoch in range(epochs):
        for ids in torch.randperm(2000, generator=torch.Generator().manual_seed(epoch)).split(200):
            adam.zero_grad()
            logit = model(maps[ids], calendar[ids], nothing[ids])
            functional.binary_cross_entropy_with_logits(logit, y[ids]).backward()
            adam.step()
    with torch.no_grad():
        logit = model(maps[2000:], calendar[2000:], nothing[2000:])
    return roc_auc_score(y[2000:], logit), roc_auc_score(y[2000:], score[2000:])


@pytest.mark.parametrize("where", ["city", "area"])
def test_it_learns_what_happens_in_the_city_and_in_one_area(where):
    """Recent incidents of category 1: anywhere, or only in the lower left area, which city-wide sums hide."""
    fade = torch.tensor([0.1, 0.2, 0.5, 1.0])

    def signal(maps):
        recent = (maps.unflatten(1, (4, 3))[:, :, 1] * fade[:, None, None]).sum(dim=1)
        return (recent if where == "city" else recent[:, 8:, :4]).sum(dim=(1, 2))

    found, best = fitted_auc(signal)
    assert best > 0.85
    assert found > best - 0.04


@pytest.mark.parametrize(
    "name", ["steps", "groups", "height", "width", "calendar", "filters_per_group", "area_cells", "hidden"]
)
def test_sizes_below_one_are_refused(name):
    with pytest.raises(ValueError, match=name):
        SmallCnnSettings(**{**SETTINGS.__dict__, name: 0})
