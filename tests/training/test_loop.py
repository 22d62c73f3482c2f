"""The loop on a toy objective: what it keeps between two steps, how it follows stages, averages, turns, rounding.

The toy: 48 points of four numbers, told apart by the sign of their sum; a little network with dropout, so that the
state of the random generators counts.
"""

import copy
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hews_gpu.errors import UserError
from hews_gpu.feed.plan import plan
from hews_gpu.training.distributed import ProcessGroup
from hews_gpu.training.loop import MODULUS, TrainingLoop, learning_rate, order_fingerprint
from hews_gpu.training.objective import EpochRow, Stage
from hews_gpu.training.ranks import ProcessInfo
from hews_gpu.training.recipe import EngineConfig

POINTS = 48
STAGE = Stage(epochs=2, batch_size=12, learning_rate=0.02)


@dataclass(frozen=True)
class Batch:
    ids: np.ndarray
    x: torch.Tensor
    y: torch.Tensor

    def __len__(self):
        return len(self.ids)

    def slices(self, size):
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            yield Batch(self.ids[part], self.x[part], self.y[part])


@dataclass
class Toy:
    stages: tuple = (STAGE,)
    ema: float = 0.0
    dropout: float = 0.5
    scores: list = field(default_factory=list)  # what validation says, in turn; else the mean loss
    seen: list = field(default_factory=list)  # weights that were validated
    seed = 5
    samples = POINTS
    micro_batch = 5
    settings = MappingProxyType({})

    def __post_init__(self):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(POINTS, 4, generator=generator)
        self.y = (self.x.sum(1) > 0).float()

    def module(self):
        layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(self.dropout), nn.Linear(8, 1), nn.Flatten(0))
        generator = torch.Generator().manual_seed(1)
        for parameter in layers.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)
        return layers

    def optimizer(self, module):
        return torch.optim.AdamW(module.parameters())

    def start(self, module, to_device):
        return EpochRow(epoch=0, train_loss=1.0, validation={"log_loss": 9.0})

    def steps(self, stage):
        return POINTS // stage.batch_size

    def batches(self, stage, epoch, first_step, rank, world):
        for step in range(first_step, self.steps(stage)):
            ids = plan(self.seed, epoch, rank, world, step, windows=POINTS, batch_size=stage.batch_size)
            for part in np.split(ids, stage.accumulate):
                yield Batch(part, self.x[part], self.y[part])

    def loss(self, model, piece, to_device):
        return functional.binary_cross_entropy_with_logits(model(piece.x), piece.y, reduction="sum")

    def validate(self, module, to_device):
        self.seen.append({name: value.detach().clone() for name, value in module.named_parameters()})
        if self.scores:
            return {"log_loss": self.scores.pop(0)}
        module.eval()
        with torch.no_grad():
            return {"log_loss": functional.binary_cross_entropy_with_logits(module(self.x), self.y).item()}


class Silent:
    def advance(self, amount=1.0, note=""):
        pass


@pytest.fixture(autouse=True)
def own_random_generators():
    with torch.random.fork_rng(devices=()):
        yield


def loop_of(toy, **how):
    config = EngineConfig(**how)
    return TrainingLoop(toy, config, ProcessGroup(ProcessInfo(), "cpu"))


def trained(made, *, start=True, at_step=0):
    """Train to the end; returns the last snapshot, and a copy of the one taken after a step."""
    taken = []

    def between():
        if made.position.step == at_step:
            snapshot = copy.deepcopy(made.snapshot())
            snapshot.tensors = {name: tensor.contiguous() for name, tensor in snapshot.tensors.items()}  # as in a file
            taken.append(snapshot)

    if start:
        made.start()
    while made.stage:
        made.epoch(Silent(), between)
    return made.snapshot(), *taken


def decided(snapshot):
    history = [
        {key: value for key, value in row.items() if key != "cost"} for row in snapshot.notes["position"]["history"]
    ]
    return {name: tensor.numpy().tobytes() for name, tensor in snapshot.tensors.items()}, history


TWO = (STAGE, Stage(epochs=2, batch_size=8, learning_rate=0.01, schedule="constant", accumulate=2))


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("at_step", [1, 7, 13])
def test_put_back_at_any_step_it_ends_with_the_same_bits(ema, at_step):
    whole, taken = trained(loop_of(Toy(TWO, ema)), at_step=at_step)
    torch.rand(3)
    later = loop_of(Toy(TWO, ema))
    later.restore(taken)
    assert later.position.step == at_step and later.position.epoch_step > 0
    again = trained(later, start=False)[0]
    assert decided(again) == decided(whole)
    assert again.notes["position"]["stage"] == 2 and again.notes["position"]["step"] == 2 * 4 + 2 * 6


def test_learning_follows_the_stages():
    made = loop_of(Toy(TWO))
    rates = []
    made.optimizer.register_step_post_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    trained(made)
    assert rates[:8] == [learning_rate(STAGE, step, 8) for step in range(8)]
    assert rates[8:] == [0.01] * 12


def test_a_stage_without_progress_ends_early_and_the_next_begins():
    stages = (Stage(epochs=9, batch_size=12, learning_rate=0.1, patience=2), TWO[1])
    made = loop_of(Toy(stages, scores=[5.0, 6.0, 7.0, 8.0, 4.0]))
    trained(made)
    assert made.position.epoch == 3 + 2
    assert [row.score for row in made.position.history] == [9.0, 5.0, 6.0, 7.0, 8.0, 4.0]
    assert made.position.best_epoch == 5


