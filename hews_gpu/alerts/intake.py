"""What was delivered goes into the vintage stores of a run in use: one of its incidents, and one of each of its layers.

What speaks against a delivery keeps it out, and is the reason why there is no forecast. A delivery counts for the issue
time if it holds no row from then on, otherwise for those after it was read. One that tells of what is to come, and by
a column when that was known, counts for the issue time: the column keeps back what was not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.alerts.checks import DELIVERY_CHECKS, Arrival, faults
from hews_gpu.alerts.inbox import new_parcels, read_parcel
from hews_gpu.alerts.policy import InputLimits
from hews_gpu.alerts.vintages.store import VINTAGES, Change, Store, open_store
from hews_gpu.config import CityConfig, LayerConfig
from hews_gpu.data.events import LAYERS, Prepared
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.progress import log

__all__ = ["INCIDENTS", "Intake", "open_stores", "require_layers"]

INCIDENTS = ""
"""The name of the table of incidents among those of layers."""


def open_stores(run: Path, city: CityConfig) -> dict[str, Store]:
    """Return the vintage stores of a run by the name of their table."""
    folder = run / VINTAGES
    layers = {layer.name: open_store(folder / LAYERS / layer.name) for layer in city.layers}
    return {INCIDENTS: open_store(folder), **layers}


def require_layers(city: CityConfig, given: Mapping[str, Sequence[Path]]) -> None:
    """Refuse deliveries of a layer that the run has not, and none of one that it has.

    Raises:
        UserError: then.
    """
    names = [layer.name for layer in city.layers]
    for name in given:
        if name not in names:
            remedy = did_you_mean(name, names) if names else "Leave it out"
            raise UserError("--layer", name, allowed="is no layer of the run", remedy=remedy)
    if missing := [name for name in names if not given.get(name)]:
        remedy = " ".join(f"--layer {name}=FOLDER" for name in missing)
        raise UserError("--layer", missing, allowed="is needed: the run forecasts from it", remedy=f"Add {remedy}")


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Takes in what was delivered, in one call for one issue time."""

    prepared: Prepared
    """What the run was trained on."""
    stores: Mapping[str, Store]
    limits: InputLimits
    issue_s: int
    now_s: int
    """What the city's clocks show."""
    latest_s: int
    """The latest that they can have shown."""

    def take(self, given: Mapping[str, Sequence[Path]]) -> str:
        """Put new deliveries of each table, by its name, into its store; return what is wrong with the newest."""
        wrong = []
        for name, paths in given.items():
            try:
                wrong.append(self._take(name, paths))
            except UserError as error:
                wrong.append(str(error))
        return "; ".join(filter(None, wrong))

    def _take(self, name: str, paths: Sequence[Path]) -> str:
        """Put new deliveries of a table into its store; return what is wrong with the newest.

        Raises:
            UserError: there is none, or the store is damaged.
        """
        wrong, store = "", self.stores[name]
        layer = next((layer for layer in self.prepared.city.layers if layer.name == name), None)
        option, table = (f"--layer {name}", f" of the layer {name}") if layer else ("--incidents", "")
        for parcel, digest in new_parcels(paths, store, option):
            try:
                rows = read_parcel(parcel, digest, self.prepared, layer)
            except UserError as error:
                wrong = f"damaged: {error}"
            else:
                wrong = self._add(rows, {"file": parcel.name, "sha256": digest}, store, layer)
            if wrong:
                wrong = f"delivery {parcel.name}{table}: {wrong}"
                log(wrong)
        if not wrong and not store.deliveries:
            raise UserError(option, allowed="holds no delivery", remedy="Give files, or a folder of them")
        return wrong

    def _add(self, rows: pa.Table, source: dict[str, str], store: Store, layer: LayerConfig | None) -> str:
        """Put a delivery into the store if nothing speaks against it; return what does."""
        oldest_s, newest_s = (int(edge) for edge in pc.min_max(rows["time_s"]).as_py().values())
        may_be_ahead = layer is not None and layer.citywide and "known" in layer.columns
        counts_now = newest_s < self.issue_s or may_be_ahead
        found: list[str] = []

        def accept(change: Change) -> bool:
            arrival = Arrival(
                limits=self.limits,
                change=change,
                latest_s=self.latest_s,
                oldest_s=oldest_s,
                newest_s=newest_s,
                last=store.deliveries[-1] if store.deliveries else None,
                begin_s=self._begin_s(layer),
                may_be_ahead=may_be_ahead,
            )
            found.extend(faults(DELIVERY_CHECKS, arrival))
            return not found

        store.add(rows, self.issue_s - 1 if counts_now else self.now_s, source, accept=accept)
        return "; ".join(found)

    def _begin_s(self, layer: LayerConfig | None) -> int:
        """Return the time of the first row that the run was trained on: no row of a layer before all incidents is."""
        begin_s = int(self.prepared.events.time_s[0])
        if layer is None:
            return begin_s
        trained = next(rows for rows in self.prepared.layers if rows.name == layer.name)
        return max(begin_s, int(trained.time_s[0]))
