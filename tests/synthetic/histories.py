"""Histories of preset cities for the tests, without the categories that matter to none of their target events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hews_gpu.synthetic.foreign_presets import FOREIGN
from hews_gpu.synthetic.foreign_simulate import simulate_foreign
from hews_gpu.synthetic.simulate import Seeds, simulate
from hews_gpu.synthetic.truth import Truth

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))
DAYS = 3652


def history(law, seed=1, days=DAYS):
    causes = law.trigger.sources if law.trigger is not None else ()
    law = replace(law, categories=tuple(c for c in law.categories if c.name in causes))
    return simulate(law, Seeds.of(law, seed), begin_s=BEGIN_S, hours=24 * days)


def happened(truth, begin_s, end_s):
    """[S] whether a target event falls in [begin, end)."""
    return np.searchsorted(truth.target_s, end_s) > np.searchsorted(truth.target_s, begin_s)


def happened_by_area(truth, begin_s, end_s):
    """[S, N] the same for each neighborhood."""
    by_area = [truth.target_s[truth.target_area == area] for area in range(truth.areas)]
    return np.stack([np.searchsorted(t, end_s) > np.searchsorted(t, begin_s) for t in by_area], axis=1)


def one_area(**parts):
    """The truth of a city without addresses, from what does not depend on the area."""
    parts |= {f"{kind}_area": np.zeros(len(parts[f"{kind}_s"]), dtype=np.int64) for kind in ("target", "incident")}
    return Truth(area_share=np.ones(1), gain=np.ones(1), trigger_share=np.ones(1), in_city=False, **parts)


def foreign_history(name, seed=1, days=DAYS, **changed):
    """A history of a foreign preset with the categories that its truth depends on alone."""
    law = replace(FOREIGN[name], **changed)
    law = replace(law, categories=tuple(c for c in law.categories if c.name in law.sources))
    return simulate_foreign(law, Seeds.of(law, seed), begin_s=BEGIN_S, hours=24 * days)
