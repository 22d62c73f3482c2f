"""What would run here: for each stage its engines, the one that would be used, and what the others lack.

The table `ENGINES` says what each engine needs, in the order of preference: the first that works would run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypedDict

from hews_gpu.environment.device import ProbeResult, probe

__all__ = ["TO_GET", "Diagnosis", "as_steps", "as_table", "diagnose"]

GPU_STACK = "make install STACK=gpu-cu13 PYTHON=python3.12, or pip install '.[gpu]'   (in a clone; never run on a GPU)"
TO_GET = {
    "driver": (
        "sudo ubuntu-drivers install   (on Ubuntu; on Debian: sudo apt-get install nvidia-driver), "
        "which must be 580 or later for CUDA 13, 525 or later for CUDA 12"
    ),
    "gpu": "an NVIDIA GPU   (nvidia-smi lists those that the driver sees)",
    "cuda_libraries": GPU_STACK,
    "cuda_compiler": "pip install '.[ptx]'   (in a clone; HEWS_CUDA_COMPILER names numba-cuda or numba-cuda-mlir)",
    "cudf": GPU_STACK,
    "numba_cuda": GPU_STACK,
    "dask_cuda": GPU_STACK,
    "dali": "pip install '.[dali]'   (in a clone; part of '.[gpu]')",
    "torch_cuda": f"pip uninstall --yes torch; {GPU_STACK} for a CUDA build of torch",
    "cuspatial": (
        "conda env create -f conda-env.yml; conda activate hews-gpu; pip install --no-deps --editable .   (in a clone: "
        "RAPIDS 25.04, the last with cuSpatial; we never ran it, nor could we solve the file)"
    ),
    "cuml": "pip install cuml-cu13==26.10.*   (beside '.[gpu]'; never run on a GPU)",
    "umap": "pip install '.[umap]'   (in a clone)",
    "slurm": "a machine of a SLURM cluster, with its client programs",
}
"""What to type or get where a probe fails, by the probe's name."""
ANEW = "rm -r .venv; make install   (in a clone: every environment has this, and here it is broken)"


@dataclass(frozen=True)
class Engine:
    """One way to do a stage's work."""

    stage: str
    name: str
    probes: tuple[str, ...]
    """All must work."""


class Diagnosis(TypedDict):
    """One engine of one stage on this machine, as ``hews doctor --json`` prints it."""

    stage: str
    engine: str
    status: Literal["would run", "works", "missing"]
    """`would run` is the stage's choice here; `works` is ready but not chosen; `missing` lacks something."""
    why: str
    """What there is, or what is missing."""
    install: list[str]
    """What to do about it, step by step; empty where nothing is missing."""


ENGINES = (
    Engine("hardware", "NVIDIA driver", ("driver",)),
    Engine("hardware", "NVIDIA GPU", ("gpu",)),
    Engine("hardware", "CUDA libraries", ("cuda_libraries",)),
    Engine("hardware", "CUDA compiler (HEWS_CUDA_COMPILER)", ("cuda_compiler",)),
    Engine("prepare: tables", "pandas", ("pandas",)),
    Engine("prepare: tables", "cuDF (--cluster cuda; never run by us)", ("gpu", "cudf")),
    Engine("prepare: point in polygon", "numba CPU", ("numba_cpu", "shapely")),
    Engine("prepare: point in polygon", "numba CUDA (with cuDF)", ("gpu", "numba_cuda")),
    Engine("prepare: point in polygon", "cuSpatial (not run in our tests)", ("gpu", "cuspatial")),
    Engine("rasterize", "numba CUDA", ("gpu", "numba_cuda")),
    Engine("rasterize", "numba CPU", ("numba_cpu",)),
    Engine("feed", "direct", ("torch_cpu",)),
    Engine("feed", "DALI (--feed dali)", ("dali",)),
    Engine("train", "torch CUDA", ("gpu", "torch_cuda")),
    Engine("train", "torch CPU", ("torch_cpu",)),
    Engine("CNN on maps", "every cell, torch CUDA", ("gpu", "torch_cuda")),
    Engine("CNN on maps", "occupied cells, numba CPU", ("torch_cpu", "numba_cpu")),
    Engine("groups", "cuML (never run by us)", ("gpu", "cuml")),
    Engine("groups", "scikit-learn", ("sklearn",)),
    Engine("groups", "UMAP (--embedding umap, for the picture)", ("umap",)),
    Engine("cluster", "Dask local", ("dask_local",)),
    Engine("cluster", "Dask-CUDA (never run by us)", ("gpu", "dask_cuda")),
    Engine("batch", "SLURM (hews submit)", ("slurm",)),
    Engine("batch", "none: commands run here", ()),
)


def diagnose() -> list[Diagnosis]:
    """Probe every engine of every stage, several at a time; never raises for what a library does."""
    names = sorted({name for engine in ENGINES for name in engine.probes})
    with ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 2))) as pool:
        results = dict(zip(names, pool.map(probe, names), strict=True))
    chosen: dict[str, Engine] = {}
    for engine in ENGINES:
        if engine.stage != "hardware" and _verdict(engine, results).works:
            chosen.setdefault(engine.stage, engine)
    return [_diagnosis(engine, results, engine in chosen.values()) for engine in ENGINES]


def _verdict(engine: Engine, results: dict[str, ProbeResult]) -> ProbeResult:
    """Join the results of all of an engine's probes; every reason stands once."""
    needed = [results[name] for name in engine.probes]
    failed = [result for result in needed if not result.works]
    reasons = dict.fromkeys(result.why for result in (failed or needed[-1:]))
    return ProbeResult(not failed, "; ".join(reasons))


def _diagnosis(engine: Engine, results: dict[str, ProbeResult], is_chosen: bool) -> Diagnosis:
    verdict = _verdict(engine, results)
    missing = [name for name in engine.probes if not results[name].works]
    return Diagnosis(
        stage=engine.stage,
        engine=engine.name,
        status="would run" if is_chosen else "works" if verdict.works else "missing",
        why=verdict.why,
        install=list(dict.fromkeys(TO_GET.get(name, ANEW) for name in missing)),
    )


def as_table(rows: Sequence[Diagnosis]) -> list[list[str]]:
    """Return the rows as text for a table, the heading first; a stage's name stands once."""
    table = [["stage", "engine", "here", "what there is, or what is missing"]]
    stage = ""
    for row in rows:
        table.append([row["stage"] if row["stage"] != stage else "", row["engine"], row["status"], row["why"]])
        stage = row["stage"]
    return table


def as_steps(rows: Sequence[Diagnosis]) -> list[str]:
    """List what to type for what is missing, each step once, after the names of the engines that need it.

    A missing GPU is told for the hardware and not again for each engine, unless it is all that the engine lacks.
    """
    wanted: dict[str, list[str]] = {}
    for row in rows:
        for step in row["install"]:
            if step != TO_GET["gpu"] or len(row["install"]) == 1:
                wanted.setdefault(step, []).append(row["engine"])
    return [
        line for step, engines in wanted.items() for line in (f"{', '.join(dict.fromkeys(engines))}:", f"    {step}")
    ]
