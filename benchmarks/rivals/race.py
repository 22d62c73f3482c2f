"""Our maps against every other library's, on the same windows, in turn, with one thread and with two.

A library of Python draws on one thread; given two, it is two processes that draw every other window each, into memory
of their own, after both have said that they are ready. That spares them the interpreter lock and sharing, so it is the
best that they could do. A slower way draws fewer windows per round; what is compared is seconds per map.

All others draw into a batch of 256 maps again and again, which stays in a large cache. Ours is raced twice: into such a
batch, too, and into memory for all windows, which no cache holds and which is the harder race for us.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import time_in_turn
from benchmarks.rivals.scene import Draw, Scene, rivals
from hews_gpu.raster.rasterizer import Rasterizer

__all__ = ["OURS", "REUSED", "REUSING", "Team", "race", "windows_for"]

OURS, REUSING = "hews", "hews, reused batch"
REUSED = 256
"""Windows of a batch that training draws into again and again."""
Pairs = NDArray[np.int64]


def draw_all(draw: Draw, pairs: Pairs, out: NDArray[np.uint8]) -> None:
    """Window b of `pairs` [B, 2] into map b of `out`, going round."""
    for b, (first, last) in enumerate(pairs.tolist()):
        draw(first, last, out[b % len(out)])


def fill_all(rasterizer: Rasterizer, pairs: Pairs, out: NDArray[np.uint8]) -> None:
    """The same with ours, batch by batch."""
    for begin in range(0, len(pairs), len(out)):
        part = pairs[begin : begin + len(out)]
        rasterizer.fill(part, out[: len(part)])


def windows_for(draw: Draw, pairs: Pairs, out: NDArray[np.uint8], seconds: float) -> int:
    """How many of the windows a way draws in about so many seconds; at least two."""
    done, begin = 0, time.perf_counter()
    while done < len(pairs) - 1 and time.perf_counter() - begin < seconds:
        draw_all(draw, pairs[done : done + 2], out)
        done += 2
    return done


class Team:
    """Processes that draw together; close it in the end."""

    def __init__(self, scene: Scene, pairs: Pairs, members: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit numba's threads without their threads
        self.ends: list[Connection] = []
        self.members = []
        for k in range(members):
            mine, theirs = context.Pipe()
            member = context.Process(target=_serve, args=(theirs, scene, pairs[k::members]), daemon=True)
            member.start()
            theirs.close()
            self.ends.append(mine)
            self.members.append(member)
        self._wait()

    def draw(self, way: str, windows: int) -> None:
        """Draw so many windows in all, and wait for the last one."""
        for end in self.ends:
            end.send((way, windows // len(self.ends)))
        self._wait()

    def _wait(self) -> None:
        for end in self.ends:
            end.recv()

    def close(self) -> None:
        """Send all home."""
        for end, member in zip(self.ends, self.members, strict=True):
            end.send(None)
            member.join()


def _serve(end: Connection, scene: Scene, pairs: Pairs) -> None:
    """A member: draws what it is told to until it is told nothing."""
    ways = rivals(scene, is_silent=True)
    out = np.ones((min(len(pairs), REUSED), scene.height, scene.width, 3), np.uint8)
    for draw in ways.values():
        draw_all(draw, pairs[:1], out)
    end.send("ready")
    while task := end.recv():
        way, windows = task
        draw_all(ways[way], pairs[:windows], out)
        end.send("done")


def race(
    rasterizer: Rasterizer,
    scene: Scene,
    ways: Mapping[str, Draw],
    alone: Mapping[str, Draw],
    pairs: Pairs,
    *,
    threads: int,
    rounds: int,
    seconds: float,
) -> dict[str, dict[str, Any]]:
    """Maps per second of each way, and how many times faster ours are: median ratio of a round, lowest, highest.

    Args:
        rasterizer: ours.
        scene: what the others draw.
        ways: those of `rivals(scene)`, which are given as many threads as ours.
        alone: what has one thread in any case.
        pairs: [B, 2] the windows.
        threads: of each side.
        rounds: how many turns each gets.
        seconds: how long a turn of the others takes, about.
    """
    out = np.ones((len(pairs), *rasterizer.shape), np.uint8)
    batch = out[:REUSED]
    drawn = {OURS: len(pairs), REUSING: len(pairs)}
    runs: dict[str, Callable[[], object]] = {
        OURS: partial(rasterizer.fill, pairs, out),
        REUSING: partial(fill_all, rasterizer, pairs, batch),
    }
    with ExitStack() as stack:
        stack.callback(numba.set_num_threads, numba.get_num_threads())
        numba.set_num_threads(threads)
        team = stack.enter_context(closing(Team(scene, pairs, threads))) if threads > 1 else None
        for name, draw in {**ways, **alone}.items():
            drawn[name] = windows_for(draw, pairs, batch, seconds)
            if team and name in ways:
                drawn[name] = min(drawn[name] * threads, len(pairs)) // threads * threads
                runs[name] = partial(team.draw, name, drawn[name])
            else:
                runs[name] = partial(draw_all, draw, pairs[: drawn[name]], batch)
        timings = time_in_turn(runs, rounds=rounds)
    per_map = {name: [s / drawn[name] for s in timing.seconds] for name, timing in timings.items()}
    return {name: _row(per_map[name], per_map, drawn[name]) for name in per_map}


def _row(seconds: list[float], all_seconds: Mapping[str, list[float]], windows: int) -> dict[str, Any]:
    ratios = {}
    for ours in (OURS, REUSING):
        by_round = [a / b for a, b in zip(seconds, all_seconds[ours], strict=True)]
        ratios[ours] = {"median": statistics.median(by_round), "low": min(by_round), "high": max(by_round)}
    return {"maps_per_s": 1 / statistics.median(seconds), "windows": windows, "ratios": ratios}
