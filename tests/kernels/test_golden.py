"""Hashes of fixed outputs, kept in golden.json: any machine, with a GPU or without, is checked in seconds."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.inputs.small_cases import CASES, SmallCase, hash_of

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))


def test_every_case_has_a_hash_of_its_own():
    assert set(GOLDEN) == set(CASES)
    assert len(set(GOLDEN.values())) == len(GOLDEN)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", CASES)
def test_a_cpu_gives_the_golden_bits_and_writes_nothing_else(name, backend):
    small = SmallCase(name)
    memory, batch = small.batch(seed=0)
    before = memory.copy()
    small.rasterizer(backend).fill(small.pairs, batch)
    assert hash_of(batch) == GOLDEN[name]
    end = small.begin + batch.size
    assert np.array_equal(memory[: small.begin], before[: small.begin]) and np.array_equal(memory[end:], before[end:])


def test_a_changed_bit_changes_the_hash():
    small = SmallCase("typical")
    _, batch = small.batch(seed=0)
    small.rasterizer("numba").fill(small.pairs, batch)
    batch[-1, -1, -1, -1] ^= 1
    assert hash_of(batch) != GOLDEN["typical"]


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_gives_the_golden_bits_and_writes_nothing_else(name):
    import torch

    small = SmallCase(name)
    memory, batch = small.batch(seed=0)
    begin = small.begin
    device = torch.from_numpy(memory.view(np.uint8).copy()).cuda()
    kinds = {"uint8": torch.uint8, "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
    typed = device.view(kinds[small.values.dtype])[begin : begin + batch.size]
    target = typed.view(batch.shape)
    rasterizer = small.rasterizer("cuda")
    for pairs in (small.pairs, torch.from_numpy(small.pairs).cuda()):
        device.copy_(torch.from_numpy(memory.view(np.uint8)))
        rasterizer.fill(pairs, target)
        torch.cuda.synchronize()
        after = device.cpu().numpy().view(memory.dtype)
        assert hash_of(after[begin : begin + batch.size].reshape(batch.shape)) == GOLDEN[name]
        assert np.array_equal(after[:begin], memory[:begin])
        assert np.array_equal(after[begin + batch.size :], memory[begin + batch.size :])


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["typical", "float16", "bfloat16", "log counts as bytes", "unaligned"])
def test_a_gpu_draws_batches_that_lie_on_the_host(name):
    small = SmallCase(name)
    memory, batch = small.batch(seed=0)
    before = memory.copy()
    small.rasterizer("cuda").fill(small.pairs, batch)
    assert hash_of(batch) == GOLDEN[name]
    end = small.begin + batch.size
    assert np.array_equal(memory[: small.begin], before[: small.begin]) and np.array_equal(memory[end:], before[end:])


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["typical", "counts"])
def test_a_gpu_tells_of_pairs_that_reach_outside_the_table(name):
    import torch

    small = SmallCase(name)
    rasterizer = small.rasterizer("cuda")
    out = torch.zeros((len(small.pairs), *rasterizer.shape), dtype=torch.uint8, device="cuda")
    for spoilt in ([-1, 3], [3, 2], [0, 301], [2**32, 2**32 + 1]):
        pairs = torch.from_numpy(small.pairs).cuda()
        pairs[2] = torch.tensor(spoilt)
        rasterizer.fill(pairs, out)
        with pytest.raises(ValueError, match="window 2 of an earlier batch"):
            rasterizer.check()
        pairs[2] = 0
        rasterizer.fill(pairs, out)
        rasterizer.check()
        assert bool((out[2] == out[0]).all())  # window 0 is empty in every case
