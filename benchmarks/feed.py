"""Samples per second of every feed, and what a training step waits for it.

Each feed gives the same batches, which is checked first: to the bit without augmentation, within a tolerance with it.
Then they are read as fast as they come, in turn; the zarr feed in the order of the files too. Last, the reference
models are trained for some steps on a cached batch and on each feed: the ratio of the two times is what a feed costs,
whatever it hides behind the model.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numba
import torch
from torch.nn import functional

from benchmarks.common import Timing, finish, parse_flags, ratios, time_in_turn
from benchmarks.gpu.raster import painting
from hews_gpu.errors import UserError
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.batch import Batch, Feed, MapSource
from hews_gpu.feed.feeds import FEEDS, open_feed
from hews_gpu.feed.plan import Share, shares
from hews_gpu.reference.networks import ReferenceCnn, reference_settings

MEAN_INCIDENTS = 10.7
"""Of a two-hour window of the portal table."""
READ_BATCH = 64
AUGMENT = Augmentation(seed=0, flip=True)
WITHIN = 1.0
"""Of bytes that two feeds resampled: half a byte may be rounded up or down."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    windows: int
    read: int
    """Windows read in one round without augmentation; a quarter of that with it."""
    steps: dict[str, int]
    """Training steps of one round, by model."""
    training_rounds: dict[str, int]
    """Many short rounds: a neighbor on the machine then meets a step on the cached batch as often as any other."""
    rounds: int
    """Of reading."""
    batch: int
    """Of a training step; the reference models' own."""


ONE = {"reference1": 1, "reference2": 1}
SOME = {"reference1": 6, "reference2": 12}
FULL = Scale(windows=4096, read=2048, steps=ONE, training_rounds=SOME, rounds=5, batch=20)
MANY = {"reference1": 20, "reference2": 100}
SEVEN = {"reference1": 7, "reference2": 7}
GPU = Scale(windows=16_384, read=16_384, steps=MANY, training_rounds=SEVEN, rounds=7, batch=20)
QUICK = Scale(windows=256, read=128, steps=ONE, training_rounds={"reference1": 3, "reference2": 3}, rounds=3, batch=4)


def make_source(windows: int, *, height: int, width: int, backend: Literal["numba", "cuda"] = "numba") -> MapSource:
    """Return consecutive windows of a random city, as many incidents in each as in Baltimore's."""
    random = np.random.default_rng(0)
    rasterizer = painting(backend, height=height, width=width)
    edges = np.concatenate([[0], np.cumsum(random.poisson(MEAN_INCIDENTS, windows))])
    pairs = np.stack([edges[:-1], edges[1:]], axis=1).astype(np.int64)
    return MapSource.of_maps(rasterizer, pairs, random.random(windows) < 0.3)


def store(folder: Path, source: MapSource) -> Path:
    """Write the source's maps as files, as `hews rasterize` writes them."""
    from hews_gpu.data.windows import MapWindows
    from hews_gpu.feed.maps import store_maps

    first, last = source.pairs.T
    start_s = np.arange(len(source)) * 7200
    windows = MapWindows(start_s=start_s, length_s=7200, first=first, last=last)
    store_maps(folder, source.rasterizer, windows, source.y > 0)
    return folder


def make_feeds(source: MapSource, folder: Path | None, device: str) -> dict[str, Feed]:
    """Open every feed that can run here; on a GPU nothing is read from files, and DALI may be missing."""
    feeds: dict[str, Feed] = {}
    for name in FEEDS:
        try:
            named = f"{name}:{folder}" if name == "zarr" and folder else name
            feeds[name] = open_feed(named, source, device=device)
        except UserError as error:
            if device == "cpu":
                raise
            print(f"left out: {error}", file=sys.stderr)
    return feeds


def require_same(feeds: dict[str, Feed], windows: int) -> float:
    """Check that all feeds give the batches of the direct one; return the largest difference with augmentation."""
    plan = list(shares(1, 0, 0, 1, windows=windows, batch_size=READ_BATCH))[:4]
    most = 0.0
    for augment in (None, AUGMENT):
        expected = [batch.maps.cpu().clone() for batch in feeds["direct"].batches(plan, augment=augment)]
        for name, feed in feeds.items():
            for maps, batch in zip(expected, feed.batches(plan, augment=augment), strict=True):
                apart = float((batch.maps.cpu().float() - maps.float()).abs().max())
                assert apart <= (0.0 if augment is None else WITHIN), f"{name} differs by {apart}"
                most = max(most, apart)
    return most


