"""Every option of drawing gives the same bits in every engine, alone and with every other."""

import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from hews_gpu.raster.places import Places
from tests.inputs.random_city import CATEGORIES
from tests.raster.options import EVENTS, OPTIONS, drawing, drawn, marked, pairwise, rasterizer_of

SCRIPT = Path(__file__).with_name("simulate_options.py")


def test_any_two_choices_meet_in_some_drawing():
    drawings = pairwise()
    for one, other in combinations(OPTIONS, 2):
        assert {(d[one], d[other]) for d in drawings} == set(product(OPTIONS[one], OPTIONS[other]))


@pytest.mark.parametrize("style", range(6))
def test_the_compiled_kernels_agree_with_numpy_on_every_combination(style):
    """Marks alternate within all combinations of the rest."""
    for k, (dtype, values, size, offset) in enumerate(product(range(4), range(4), range(2), range(2))):
        chosen = drawing(style, dtype, values, k, size, offset)
        slow, quick = (drawn(chosen, rasterizer_of(chosen, backend), 5) for backend in ("numpy", "numba"))
        assert np.array_equal(slow, quick), chosen


def simulate(*arguments):
    """What one run of the simulator prints of each name."""
    pytest.importorskip("numba.cuda", reason="the simulator comes with numba's CUDA support")
    command = [sys.executable, "-W", "error", "-W", "default::DeprecationWarning", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.nightly
def test_the_cuda_kernels_agree_with_numpy_in_the_simulator():
    """Half a minute; tests/kernels/test_raster_cuda.py draws each kind of map in the simulator daily."""
    found = simulate("drawings")
    assert len(found) == len(pairwise()) >= 16
    assert set(found.values()) == {"0"}, found


@pytest.fixture(scope="module")
def simulated():
    return simulate()


def test_a_batch_on_the_host_is_drawn_on_the_device_and_copied(simulated):
    assert [simulated[f"staged {dtype}"] for dtype in range(3)] == ["0"] * 3


@pytest.mark.parametrize("style", [0, 3, 5])
def test_pairs_on_the_device_that_reach_outside_are_drawn_empty_and_raise_once(simulated, style):
    others = ("negative", "both_negative", "backwards", "beyond_32_bits")
    for name in ("last_far", *(others if style == 3 else ())):
        words = simulated[f"{name}, {style}"]
        assert words.startswith("1 True pairs: window 1 of an earlier batch"), (name, words)
        assert words.endswith("0 <= first <= last <= 400")
    assert simulated[f"nothing, {style}"].split() == ["0", "True"]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("style", range(6))
@pytest.mark.parametrize("without", [("targets",), ("twins",), ("targets", "twins", "duplicates")])
def test_what_is_marked_is_drawn_as_if_it_had_never_been_in_the_table(backend, style, without):
    """A table without those rows gives the same maps; the simulator draws marks among the combinations above."""
    events, chosen = marked(), {**drawing(style, 0, 0, 0, 0, 0), "without": without}
    marks = {"targets": events.is_target, "twins": events.is_twin, "duplicates": events.is_duplicate}
    kept = ~np.any([marks[mark] for mark in without], axis=0)
    columns = {name: getattr(events, name)[kept] for name in ("longitude", "latitude", "category", "neighborhood")}
    fewer = rasterizer_of(chosen, backend, Places(**columns, categories=CATEGORIES))
    masked, whole = rasterizer_of(chosen, backend), rasterizer_of({**chosen, "without": ()}, backend)
    before = np.concatenate([[0], np.cumsum(kept)])
    pairs = np.array([[0, EVENTS], [5, 60], [77, 77], [200, 290]])
    if masked.steps:
        pairs = np.stack([pairs] * masked.steps, axis=1)
    assert np.array_equal(masked.maps(pairs), fewer.maps(before[pairs]))
    assert not np.array_equal(masked.maps(pairs), whole.maps(pairs))
    assert 0 < kept.sum() < EVENTS
