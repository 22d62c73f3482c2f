"""A city of any preset, generated: the ground, the cases that its table reports, and the truth.

Both ways out begin here: `city.write_city` words the cases as a table of text, `simulated.simulate_city` takes
them as the arrays that ``hews prepare`` would make of that table.

Shapes: E cases, N neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hews_gpu.config import HOUR_S, parse_local_time
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.synthetic.addresses import PER_DEGREE
from hews_gpu.synthetic.areal import AreaTruth
from hews_gpu.synthetic.geography import Ground, degrees_per_meter, make_ground, to_degrees
from hews_gpu.synthetic.process import MINUTE_S, Float64, Int64
from hews_gpu.synthetic.table import Cases, Role, make_cases
from hews_gpu.synthetic.truth import Truth

__all__ = ["BEGIN", "DEMO", "PRESETS", "Generated", "after", "distinct", "generate"]

BEGIN = "2021-01-01"  # a Friday; any midnight would do
DEMO = "demo"
PRESETS = (DEMO, "null", "strong", "spatial", "pairs", "realistic")
UNDER_REPORTED_AREAS = 1 / 3  # share of the neighborhoods where rows are left out, if any are
PROMPT_S, LATE_S, LATEST_S = 20 * 60.0, 18 * 3600.0, 7 * 86_400  # mean delays of most and of other reports; the most
LATE_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A city before it is written down."""

    preset: str
    begin_s: int
    ground: Ground
    truth: Truth | AreaTruth
    cases: Cases
    reported_s: Int64 | None  # [E] when a case is reported; None: at once
    rng: np.random.Generator
    """Of the order of the rows; the cases have been drawn from it."""
    words: np.random.Generator | None
    """Of the wording; None: the same as `rng`, and before it."""


def after(months: int) -> str:
    """The first day of the month that is so many months after the begin."""
    return f"{np.datetime64(BEGIN, 'M') + months}-01"


def generate(preset: str, *, seed: int, years: int, under_reporting: float = 0.0) -> Generated:
    """Draw a city and its history; the same arguments give the same.

    Args:
        preset: one of PRESETS.
        seed: everything random derives from it; each seed is another city.
        years: how many calendar years from 2021-01-01.
        under_reporting: share of the incidents that are left out of the table in a third of the neighborhoods, but
            for target events; what they set off happens all the same.

    Raises:
        UserError: no such preset, or a number out of range.
    """
    if preset not in PRESETS:
        raise UserError("preset", preset, allowed="is not known", remedy=did_you_mean(preset, PRESETS))
    if not 1 <= years <= 40:
        raise UserError("years", years, allowed="must be 1..40")
    if seed < 0:
        raise UserError("seed", seed, allowed="must be 0 or more")
    if not 0 <= under_reporting <= 1:
        raise UserError("under_reporting", under_reporting, allowed="must be 0..1")
    begin_s, end_s = (parse_local_time("begin", text) for text in (BEGIN, after(12 * years)))
    hours = (end_s - begin_s) // HOUR_S
    made = (
        _demo(seed, begin_s, hours) if preset == DEMO else _by_law(preset, np.random.SeedSequence(seed), begin_s, hours)
    )
    if not under_reporting:
        return made
    return _under_reported(np.random.default_rng([seed, 1]), made, under_reporting)


def _demo(seed: int, begin_s: int, hours: int) -> Generated:
    from hews_gpu.synthetic.recipe import DEMO as RECIPE
    from hews_gpu.synthetic.simulate import simulate

    ground_seed, history_seed, table_seed = np.random.SeedSequence(seed).spawn(3)
    ground = make_ground(np.random.default_rng(ground_seed))
    history = simulate(RECIPE, ground, history_seed, begin_s=begin_s, hours=hours)
    rng = np.random.default_rng(table_seed)
    roles = {RECIPE.target.name: Role.TARGET, RECIPE.precursor.name: Role.PRECURSOR}
    return Generated(
        preset=DEMO,
        begin_s=begin_s,
        ground=ground,
        truth=history.truth,
        cases=make_cases(rng, history.events, roles, hours * 60, ground),
        reported_s=None,
        rng=rng,
        words=None,
    )


