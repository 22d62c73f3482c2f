"""DALI, for real, on the CPU: its resampling against torch's, its ring, and the error where it is missing."""

import sys
import time

import numpy as np
import pytest
import torch

from hews_gpu.errors import UserError
from hews_gpu.feed.augment import Augmentation, warp
from hews_gpu.feed.dali import DEPTH, DaliFeed, dali_pipeline
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.plan import shares
from hews_gpu.raster.output import Values
from tests.feed.toy import toy_source

SHAPE = (20, 30, 3)
PLAN = list(shares(1, 0, 0, 1, windows=60, batch_size=8))


def picture(share):
    """Any bytes that follow from the ids."""
    rows = [np.random.default_rng(int(i)).integers(0, 256, SHAPE, dtype=np.uint8) for i in share.ids]
    return np.stack(rows)


def drawn(augment, share):
    return picture(share), augment.matrices(share.epoch, share.first, len(share), *SHAPE[:2])


def maps_of(pipeline):
    (maps,) = pipeline.run()
    return np.array(maps.as_tensor())


def test_resampled_maps_are_as_torch_gives_them_and_not_the_other_way_round():
    augment = Augmentation(seed=5, flip=True, shear_deg=5.0)
    batches = (drawn(augment, share) for share in PLAN)
    pipeline = dali_pipeline(lambda: next(batches), batch_size=8, values=Values.unit(), is_augmented=True)
    for share in PLAN:
        found = torch.from_numpy(maps_of(pipeline)).permute(0, 3, 1, 2)
        bytes_, matrices = drawn(augment, share)
        values = torch.from_numpy(bytes_).permute(0, 3, 1, 2) / 255
        torch.testing.assert_close(found, warp(values, matrices), rtol=0, atol=1e-4)
        whole = np.concatenate([matrices, np.tile(np.float32([[[0, 0, 1]]]), (len(share), 1, 1))], axis=1)
        inverse = np.ascontiguousarray(np.linalg.inv(whole)[:, :2])
        assert (found - warp(values, inverse)).abs().max() > 0.3
    with pytest.raises(StopIteration):
        pipeline.run()


@pytest.mark.parametrize(
    ("style", "values", "within"),
    [
        ("reference", "uint8", 1.0),  # half a byte may be rounded up or down
        ("reference", "float32", 1e-4),
        ("channels", "float32", 1e-6),
        ("reference", "bfloat16", 0.04),  # a unit in the last of 8 bits of numbers below 5
    ],
)
def test_the_feed_varies_maps_as_the_direct_one_does(toy_prepared, style, values, within):
    source = toy_source(toy_prepared, style, values)
    augment = Augmentation(seed=5, flip=True)
    plan = list(shares(1, 2, 1, 2, windows=len(source), batch_size=12))
    plain = [batch.maps.clone() for batch in DirectFeed(source).batches(plan)]
    drawn = DirectFeed(source).batches(plan, augment=augment)
    varied, count = 0.0, 0
    for one, other, still in zip(drawn, DaliFeed(source).batches(plan, augment=augment), plain, strict=True):
        assert one.maps.dtype == other.maps.dtype
        torch.testing.assert_close(one.maps.float(), other.maps.float(), rtol=0, atol=within)
        varied = max(varied, float((one.maps.float() - still.float()).abs().max()))
        count += 1
    assert count == len(plan) and varied > 3 * within


def test_the_ring_is_deeper_than_what_dali_holds(toy_prepared, monkeypatch):
    """A buffer is drawn into again only when the batch before it in the same buffer has come out of the pipeline."""
    feed = DaliFeed(toy_source(toy_prepared, values="float32"))
    draw, draws, read = feed._draw, [], []

    def record(out, share, augment):
        draws.append((out.data_ptr(), len(read)))
        return draw(out, share, augment)

    monkeypatch.setattr(feed, "_draw", record)
    plan = list(shares(1, 0, 0, 1, windows=48, batch_size=4)) * 2
    for batch in feed.batches(plan):
        read.append(batch)
        time.sleep(0.01)  # all the time to run ahead
    assert len(draws) == len(plan)
    for turn in range(DEPTH, len(plan)):
        address, given = draws[turn]
        assert address == draws[turn - DEPTH][0]
        assert given >= turn - DEPTH + 1


def test_a_missing_dali_is_one_line(toy_prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(
        UserError, match=r"--feed = 'dali': needs nvidia.dali, which is not installed.*hews-gpu\[dali\]"
    ):
        DaliFeed(toy_source(toy_prepared))
