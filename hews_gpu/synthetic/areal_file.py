"""The truth of a city with neighborhoods as arrays of a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hews_gpu.synthetic.addresses import PER_DEGREE, meters
from hews_gpu.synthetic.areal import AreaTruth
from hews_gpu.synthetic.geography import to_degrees
from hews_gpu.synthetic.pairs import Incidents, PairLaw, Source
from hews_gpu.synthetic.process import Float64, Int64, Kernel

__all__ = ["FORMAT", "KEYS", "arrays_of", "truth_of"]

FORMAT = 2  # raised when the file's content changes its meaning; 1 is the demo's
PLAIN = (
    *("base_per_h", "area_share", "gain", "trigger_per_h", "trigger_share"),
    *("target_s", "target_area", "incident_s", "incident_area"),
)
KEYS = frozenset(("format", "preset", "begin_s", "in_city", "excited_by_targets", "excited_by_triggers", *PLAIN))
OF_SOURCE = ("rate_per_h", "weights", "minute", "point", "area")


def arrays_of(truth: AreaTruth) -> dict[str, Any]:
    """What to write."""
    arrays: dict[str, Any] = {"format": FORMAT, "preset": truth.preset, "begin_s": truth.begin_s}
    arrays["in_city"] = truth.in_city
    for name in ("excited_by_targets", "excited_by_triggers"):
        kernel: Kernel = getattr(truth, name)
        arrays[name] = [kernel.branching, kernel.decay_s]
    arrays |= {name: getattr(truth, name) for name in PLAIN}
    if truth.pairs is not None:
        pairs = truth.pairs
        arrays |= {"within_m": pairs.within_m, "address_point": pairs.point, "address_area": pairs.area}
        for side in ("first", "second"):
            source: Source = getattr(pairs, side)
            past = source.past
            values = (source.rate_per_h, source.weights, past.minute, _point(past.xy_m), past.area)
            arrays |= {f"{side}_{name}": value for name, value in zip(OF_SOURCE, values, strict=True)}
    return arrays


def truth_of(arrays: Mapping[str, Any]) -> AreaTruth:
    """What `arrays_of` wrote."""
    return AreaTruth(
        preset=str(arrays["preset"]),
        begin_s=int(arrays["begin_s"]),
        in_city=bool(arrays["in_city"]),
        pairs=_pairs(arrays) if "within_m" in arrays else None,
        excited_by_targets=_kernel(arrays["excited_by_targets"]),
        excited_by_triggers=_kernel(arrays["excited_by_triggers"]),
        **{name: arrays[name] for name in PLAIN},
    )


def _kernel(pair: Float64) -> Kernel:
    return Kernel(branching=float(pair[0]), decay_s=float(pair[1]))


def _pairs(arrays: Mapping[str, Any]) -> PairLaw:
    first, second = (_source(arrays, side) for side in ("first", "second"))
    return PairLaw(
        within_m=float(arrays["within_m"]),
        point=arrays["address_point"],
        area=arrays["address_area"],
        first=first,
        second=second,
    )


def _source(arrays: Mapping[str, Any], side: str) -> Source:
    rate_per_h, weights, minute, point, area = (arrays[f"{side}_{name}"] for name in OF_SOURCE)
    past = Incidents(minute=minute, xy_m=meters(point), area=area)
    return Source(rate_per_h=rate_per_h, weights=weights, past=past)


def _point(xy_m: Float64) -> Int64:
    """[E, 2] places as the whole numbers that they were made from."""
    return np.rint(to_degrees(xy_m) * PER_DEGREE).astype(np.int64)
