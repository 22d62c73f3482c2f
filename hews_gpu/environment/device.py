"""The one place that chooses between cpu and cuda, and that says why.

Probes (`hews_gpu.environment.probes`) find out what works, each in a child process with a time limit, once per run.
`auto` takes the GPU where it works; a device that was named and does not work is an error, never a silent fallback.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import Literal

from hews_gpu.environment import probes
from hews_gpu.errors import UserError, did_you_mean

__all__ = ["Choice", "ProbeResult", "choose_clustering", "choose_device", "choose_raster_backend", "probe"]

PROBE_TIMEOUT_S = 120.0  # a cold import of torch from a network disk takes tens of seconds
REASON_LIMIT = 120  # characters; some libraries put a page of advice into an exception


@dataclass(frozen=True)
class ProbeResult:
    """The answer of a probe."""

    works: bool
    why: str
    """A few words: what there is, or the reason why it does not work."""


@dataclass(frozen=True)
class Choice:
    """The device that torch computes on, or that maps are drawn on."""

    device: Literal["cpu", "cuda"]
    why: str

    @property
    def backend(self) -> Literal["numba", "cuda"]:
        """What draws maps there, as a Rasterizer names it."""
        return "cuda" if self.device == "cuda" else "numba"

    def __str__(self) -> str:
        return f"{self.device} ({self.why})"


def choose_device(requested: str = "auto") -> Choice:
    """Choose where torch runs.

    Args:
        requested: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: another word, or ``cuda`` where it does not work.
    """
    return _choose(requested, "torch_cuda")


def choose_raster_backend(requested: str = "auto") -> Choice:
    """Choose what draws maps: numba's CUDA kernels where they run, otherwise its CPU kernels.

    Where maps go to a model, ask for the device that the model runs on (``choose_device(..).device``): maps drawn on a
    GPU for a model on the CPU would be copied for nothing.

    Args:
        requested: ``auto``, ``cpu`` or ``cuda``, as of ``--device``.

    Raises:
        UserError: another word, or ``cuda`` where it does not work.
    """
    return _choose(requested, "numba_cuda")


def choose_clustering(requested: str = "auto") -> Choice:
    """Choose what groups rows: cuML where it works, otherwise scikit-learn on the CPU; as of ``--device``.

    Raises:
        UserError: another word, or ``cuda`` where it does not work.
    """
    return _choose(requested, "cuml")


def _choose(requested: str, library: str) -> Choice:
    """Choose a device; on a GPU `library`'s probe must work."""
    known = ("auto", "cpu", "cuda")
    if requested not in known:
        remedy = did_you_mean(requested, known)
        raise UserError("--device", requested, allowed=f"must be one of {', '.join(known)}", remedy=remedy)
    if requested == "cpu":
        return Choice("cpu", "as requested")
    result = probe("gpu")
    if result.works:
        result = probe(library)
    if result.works:
        return Choice("cuda", result.why if requested == "auto" else f"as requested; {result.why}")
    if requested == "cuda":
        remedy = "Use --device cpu, or see what is missing with 'hews doctor'"
        raise UserError("--device", requested, allowed=f"does not work here: {result.why}", remedy=remedy)
    return Choice("cpu", result.why)


@cache
def probe(name: str, timeout_s: float = PROBE_TIMEOUT_S) -> ProbeResult:
    """Run one probe in a child process; keep its answer for the rest of this run.

    Whatever the probed library does (raise, exit, crash, hang), the answer is a `ProbeResult`.
    """
    assert name in probes.PROBES, name
    # -P: neither the package's folder nor the user's working folder may shadow the library that is probed.
    command = [sys.executable, "-P", probes.__file__, name]
    # A child must not wait for input, and a crash is expected here: Python's fault handler would only add noise.
    environment = {**os.environ, "PYTHONFAULTHANDLER": ""}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return ProbeResult(False, f"no answer within {timeout_s:.0f} s")
    return _read_answer(done.stdout.decode(errors="replace")) or ProbeResult(False, _how_it_ended(done))


def _read_answer(output: str) -> ProbeResult | None:
    """Return the last line of `output` that is an answer; None if the child never came that far."""
    answers = [line for line in output.splitlines() if line.startswith(probes.ANSWER)]
    if not answers:
        return None
    works, why = json.loads(answers[-1][len(probes.ANSWER) :])
    return ProbeResult(works, _one_line(why))


def _how_it_ended(done: subprocess.CompletedProcess[bytes]) -> str:
    """Describe how a child ended that gave no answer."""
    if done.returncode < 0:
        return f"crashed with {signal.Signals(-done.returncode).name} when tried"
    return f"ended its process with exit code {done.returncode} when tried"


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= REASON_LIMIT else f"{words[: REASON_LIMIT - 3]}..."
