"""Random edits of everything that is known only from some moment on; no input and no forecast may notice them.

An edit drops, changes and adds rows. Rows go to the very second of the cut, into the hours after it and far beyond; a
category appears that sorts before all others, so that every index moves; and the marks of rows before the cut change
where a later row could have changed them.

Shapes: E rows, L rows that may be edited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Bool, Int64
from hews_gpu.data.events import Events, LayerRows, Prepared
from hews_gpu.forecasters.city import City
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["STYLES", "Edit", "edit_city", "edit_prepared", "edits", "known_s"]


STYLES = ("delete", "add", "change", "mixed")
STRANGER = "0 NOT SEEN BEFORE"
MARKED_S = 1800  # a target this much later still makes a row its twin
REPORTED_LATE_S = 7 * DAY_S  # rows that happened so long before the cut and are reported after it
FAR_S = 30 * DAY_S
ADDED_SHARE, FEWEST_ADDED = 0.2, 60
AT_ONCE = 5  # rows at the very second of the cut, at least
OWN = -1  # an added row's event


@dataclass(frozen=True)
class Edit:
    """What is known from `cut_s` on becomes something else."""

    cut_s: int
    style: str
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        """The generator of everything random in it."""
        return np.random.default_rng([self.seed, self.cut_s, STYLES.index(self.style)])


def edits(cuts_s: Int64, seed: int) -> Iterator[Edit]:
    """Yield an edit at each cut, the styles in turn."""
    for i, cut_s in enumerate(cuts_s.tolist()):
        yield Edit(cut_s, STYLES[i % len(STYLES)], seed + i)


def known_s(city: City, delay_s: int, *, as_reported: bool) -> Int64:
    """Return when each row is known by the protocol [E]: a delay after it was over, and not before it is reported."""
    times = city.events.time_s + (0 if city.events.span_s is None else city.events.span_s) + delay_s
    return np.maximum(times, city.reported_s) if as_reported and city.reported_s is not None else times


def edit_prepared(prepared: Prepared, edit: Edit) -> Prepared:
    """Return the city with other rows from the cut on; a row is taken to be known when it is over."""
    rng, events = edit.rng, prepared.events
    late = events.over_s >= edit.cut_s
    made, row = _edited(events, late, edit, earliest_s=edit.cut_s, rng=rng)
    near = (made.time_s < edit.cut_s) & (made.time_s >= edit.cut_s - MARKED_S)
    twin = np.where(near, rng.random(len(made)) < 0.5, made.is_twin)
    made = replace(made, is_twin=twin, is_duplicate=np.where(row < 0, rng.random(len(made)) < 0.2, made.is_duplicate))
    return prepared.with_rows(made, [_edited_layer(layer, edit, rng) for layer in prepared.layers])


def edit_city(city: City, edit: Edit, *, delay_s: int = 0, as_reported: bool = False) -> City:
    """Return the city with other rows from the cut on, as known under a delay; an event may lose some of its rows."""
    rng, events = edit.rng, city.events
    known = known_s(city, delay_s, as_reported=as_reported)
    group = np.arange(len(events)) if city.group is None else city.group
    earliest_s = edit.cut_s - delay_s - (REPORTED_LATE_S if as_reported else 0)
    made, row = _edited(events, known >= edit.cut_s, edit, earliest_s=earliest_s, rng=rng)
    is_new = row < 0
    fresh = group.max(initial=0) + 1 + np.arange(len(made))
    reported = None
    if city.reported_s is not None:
        reported = np.where(is_new, np.maximum(made.time_s, edit.cut_s), city.reported_s[row])
    layers = tuple(_edited_layer(layer, edit, rng) for layer in city.layers)
    return replace(
        city,
        layers=layers,
        events=made,
        prepared=None if city.prepared is None else city.prepared.with_rows(made, layers),
        reported_s=reported,
        group=None if city.group is None else np.where(is_new, fresh, group[row]),
    )


def _edited_layer(layer: LayerRows, edit: Edit, rng: np.random.Generator) -> LayerRows:
    """Return other rows of a layer from the cut on: most are dropped, others become known late or happen later."""
    kept = np.flatnonzero((layer.known_s < edit.cut_s) | (rng.random(len(layer)) < 0.2))
    copied = rng.integers(0, len(layer), max(FEWEST_ADDED, len(layer) - len(kept)))
    time_s = edit.cut_s + rng.integers(-REPORTED_LATE_S, FAR_S, len(copied))
    time_s[:AT_ONCE] = edit.cut_s - HOUR_S
    late_s = edit.cut_s + np.where(np.arange(len(copied)) < AT_ONCE, 0, rng.integers(0, DAY_S, len(copied)))
    new = {"time_s": time_s, "known_s": np.maximum(time_s, late_s)}
    columns = {name: value for name, value in vars(layer).items() if isinstance(value, np.ndarray)}
    joined: dict[str, Any] = {
        name: np.concatenate([value[kept], new[name] if name in new else value[copied]])
        for name, value in columns.items()
    }
    order = np.argsort(joined["time_s"], kind="stable")
    return replace(layer, **{name: value[order] for name, value in joined.items()})


def _edited(
    events: Events, late: Bool, edit: Edit, *, earliest_s: int, rng: np.random.Generator
) -> tuple[Events, Int64]:
    """Return the edited rows in order of time, and where each was before; -1 for one that is new or changed."""
    drop, change = {"delete": (0.9, 0.0), "add": (0.0, 0.0), "change": (0.0, 0.9), "mixed": (0.3, 0.4)}[edit.style]
    action = rng.random(len(events))
    soon = events.time_s < edit.cut_s + DAY_S  # all of the next day goes; later on, splits must keep some targets
    last = np.arange(len(events)) == len(events) - 1  # nothing is forecast beyond the table's end
    dropped = late & ~last & ((action < drop) | (soon & (drop > change)))
    changed = late & ~last & ~dropped & ((action < drop + change) | (soon & (change > drop)))
    kept = np.flatnonzero(~(dropped | changed))
    added = 0 if edit.style == "delete" else max(FEWEST_ADDED, int(late.sum() * ADDED_SHARE))
    end_s = int(events.time_s[-1])
    new = _new_rows(events, int(changed.sum()) + added, earliest_s, max(end_s - earliest_s, FAR_S), rng)
    columns = {name: value for name, value in vars(events).items() if isinstance(value, np.ndarray)}
    joined: dict[str, Any] = {name: np.concatenate([value[kept], new[name]]) for name, value in columns.items()}
    row = np.concatenate([kept, np.full(len(new["time_s"]), OWN)])
    order = np.argsort(joined["time_s"], kind="stable")
    made = Events(**{name: value[order] for name, value in joined.items()}, categories=events.categories)
    return (_with_stranger(made, row[order] < 0, rng) if len(new["time_s"]) else made), row[order]


def _new_rows(
    events: Events, count: int, earliest_s: int, far_s: int, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Draw rows of any category at the places of others, soon after a moment, some at that very second."""
    where, what = rng.integers(0, len(events), size=(2, count))
    after_s = np.select(
        [rng.random(count) < 0.05, rng.random(count) < 0.1],
        [np.zeros(count, dtype=np.int64), rng.integers(0, 2 * HOUR_S, count)],
        rng.integers(0, far_s, count),
    )
    after_s[:AT_ONCE] = 0
    kinds = np.unique(events.category)
    targets = np.unique(events.category[events.is_target])
    category = np.where(rng.random(count) < 0.5, rng.choice(kinds, count), events.category[what])
    category = np.where(rng.random(count) < 0.25, rng.choice(targets, count), category).astype(np.int16)
    share = np.bincount(events.category, weights=events.is_target) / np.maximum(np.bincount(events.category), 1)
    is_target = share[category] == 1
    is_open = ~is_target & (share[category] > 0)  # a column marks some of them
    new = {
        "time_s": earliest_s + after_s,
        "longitude": events.longitude[where],
        "latitude": events.latitude[where],
        "category": category,
        "neighborhood": events.neighborhood[where],
        "is_duplicate": rng.random(count) < 0.1,
        "is_twin": rng.random(count) < 0.1,
    }
    is_target[is_open] = rng.random(int(is_open.sum())) < share[category[is_open]]
    spans = {} if events.span_s is None else {"span_s": events.span_s[what]}
    return {**new, "is_target": is_target, **spans}


def _with_stranger(events: Events, is_new: Bool, rng: np.random.Generator) -> Events:
    """Give a tenth of the new rows a category that did not exist; its name comes first."""
    strange = is_new & ~events.is_target & (rng.random(len(events)) < 0.1)
    category = np.where(strange, 0, events.category + 1).astype(np.int16)
    return replace(events, category=category, categories=(STRANGER, *events.categories))
