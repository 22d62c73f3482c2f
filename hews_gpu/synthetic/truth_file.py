"""The file that keeps a generated city's truth, whatever its family.

A home law's numbers are all in the file. Of a foreign law it holds what the city was drawn with and the rows that the
truth depends on; the law itself is looked up by its name, and a file of another law of that name is refused.

Shapes: E rows, C categories.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu.errors import UserError
from hews_gpu.synthetic.foreign_law import ForeignLaw, Past, Rows
from hews_gpu.synthetic.foreign_presets import FOREIGN
from hews_gpu.synthetic.foreign_truth import ForeignTruth
from hews_gpu.synthetic.geography import to_degrees
from hews_gpu.synthetic.law import Kernel
from hews_gpu.synthetic.pairs import Incidents, PairCategory, PairLaw
from hews_gpu.synthetic.places import PER_DEGREE, meters
from hews_gpu.synthetic.truth import Truth

__all__ = ["CityTruth", "load_truth", "save_truth"]

CityTruth = Truth | ForeignTruth
REMEDY = "Generate the city again"

FORMAT = 2
PLAIN = (
    *("base_per_h", "area_share", "gain", "trigger_per_h", "trigger_share"),
    *("target_s", "target_area", "incident_s", "incident_area"),
)
KERNELS = ("excited_by_targets", "excited_by_triggers")
KEYS = {"format", "preset", "begin_s", "in_city", *KERNELS, *PLAIN}
FOREIGN_PLAIN = ("base", "area_share", "category_means", "category_shares", "target_s", "target_area")
FOREIGN_KEYS = {"format", "preset", "law", "begin_s", "neighbors", "origin", "names", "name", "minute", "area"}
OF_CATEGORY = ("rate_per_h", "weights", "minute", "point", "area")  # of one side of the pairs


def save_truth(truth: CityTruth, path: Path) -> None:
    """Write a truth as one .npz file; the same truth gives the same bytes."""
    arrays = _foreign_arrays(truth) if isinstance(truth, ForeignTruth) else _arrays(truth)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _arrays(truth: Truth) -> dict[str, Any]:
    arrays: dict[str, Any] = {"format": FORMAT, "preset": truth.preset, "begin_s": truth.begin_s}
    arrays["in_city"] = truth.in_city
    for name in KERNELS:
        kernel: Kernel = getattr(truth, name)
        arrays[name] = [kernel.branching, kernel.decay_s]
    arrays |= {name: getattr(truth, name) for name in PLAIN}
    if truth.pairs is not None:
        arrays |= _pair_arrays(truth.pairs)
    return arrays


def _pair_arrays(pairs: PairLaw) -> dict[str, Any]:
    """Return the law of pairs as arrays; places as the whole numbers that they were made from."""
    arrays: dict[str, Any] = {"within_m": pairs.within_m, "address_point": pairs.point, "address_area": pairs.area}
    for side, category in (("first", pairs.first), ("second", pairs.second)):
        past = category.past
        point = np.rint(to_degrees(past.xy_m) * PER_DEGREE).astype(np.int64)
        values = (category.rate_per_h, category.weights, past.minute, point, past.area)
        arrays |= {f"{side}_{name}": value for name, value in zip(OF_CATEGORY, values, strict=True)}
    return arrays


def load_truth(path: Path) -> CityTruth:
    """Read a truth that `save_truth` wrote.

    Raises:
        UserError: the file is missing, damaged, or not a truth of this format.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {}
    except FileNotFoundError:
        raise UserError("[synthetic] truth", path, allowed="does not exist", remedy=REMEDY) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError("[synthetic] truth", path, allowed=f"cannot be read ({error})", remedy=REMEDY) from None
    if arrays.keys() >= FOREIGN_KEYS.union(FOREIGN_PLAIN) and int(arrays["format"]) == FORMAT:
        return _foreign(arrays, path)
    if not arrays.keys() >= KEYS or int(arrays["format"]) != FORMAT:
        raise UserError("[synthetic] truth", path, allowed=f"is not a truth of format {FORMAT}", remedy=REMEDY)
    parts: dict[str, Any] = {name: arrays[name] for name in PLAIN}
    for name in KERNELS:
        branching, decay_s = arrays[name].tolist()
        parts[name] = Kernel(branching=branching, decay_s=decay_s)
    return Truth(
        preset=str(arrays["preset"]),
        begin_s=int(arrays["begin_s"]),
        in_city=bool(arrays["in_city"]),
        pairs=_pairs(arrays) if "within_m" in arrays else None,
        **parts,
    )


def _pairs(arrays: Mapping[str, Any]) -> PairLaw:
    """Return what `_pair_arrays` was made from."""

    def category(side: str) -> PairCategory:
        rate_per_h, weights, minute, point, area = (arrays[f"{side}_{name}"] for name in OF_CATEGORY)
        past = Incidents(minute=minute, xy_m=meters(point), area=area)
        return PairCategory(rate_per_h=rate_per_h, weights=weights, past=past)

    return PairLaw(
        within_m=float(arrays["within_m"]),
        point=arrays["address_point"],
        area=arrays["address_area"],
        first=category("first"),
        second=category("second"),
    )


def _foreign_arrays(truth: ForeignTruth) -> dict[str, Any]:
    rows = truth.past.rows
    return {
        **{"format": FORMAT, "preset": truth.preset, "law": _acts(truth.law), "begin_s": truth.begin_s},
        **{"neighbors": truth.past.neighbors, "origin": truth.past.origin, "names": np.array(list(rows), dtype=str)},
        "name": np.repeat(np.arange(len(rows)), [len(one.minute) for one in rows.values()]),
        "minute": np.concatenate([np.empty(0, np.int64), *(one.minute for one in rows.values())]),
        "area": np.concatenate([np.empty(0, np.int64), *(one.area for one in rows.values())]),
        **{name: getattr(truth, name) for name in FOREIGN_PLAIN},
    }


def _acts(law: ForeignLaw) -> str:
    """Return all of a law that the truth looks up by its name."""
    return repr((law.effects, law.on_odds, law.hidden, law.renewal))


def _foreign(arrays: Mapping[str, Any], path: Path) -> ForeignTruth:
    """Return what `_foreign_arrays` was made from."""
    law = FOREIGN.get(str(arrays["preset"]))
    if law is None or _acts(law) != str(arrays["law"]):
        allowed = f"is of another law '{arrays['preset']}' than this version's"
        raise UserError("[synthetic] truth", path, allowed=allowed, remedy=REMEDY)
    rows = {
        name: Rows(*(arrays[column][arrays["name"] == number] for column in ("minute", "area")))
        for number, name in enumerate(arrays["names"].tolist())
    }
    past = Past(windows=len(arrays["base"]), neighbors=arrays["neighbors"], origin=int(arrays["origin"]), rows=rows)
    plain = {name: arrays[name] for name in FOREIGN_PLAIN}
    return ForeignTruth(law=law, begin_s=int(arrays["begin_s"]), past=past, **plain)
