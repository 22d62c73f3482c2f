"""What stays the same from one issue time to the next: thresholds and references of a run, kept between processes.

They follow from the run, the policy and the code alone. `RUN/state/` keeps them only to save time: without it, or with
a file in it that is damaged or of another run, policy or code, they are made anew, to the same bits.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hews_gpu.alerts.decide import Thresholds
from hews_gpu.alerts.policy import Policy
from hews_gpu.alerts.thresholds import calibration_times, thresholds_of
from hews_gpu.errors import UserError
from hews_gpu.files import write_json
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Forecaster, Setting
from hews_gpu.forecasters.city import whole_city
from hews_gpu.forecasters.registry import REFERENCES
from hews_gpu.own_files import read_json
from hews_gpu.progress import log
from hews_gpu.runs.folder import load_fitted, save_forecaster
from hews_gpu.runs.run import Run, given
from hews_gpu.work_folder import code_digest

__all__ = ["STATE", "Standing", "standing_of"]

STATE = "state"
THRESHOLDS = "thresholds.json"
NAMES = ("city_watch", "city_warning", "neighborhoods_watch", "neighborhoods_warning")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a run's warnings are decided by and held against."""

    thresholds: Thresholds
    references: dict[str, Forecaster]
    """Climatology and level, by name, fitted on what the run was."""


def standing_of(run: Run, policy: Policy, model: str, first_issue_s: int) -> Standing:
    """Return thresholds and references of a run, from its state where they are kept.

    Args:
        run: opened.
        policy: of the run.
        model: the run's `model_fingerprint`.
        first_issue_s: the first time at which a warning may be given.

    Raises:
        UserError: the calibration block reaches past the first issue time, or beyond the table of the training.
    """
    city = whole_city(run.prepared)
    issue_s = calibration_times(policy, run.prepared.city, first_issue_s, (city.begin_s, city.end_s))
    key = hashlib.sha256("\n".join([code_digest(), model, policy.fingerprint]).encode()).hexdigest()
    folder = run.folder / STATE / key[:16]
    setting = Setting(city=city)
    references = {name: REFERENCES[name].make(setting) for name in (CLIMATOLOGY, LEVEL)}
    with suppress(UserError):
        for name, one in references.items():
            load_fitted(folder / f"{name}.safetensors", one, remedy="")
        kept = read_json(folder / THRESHOLDS, dict.fromkeys((f"{name}?" for name in NAMES), float))
        values = {name: np.inf if kept.get(name) is None else kept[name] for name in NAMES}
        return Standing(thresholds=Thresholds(run=model[:8], **values), references=references)
    log("setting thresholds on the calibration block; later calls find them in the run's state")
    for one in references.values():
        one.fit(*given(run.experiment))
    experiment = run.experiment
    seen, task = experiment.catalog, experiment.plan.task
    thresholds = thresholds_of(policy, run.forecaster, seen, task, issue_s, model[:8])
    made = Standing(thresholds=thresholds, references=references)
    try:
        _keep(folder, made)
    except (OSError, UserError) as error:
        log(f"warning: the state of {run.folder} cannot be kept ({error}); each call sets the thresholds anew")
    return made


def _keep(folder: Path, made: Standing) -> None:
    """Write the state of one run, policy and code, and remove that of others."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in made.references.items():
        save_forecaster(folder / f"{name}.safetensors", name, one)
    write_json(folder / THRESHOLDS, made.thresholds.as_dict())
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
