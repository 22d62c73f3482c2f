"""What would run here: for each stage its engines, the one that would be used, and what the others lack.

The table `ENGINES` says what each engine needs and whether this version has it. An engine that is still to come is
probed all the same, so that a machine can be got ready for it, but is never the one that would run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypedDict

from hews_gpu.device import Finding, probe

__all__ = ["Diagnosis", "as_table", "diagnose"]

NOT_YET = "not in this version"
DRIVER = "an NVIDIA GPU with its driver"
TOOLKIT = "pip install numba-cuda 'cuda-toolkit[nvrtc,nvvm]==13.0.*' 'cuda-bindings==13.*'"
RAPIDS = f"{DRIVER}, and pip install cudf-cu13 dask-cudf-cu13"


@dataclass(frozen=True)
class Engine:
    """One way to do a stage's work; a stage lists its engines in the order of preference."""

    stage: str
    name: str
    probes: tuple[str, ...]
    """All must work."""
    install: str
    """What to install or find where a probe fails."""
    in_version: bool = True


class Diagnosis(TypedDict):
    """One engine of one stage on this machine, as ``hews doctor --json`` prints it."""

    stage: str
    engine: str
    status: Literal["would run", "works", "missing"]
    """`would run` is the stage's choice here; `works` is ready but not chosen; `missing` lacks something."""
    in_version: bool
    """Whether this version of the project has the engine at all."""
    why: str
    """What was found, or what is missing."""
    install: str
    """What to do about it; empty where nothing is missing."""


REINSTALL = "pip install --force-reinstall the named package"
ENGINES = (
    Engine("hardware", "NVIDIA driver", ("driver",), DRIVER),
    Engine("hardware", "NVIDIA GPU", ("gpu",), DRIVER),
    Engine("hardware", "CUDA libraries", ("cuda_libraries",), TOOLKIT),
    Engine("prepare: tables", "Dask cuDF", ("gpu", "dask_cudf"), RAPIDS, in_version=False),
    Engine("prepare: tables", "Dask pandas", ("dask_pandas",), REINSTALL),
    Engine("prepare: point in polygon", "numba CUDA", ("gpu", "numba_cuda"), TOOLKIT, in_version=False),
    Engine(
        "prepare: point in polygon",
        "cuSpatial",
        ("gpu", "cuspatial"),
        f"{DRIVER}, and RAPIDS 25.04 from conda, the last release with cuSpatial",
        in_version=False,
    ),
    Engine("prepare: point in polygon", "shapely", ("shapely",), REINSTALL),
    Engine("rasterize", "numba CUDA", ("gpu", "numba_cuda"), TOOLKIT, in_version=False),
    Engine("rasterize", "numba CPU", ("numba_cpu",), REINSTALL),
    Engine("feed", "DALI", ("gpu", "dali"), f"{DRIVER}, and pip install nvidia-dali-cuda130", in_version=False),
    Engine("feed", "direct", ("torch_cpu",), REINSTALL),
    Engine("train", "torch CUDA", ("gpu", "torch_cuda"), f"{DRIVER}, and a CUDA build of torch"),
    Engine("train", "torch CPU", ("torch_cpu",), REINSTALL),
    Engine("cluster", "Dask-CUDA", ("gpu", "dask_cuda"), f"{DRIVER}, and pip install dask-cuda", in_version=False),
    Engine("cluster", "Dask local", ("dask_local",), REINSTALL),
    Engine("batch", "SLURM", ("slurm",), "a machine of a SLURM cluster, with its client programs", in_version=False),
    Engine("batch", "none: commands run here", (), ""),
)


def diagnose() -> list[Diagnosis]:
    """Probe every engine of every stage, several at a time; never raises for what a library does."""
    names = sorted({name for engine in ENGINES for name in engine.probes})
    with ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 2))) as pool:
        found = dict(zip(names, pool.map(probe, names), strict=True))
    chosen: dict[str, Engine] = {}
    for engine in ENGINES:
        if engine.in_version and engine.stage != "hardware" and _verdict(engine, found).works:
            chosen.setdefault(engine.stage, engine)
    return [_diagnosis(engine, _verdict(engine, found), engine in chosen.values()) for engine in ENGINES]


def _verdict(engine: Engine, found: dict[str, Finding]) -> Finding:
    """All of an engine's probes as one finding; every reason is told once."""
    findings = [found[name] for name in engine.probes]
    failed = [finding for finding in findings if not finding.works]
    reasons = dict.fromkeys(finding.why for finding in (failed or findings[-1:]))
    return Finding(not failed, "; ".join(reasons))


def _diagnosis(engine: Engine, verdict: Finding, is_chosen: bool) -> Diagnosis:
    return Diagnosis(
        stage=engine.stage,
        engine=engine.name,
        status="would run" if is_chosen else "works" if verdict.works else "missing",
        in_version=engine.in_version,
        why=verdict.why,
        install="" if verdict.works else engine.install,
    )


def as_table(rows: Sequence[Diagnosis]) -> list[list[str]]:
    """The rows as text for a table, the heading first; a stage's name stands once."""
    table = [["stage", "engine", "here", "found, or missing", "to get it"]]
    stage = ""
    for row in rows:
        status = row["status"] if row["in_version"] else f"{row['status']}; {NOT_YET}"
        first = row["stage"] if row["stage"] != stage else ""
        table.append([first, row["engine"], status, row["why"], row["install"]])
        stage = row["stage"]
    return table