def _by_law(preset: str, seed: np.random.SeedSequence, begin_s: int, hours: int) -> Generated:
    from hews_gpu.synthetic.draw import draw
    from hews_gpu.synthetic.presets import LAWS

    law = LAWS[preset]
    history_seed, table_seed, words_seed, report_seed = seed.spawn(4)
    drawn = draw(law, history_seed, begin_s=begin_s, hours=hours)
    rng = np.random.default_rng(table_seed)
    roles = {law.target: Role.TARGET}
    roles |= dict.fromkeys(law.trigger.sources if law.trigger is not None else (), Role.PRECURSOR)
    cases = distinct(make_cases(rng, drawn.events, roles, hours * 60, drawn.ground))
    delay_s = _report_delay_s(np.random.default_rng(report_seed), len(cases.minute))
    return Generated(
        preset=preset,
        begin_s=begin_s,
        ground=drawn.ground,
        truth=drawn.truth,
        cases=cases,
        reported_s=begin_s + cases.minute * MINUTE_S + delay_s,
        rng=rng,
        words=np.random.default_rng(words_seed),
    )


def _report_delay_s(rng: np.random.Generator, count: int) -> Int64:
    """[E] most cases are known within the hour, others after hours or days; whole minutes, a week at most."""
    mean_s = np.where(rng.random(count) < LATE_SHARE, LATE_S, PROMPT_S)
    delay = np.minimum(rng.exponential(mean_s), LATEST_S) // MINUTE_S
    return np.asarray(delay * MINUTE_S, dtype=np.int64)


def distinct(cases: Cases) -> Cases:
    """Cases of one category, minute and place moved apart by a meter: else their rows might be equal word for word.

    That would make one the other's duplicate, or not, by their wording, which only a written table has.
    """
    xy_m = cases.xy_m.copy()
    step_m = 1.0 / (PER_DEGREE * degrees_per_meter()[0])
    category = np.unique(cases.category, return_inverse=True)[1]
    while True:
        again = _repeated(np.column_stack([category, cases.minute, _hundred_thousandths(xy_m)]))
        again &= ~np.isnan(xy_m[:, 0])
        if not again.any():
            return replace(cases, xy_m=xy_m)
        xy_m[again, 0] += step_m


def _hundred_thousandths(xy_m: Float64) -> Int64:
    """[E, 2] coordinates as the table has them, in 1 / PER_DEGREE; 0 where there are none."""
    return np.rint(np.nan_to_num(to_degrees(xy_m)) * PER_DEGREE).astype(np.int64)


def _repeated(keys: Int64) -> np.typing.NDArray[np.bool_]:
    """[E] whether an earlier row of `keys` is the same."""
    order = np.lexsort(keys.T)
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    result = np.zeros(len(keys), dtype=np.bool_)
    result[order[1:][same]] = True
    return result


def _under_reported(rng: np.random.Generator, made: Generated, share: float) -> Generated:
    """The same with cases left out in some neighborhoods."""
    cases, areas = made.cases, len(made.ground.cells)
    silent = rng.permutation(areas) < round(areas * UNDER_REPORTED_AREAS)
    area = made.ground.neighborhood(np.nan_to_num(cases.xy_m, nan=1e9))
    left_out = (area >= 0) & silent[area] & (cases.role != Role.TARGET) & (rng.random(len(area)) < share)
    kept = np.flatnonzero(~left_out)
    parts = {name: value[kept] for name, value in vars(cases).items()}
    reported_s = made.reported_s[kept] if made.reported_s is not None else None
    return replace(made, cases=Cases(**parts), reported_s=reported_s)
