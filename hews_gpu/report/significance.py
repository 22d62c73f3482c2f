"""Which forecasts foresee, and which only know the calendar or its level better: the two verdicts, in plain words.

The calendar is the climatology, the recent level that times how much happened of late. Only what beats the recent
level is called foresight. A gain is significant as the judge's `sign` finds it: corrected for the number of models
tried where the file tells, outside all of its intervals where it does not; where there is too little to judge by,
nothing is called so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hews_gpu.evaluation.judge import NOT_MODELS, TOO_LITTLE, sign
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.report.formatting import SPACE, listed, number, percent, range_of, signed
from hews_gpu.report.page import Verdict

__all__ = [
    "BASE_RATE",
    "CLIMATOLOGY",
    "LEVEL",
    "MARKS",
    "ORACLE",
    "Comparison",
    "gain_over",
    "label",
    "stated",
    "title",
]

ORACLE, BASE_RATE = "oracle", "base_rate"
NOT_CONTENDERS = (CLIMATOLOGY, BASE_RATE, ORACLE)  # the first two are to be beaten, the oracle knows the answer
LABELS = {
    "level": "recent level",
    "hawkes": "Hawkes",
    "hewsnet": "HewsNet",
    "cnn": "CNN on maps",
    "stack": "the stack",
    "long_run": "long-run rate",
    "recent_28_days": "28-day rate",
    "near_repeat": "near-repeat",
}
IN_A_SENTENCE = {"level": "the recent level", "hawkes": "the Hawkes process", "boosting": "gradient boosting"}
MARKS = {1: "better", -1: "worse", 0: ""}
ZERO: dict[str, Any] = {"value": 0.0, "interval": [0.0, 0.0]}
KNOWN = "the hour, the season and how much happened of late"

Bits = Mapping[str, Any]
"""A mean difference in bits per window, ``value``, with its ``interval``; older files have others beside it."""


def label(name: str) -> str:
    """Return what a forecaster is called in figures and tables."""
    return LABELS.get(name, name.replace("_", " "))


def title(name: str) -> str:
    """Return what a forecaster is, in a few words; nothing where the label says it."""
    known = FORECASTERS[name].title if name in FORECASTERS else ""
    return "the best possible forecast" if name == ORACLE else known * (known != label(name))


def gain_over(scores: Mapping[str, Any], other: str) -> Bits | None:
    """Return a method's log skill over another, None where the file does not tell; over itself it is zero."""
    against = scores["against"].get(other)
    if against is None:
        return ZERO if other == CLIMATOLOGY else None
    bits: Bits = against["log_skill_bits"]
    return bits