def test_turns_change_nothing_but_rounding():
    found = []
    for accumulate in (1, 3):
        stage = Stage(epochs=3, batch_size=12, learning_rate=0.02, accumulate=accumulate)
        found.append(trained(loop_of(Toy((stage,), dropout=0.0)))[0].notes["position"]["history"])
    one, three = found
    assert [row["order"] for row in one] == [row["order"] for row in three] and one[1]["order"] != one[2]["order"]
    for mine, other in zip(one, three, strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)


def test_the_moving_average_is_what_is_validated_and_kept():
    toy = Toy((STAGE,), ema=0.7)
    made = loop_of(toy)
    made.start()
    average = {name: value.detach().double() for name, value in made.module.named_parameters()}
    expected = []

    def follow(*_):
        decay = min(0.7, (1 + len(expected) + 1) / (10 + len(expected) + 1))
        for name, value in made.module.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * value.detach().double()
        expected.append(dict(average))

    made.optimizer.register_step_post_hook(follow)
    made.epoch(Silent(), lambda: None)
    for name, value in made.module.named_parameters():
        torch.testing.assert_close(toy.seen[0][name].double(), expected[3][name], rtol=1e-5, atol=1e-6)
        assert torch.equal(made.best[name], toy.seen[0][name]) and not torch.equal(value, toy.seen[0][name])


@pytest.mark.parametrize(("precision", "half"), [("bf16-mixed", True), ("32-true", False)])
def test_half_precision_computes_in_half_and_keeps_weights_whole(precision, half):
    made = loop_of(Toy(), precision=precision)
    computed = set()
    made.module[0].register_forward_hook(lambda _, __, out: computed.add(out.dtype))
    last = trained(made)[0]
    assert computed == {torch.bfloat16 if half else torch.float32}
    assert {tensor.dtype for name, tensor in last.tensors.items() if not name.startswith("random")} == {torch.float32}


def test_a_compiled_model_learns_the_same(monkeypatch):
    """With the front end of the compiler alone: what stands behind it takes half a minute for so small a model."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **named: real(module, **{**named, "backend": "eager"}))
    made = loop_of(Toy(dropout=0.0), compile=True)
    assert isinstance(made.model, torch._dynamo.OptimizedModule)
    compiled = trained(made)[0]
    plain = trained(loop_of(Toy(dropout=0.0)))[0]
    assert compiled.tensors.keys() == plain.tensors.keys()
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(compiled.tensors[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_compiler_that_is_not_there_is_one_line(monkeypatch):
    def backend(graph, examples):
        raise RuntimeError("No working C++ compiler found")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **named: real(module, **{**named, "backend": backend}))
    made = loop_of(Toy(dropout=0.0), compile=True)
    made.start()
    with pytest.raises(UserError, match=r"\[engine\] compile = True: does not work here: .*No working C\+\+ compiler"):
        made.epoch(Silent(), lambda: None)


def test_channels_last_weights_are_put_back_as_they_were():
    class Pictures(Toy):
        def module(self):
            return nn.Sequential(
                nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 2), nn.Flatten(1), Sum()
            )

    class Sum(nn.Module):
        def forward(self, x):
            return x.sum(1)

    def layout(made):
        conv = made.module[2].weight
        state = made.optimizer.state[conv]["exp_avg"]
        return conv.is_contiguous(memory_format=torch.channels_last), state.stride() == conv.stride()

    torch.manual_seed(0)
    first = loop_of(Pictures(), channels_last=True)
    whole, taken = trained(first, at_step=3)
    later = loop_of(Pictures(), channels_last=True)
    later.restore(taken)
    assert layout(first) == layout(later) == (True, True)
    assert decided(trained(later, start=False)[0]) == decided(whole)


def test_a_run_that_diverges_says_so():
    made = loop_of(Toy(scores=[float("nan")]))
    made.start()
    with pytest.raises(UserError, match=r"validation score of epoch 1 is nan: training has diverged.*Lower it"):
        made.epoch(Silent(), lambda: None)


def test_a_batch_must_be_shared_out_evenly():
    with pytest.raises(UserError, match="batch_size = 12: must be a multiple of 5 processes x 1 turns"):
        STAGE.require_divisible(5)


def test_learning_rate_rises_then_falls_to_nothing():
    stage = Stage(epochs=1, batch_size=1, learning_rate=0.1)
    rates = [learning_rate(stage, step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1) == rates[9] == rates[10]
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert 0 < rates[-1] < 1e-4
    assert learning_rate(stage, 0, 1) == pytest.approx(0.1)


def shares(world, step):
    return [plan(3, 1, rank, world, step, windows=50, batch_size=12) for rank in range(world)]


def test_the_fingerprint_of_an_order_is_the_same_however_it_is_divided():
    whole = order_fingerprint(shares(1, 2)[0], 24)
    for world in (2, 3, 4):
        parts = [order_fingerprint(ids, 24 + rank * 12 // world) for rank, ids in enumerate(shares(world, 2))]
        assert sum(parts) % MODULUS == whole


def test_the_fingerprint_knows_places_and_ids():
    ids = np.arange(12)
    swapped = ids.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    other = ids.copy()
    other[5] = 12
    orders = ((ids, 0), (swapped, 0), (other, 0), (ids, 1))
    assert len({order_fingerprint(*order) for order in orders}) == 4