def reading(feeds: dict[str, Feed], scale: Scale) -> list[dict[str, Any]]:
    """Return samples per second of each feed, read as fast as it can."""
    plan = list(shares(1, 0, 0, 1, windows=scale.windows, batch_size=READ_BATCH))[: scale.read // READ_BATCH]
    ordered = [Share(np.arange(k * READ_BATCH, (k + 1) * READ_BATCH) % scale.windows) for k in range(len(plan))]
    few = plan[: max(len(plan) // 4, 1)]
    works: dict[tuple[str, str], tuple[int, Callable[[], object]]] = {}
    for name, feed in feeds.items():
        works[name, "shuffled"] = (len(plan), _read(feed, plan))
        works[name, "shuffled, augmented"] = (len(few), _read(feed, few, AUGMENT))
    if "zarr" in feeds:
        works["zarr", "in the files' order"] = (len(plan), _read(feeds["zarr"], ordered))
    timings = time_in_turn({" | ".join(key): work for key, (_, work) in works.items()}, rounds=scale.rounds)
    rows = []
    for (which, how), (batches, _) in works.items():
        timing = timings[f"{which} | {how}"]
        samples = batches * READ_BATCH
        low, high = samples / max(timing.seconds), samples / min(timing.seconds)
        rows.append({"feed": which, "how": how, "samples": samples, "samples_per_s": samples / timing.median_s})
        rows[-1]["lowest_highest"] = [low, high]
    return rows


def _read(feed: Feed, plan: list[Share], augment: Augmentation | None = None) -> Callable[[], object]:
    def work() -> None:
        for _ in feed.batches(plan, augment=augment):
            pass
        _wait(feed.device)

    return work


def _wait(device: torch.device) -> None:
    """Wait until a GPU has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Training:
    """A reference model that takes steps, on what it is given."""

    def __init__(self, name: Literal["reference1", "reference2"], device: torch.device) -> None:
        self.module = ReferenceCnn(reference_settings(name)).to(device)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-4)

    def step(self, batch: Batch) -> None:
        """Take one optimizer step."""
        self.optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(self.module(batch.maps), batch.y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def training(
    name: Literal["reference1", "reference2"], feeds: dict[str, Feed], scale: Scale, augment: Augmentation | None
) -> dict[str, Any]:
    """Take steps on a cached batch and on each feed, in turn; a feed goes on where it was, as within an epoch."""
    device = feeds["direct"].device
    model, steps = Training(name, device), scale.steps[name]
    streams = {feed: endless(feeds[feed], scale.batch, augment) for feed in feeds}
    cached = next(endless(feeds["direct"], scale.batch, augment))
    cached = replace(cached, maps=cached.maps.clone())  # the feed draws into its memory again
    waited: dict[str, list[float]] = {feed: [] for feed in feeds}

    def on_cached() -> None:
        for _ in range(steps):
            model.step(cached)
        _wait(device)

    def on_feed(feed: str) -> None:
        before = feeds[feed].waited_s
        for _ in range(steps):
            model.step(next(streams[feed]))
        _wait(device)
        waited[feed].append(feeds[feed].waited_s - before)

    works: dict[str, Callable[[], object]] = {"cached": on_cached}
    works |= {feed: (lambda feed=feed: on_feed(feed)) for feed in feeds}  # type: ignore[misc]
    timings = time_in_turn(works, rounds=scale.training_rounds[name])
    for stream in streams.values():
        stream.close()  # type: ignore[attr-defined]
    rows = {feed: _cost(timings, feed, waited[feed][1:]) for feed in feeds}
    step_s = timings["cached"].median_s / steps
    return {"model": name, "batch": scale.batch, "augmented": augment is not None, "cached_step_s": step_s} | rows


def endless(feed: Feed, batch: int, augment: Augmentation | None = None) -> Iterator[Batch]:
    """Give one epoch after the other, all as one plan: a feed starts once."""
    plan = (share for epoch in range(64) for share in shares(1, epoch, 0, 1, windows=len(feed), batch_size=batch))
    return feed.batches(plan, augment=augment)


def _cost(timings: dict[str, Timing], feed: str, waited: list[float]) -> dict[str, Any]:
    """Relate the time of a step to that on a cached batch, round by round and of the fastest; the share of waiting."""
    over = ratios(timings, feed)["cached"]
    share = statistics.median(w / s for w, s in zip(waited, timings[feed].seconds, strict=True))
    return {
        "step_over_cached": over["median"],
        "lowest_highest": [over["low"], over["high"]],
        "fastest_over_fastest": min(timings[feed].seconds) / min(timings["cached"].seconds),
        "waiting_share": share,
    }


def run(*, tiny: bool) -> dict[str, Any]:
    """Measure on torch's current GPU, or a little on the CPU, if tiny: a stage of `make gpu-check`."""
    return measure(replace(QUICK, windows=64, read=64, batch=1), "cpu") if tiny else measure(GPU, "cuda")


def measure(scale: Scale, device: str = "cpu") -> dict[str, Any]:
    """Measure reading, then training, on every feed."""
    backend: Literal["numba", "cuda"] = "cuda" if device == "cuda" else "numba"
    result: dict[str, Any] = {"threads": torch.get_num_threads(), "numba_threads": numba.get_num_threads()}
    for name, cases in (("reference1", (None,)), ("reference2", (None, AUGMENT))):
        settings = reference_settings(name)  # type: ignore[arg-type]
        source = make_source(scale.windows, height=settings.height, width=settings.width, backend=backend)
        with tempfile.TemporaryDirectory() as folder:
            place = store(Path(folder) / "maps.zarr", source) if device == "cpu" else None
            feeds = make_feeds(source, place, device)
            if name == "reference1":
                result |= {"map": list(source.rasterizer.shape), "windows": scale.windows, "batch_read": READ_BATCH}
                result["largest_difference_augmented"] = require_same(feeds, scale.windows)
                result["reading"] = reading(feeds, scale)
                if place is not None:
                    result["stored_bytes"] = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
            rows = [training(name, feeds, scale, augment) for augment in cases]  # type: ignore[arg-type]
            result["training"] = [*result.get("training", []), *rows]
    return result


def show(result: dict[str, Any]) -> None:
    """Print what was read, then what a training step costs."""
    print(f"{result['windows']} maps of {result['map']}, {result['threads']} threads; all feeds gave the same batches")
    print(f"{'feed':<10}{'read':<26}{'samples/s':>11}   [lowest, highest]")
    for row in result["reading"]:
        low, high = row["lowest_highest"]
        print(f"{row['feed']:<10}{row['how']:<26}{row['samples_per_s']:>11,.0f}   [{low:,.0f}, {high:,.0f}]")
    print(f"\n{'model':<24}{'feed':<10}{'step':>10}{'over cached':>13}{'[lowest, highest]':>20}", end="")
    print(f"{'fastest':>9}{'waiting':>9}")
    for row in result["training"]:
        what = f"{row['model']}{', augmented' if row['augmented'] else ''}"
        for feed in FEEDS:
            if feed not in row:
                continue
            cost = row[feed]
            low, high = cost["lowest_highest"]
            step_ms = 1e3 * row["cached_step_s"] * cost["step_over_cached"]
            numbers = f"{step_ms:>7,.0f} ms{cost['step_over_cached']:>13.3f}{f'[{low:.3f}, {high:.3f}]':>20}"
            tail = f"{cost['fastest_over_fastest']:>9.3f}{cost['waiting_share']:>9.2%}"
            print(f"{what:<24}{feed:<10}{numbers}{tail}")


def main() -> None:
    """Run, print, and save a dated file unless it was a quick run."""
    flags = parse_flags(__doc__ or "", devices=("cpu", "cuda"))
    full = FULL if flags.device == "cpu" else GPU
    result = measure(QUICK if flags.quick else full, flags.device)
    finish("feed" if flags.device == "cpu" else "feed-cuda", result, flags, show)


if __name__ == "__main__":
    main()