@dataclass(frozen=True)
class Comparison:
    """The methods of one result, held against the baselines."""

    forecasts: Mapping[str, Any]
    model: str = ""  # what the result is about; without one it is about whichever gains most
    too_little: Sequence[str] = ()  # why there is too little to judge by; then nothing wins and nothing loses

    @cached_property
    def contenders(self) -> dict[str, Bits]:
        """Gains over the climatology of all that could beat it, the greatest first."""
        gains: dict[str, Bits] = {
            name: gain_over(one, CLIMATOLOGY) or ZERO
            for name, one in self.forecasts.items()
            if name not in NOT_CONTENDERS
        }
        return dict(sorted(gains.items(), key=lambda item: -item[1]["value"]))

    @cached_property
    def winners(self) -> list[str]:
        """Those that gain significantly, the greatest gain first."""
        return [name for name, bits in self.contenders.items() if sign(bits) > 0 and not self.too_little]

    @cached_property
    def foreseeing(self) -> list[str]:
        """Those that gain significantly over both, the greatest gain over the recent level first."""
        over = {name: gain_over(self.forecasts[name], LEVEL) for name in self.winners if name != LEVEL}
        ahead = {name: bits for name, bits in over.items() if bits is not None and sign(bits) > 0}
        return sorted(ahead, key=lambda name: -ahead[name]["value"])

    @property
    def best(self) -> str:
        """The model; else the one with the most foresight; else the greatest gain, or the least loss."""
        return self.model or next(iter([*self.foreseeing, *self.winners, *self.contenders, CLIMATOLOGY]))

    def verdict(self) -> Verdict:
        """Return whether there is foresight as a sentence, and what came out against the calendar as its first note."""
        best, bits = self.best, gain_over(self.forecasts[self.best], CLIMATOLOGY) or ZERO
        if self.too_little:
            notes = [] if best == CLIMATOLOGY else [f"{_capital(_named(best))} gains {stated(bits)} here."]
            return Verdict(f"{TOO_LITTLE}: {'; '.join(self.too_little)}.", "flat", [*notes, *self._oracle()])
        notes = [
            *self._over_calendar(),
            *self._worth(),
            *self._others(),
            *self._tried(),
            *self._ties(),
            *self._oracle(),
        ]
        over = gain_over(self.forecasts[best], LEVEL)
        if over is None or best == LEVEL:
            return Verdict("No foresight shown: nothing here was tried against the recent level.", "flat", notes)
        name, beyond = _capital(_named(best)), f"what {KNOWN} tell already"
        if over["value"] == 0 and not any(over["interval"]):
            sentence = f"No foresight shown: {_named(best)} is the recent level, as nothing it learned could add to it."
            return Verdict(sentence, "flat", notes)
        if best in self.foreseeing:
            return Verdict(f"{name} foresees: beyond {beyond}, it gains {stated(over)}.", "good", notes)
        if sign(over) > 0:
            known = f"No foresight shown: {_named(best)} knows no more than the calendar alone"
            return Verdict(f"{known}, though it gains {stated(over)} on it at its recent level.", "flat", notes)
        if sign(over) < 0:
            return Verdict(
                f"No foresight: {name} forecasts worse than {KNOWN} do alone, by {stated(over)}.", "bad", notes
            )
        sentence = f"No foresight shown: beyond {beyond}, {_named(best)} gains {stated(over)}, {_chance(over)}."
        return Verdict(sentence, "flat", notes)

    def _over_calendar(self) -> list[str]:
        """Return the other verdict: against the climatology alone, which is never called foresight."""
        best = self.best
        if best == CLIMATOLOGY:
            return []
        name, bits = _capital(_named(best)), gain_over(self.forecasts[best], CLIMATOLOGY) or ZERO
        if best in self.winners:
            also = "" if best in self.foreseeing else ", which is not foresight"
            return [f"{name} knows the calendar or its level better than the climatology, by {stated(bits)}{also}."]
        if sign(bits) < 0:
            return [f"{name} is worse than the calendar alone: it loses {stated(bits)} against the climatology."]
        return [f"Over the calendar alone {_named(best)} gains {stated(bits)}, {_chance(bits)}."]

    def _others(self) -> list[str]:
        """Return what else foresees, knows the calendar better, or is worse than it."""
        rest = [name for name in self.contenders if name != self.best]
        losers = [name for name in rest if sign(self.contenders[name]) < 0]
        groups = {
            "foresee{s}, too": [name for name in rest if name in self.foreseeing],
            "know{s} the calendar or its level better than the climatology, too": [
                name for name in rest if name in self.winners and name not in self.foreseeing
            ],
            "{be} significantly worse than the climatology": losers,
        }
        notes = []
        for words, names in groups.items():
            s, be = ("s", "is") if len(names) == 1 else ("", "are")
            notes += [f"{_capital(_listed(names))} {words.format(s=s, be=be)}."] if names else []
        return notes

    def _tried(self) -> list[str]:
        tried = [name for name, one in self.forecasts.items() if name not in NOT_MODELS]
        known = all("p_corrected" in bits for name in tried if (bits := gain_over(self.forecasts[name], CLIMATOLOGY)))
        return (
            [f"{len(tried)} models were tried, for which the verdicts are corrected."]
            if known and len(tried) > 1
            else []
        )

    def _worth(self) -> list[str]:
        """Return how much a significant gain is beside what the climatology leaves open and the oracle gains."""
        if self.best not in self.winners:
            return []
        scores, other = self.forecasts[self.best], self.forecasts[CLIMATOLOGY]
        gained = self.contenders[self.best]["value"] / other["log_loss_bits"]
        notes = [f"That is {percent(gained)} of the surprise (log loss) that the climatology leaves."]
        if closure := scores.get("oracle_gap_closure"):
            ends = " to ".join(percent(end, 0) for end in closure["interval"])
            notes.append(
                f"It closes {percent(closure['value'], 0)} of the gap between the climatology and the best possible "
                f"forecast (95{SPACE}% interval {ends})."
            )
        if scores["auc"] <= other["auc"]:
            notes.append(
                f"Its AUC is no higher than the climatology's ({number(scores['auc'], 3)} against "
                f"{number(other['auc'], 3)}): overall it tells windows with a target from others no better."
            )
        return notes

    def _ties(self) -> list[str]:
        """Return the winners that the best one cannot be told apart from."""
        if self.best not in self.winners:
            return []
        gains = {name: gain_over(self.forecasts[name], self.best) for name in self.winners if name != self.best}
        even = [name for name, bits in gains.items() if bits is not None and sign(bits) == 0]
        return [f"{_capital(_listed(even))} cannot be told apart from {_named(self.best)} here."] if even else []

    def _oracle(self) -> list[str]:
        bits = gain_over(self.forecasts[ORACLE], CLIMATOLOGY) if ORACLE in self.forecasts else None
        return [f"The oracle, which knows how the city was made, gains {stated(bits)}."] if bits else []


def stated(bits: Bits) -> str:
    """Return a gain in bits with its interval."""
    return f"{signed(bits['value'])} bits per window (95{SPACE}% interval {range_of(bits['interval'])})"


def _chance(bits: Bits) -> str:
    """Return why a gain is not significant."""
    low, high = bits["interval"]
    return "which chance alone may give" if low <= 0 <= high else "which the best of several models may reach by chance"


def _named(name: str) -> str:
    return IN_A_SENTENCE.get(name, label(name))


def _listed(names: Sequence[str]) -> str:
    return listed([_named(name) for name in names])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
