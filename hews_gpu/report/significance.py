"""Which forecasts beat the calendar, and which of those the recent level too: the two verdicts, in plain words.

A gain is called significant where zero lies outside all of its 95 % intervals: over blocks of one week, of four weeks,
and whatever longer ones a file holds; where there is too little to judge by, nothing is called so. None is corrected
for how many methods are held against the same baseline. The calendar is the climatology, hour of the week x month; the
recent level is that times how busy the last 28 and 365 days were. Only what beats both is foresight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hews_gpu.evaluation.judge import TOO_LITTLE, sign
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.report.formatting import SPACE, listed, number, percent, range_of, signed
from hews_gpu.report.page import Verdict

__all__ = ["BASE_RATE", "CLIMATOLOGY", "LEVEL", "MARKS", "ORACLE", "Comparison", "gain_over", "label", "title"]

CLIMATOLOGY, LEVEL, ORACLE, BASE_RATE = "climatology", "level", "oracle", "base_rate"
NOT_MODELS = (CLIMATOLOGY, BASE_RATE, ORACLE)  # the first two are to be beaten, the oracle knows the answer
LABELS = {
    "level": "recent level",
    "hawkes": "Hawkes",
    "hewsnet": "HewsNet",
    "cnn": "CNN on maps",
    "hewsnet+cnn": "HewsNet + CNN",
    "long_run": "long-run rate",
    "recent_28_days": "28-day rate",
    "near_repeat": "near-repeat",
}
IN_A_SENTENCE = {"level": "the recent level", "hawkes": "the Hawkes process", "boosting": "gradient boosting"}
MARKS = {1: "better", -1: "worse", 0: ""}
ZERO: dict[str, Any] = {"value": 0.0, "one_week": [0.0, 0.0]}

Bits = Mapping[str, Any]
"""A mean difference in bits per window, ``value``, with its intervals by the length of their blocks."""


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
            name: gain_over(one, CLIMATOLOGY) or ZERO for name, one in self.forecasts.items() if name not in NOT_MODELS
        }
        return dict(sorted(gains.items(), key=lambda item: -item[1]["value"]))

    @cached_property
    def winners(self) -> list[str]:
        """Those that gain significantly, the greatest gain first."""
        return [name for name, bits in self.contenders.items() if sign(bits) > 0 and not self.too_little]

    @property
    def best(self) -> str:
        """The model; else the winner with the greatest gain; without a winner, whichever lost least."""
        return self.model or next(iter([*self.winners, *self.contenders, CLIMATOLOGY]))

    def verdict(self) -> Verdict:
        """Return what came out against the calendar as a sentence, and against the recent level as its first note."""
        best, bits = self.best, gain_over(self.forecasts[self.best], CLIMATOLOGY) or ZERO
        if self.too_little:
            notes = [] if best == CLIMATOLOGY else [f"{_capital(_named(best))} gains {stated(bits)} here."]
            return Verdict(f"{TOO_LITTLE}: {'; '.join(self.too_little)}.", "flat", [*notes, *self._oracle()])
        others = [name for name in self.winners if name != best]
        notes = [*self._over_level(), *self._worth(), *self._ties(), *self._losers(), *self._oracle()]
        if best in self.winners:
            also = f", and so {'do' if len(others) > 1 else 'does'} {_listed(others)}" if others else ""
            sentence = f"{_capital(_named(best))} beats the climatology by {stated(bits)}{also}."
            return Verdict(sentence, "good", notes)
        if others:
            verb = "do" if len(others) > 1 else "does"
            first = gain_over(self.forecasts[others[0]], CLIMATOLOGY) or ZERO
            notes.insert(0, f"{_capital(_listed(others))} {verb}, the best of them by {stated(first)}.")
        if self.model and sign(bits) < 0:
            return Verdict(f"Worse than the climatology: {_named(best)} loses {stated(bits)}.", "bad", notes)
        what = f"{_named(best)} does not beat" if self.model else "nothing beats"
        return Verdict(f"No significant skill: {what} the climatology.", "flat", [*self._nearest(bits), *notes])

    def _over_level(self) -> list[str]:
        """Return the second verdict: whether what beats the calendar also beats calendar x recent level."""
        asked = [self.model] if self.model else self.winners
        ahead = {
            name: gain_over(self.forecasts[name], LEVEL) for name in asked if name in self.winners and name != LEVEL
        }
        known = {name: bits for name, bits in ahead.items() if bits is not None}
        if not known:
            return []
        first = next((name for name, bits in known.items() if sign(bits) > 0), None)
        if first is not None:
            return [f"{_capital(_named(first))} also beats the recent level, by {stated(known[first])}: foresight."]
        name, bits = next(iter(known.items()))
        return [
            f"Over the recent level {_named(name)} gains {stated(bits)}, which is not significant: what it knows "
            "beyond the calendar is how busy the last weeks were."
        ]

    def _nearest(self, bits: Bits) -> list[str]:
        if self.best == CLIMATOLOGY or sign(bits) < 0:
            return []
        verb = "gains" if self.model else "comes nearest with"
        return [f"{_capital(_named(self.best))} {verb} {stated(bits)}."]

    def _worth(self) -> list[str]:
        """Return how much a significant gain is beside what the climatology leaves open and the oracle gains."""
        if self.best not in self.winners:
            return []
        scores, other = self.forecasts[self.best], self.forecasts[CLIMATOLOGY]
        gained = self.contenders[self.best]["value"] / other["log_loss_bits"]
        notes = [f"That is {percent(gained)} of the surprise (log loss) that the climatology leaves."]
        if closure := scores.get("oracle_gap_closure"):
            ends = " to ".join(percent(end, 0) for end in closure["one_week"])
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

    def _losers(self) -> list[str]:
        losers = [name for name, bits in self.contenders.items() if sign(bits) < 0 and name != self.model]
        verb = "is" if len(losers) == 1 else "are"
        return [f"{_capital(_listed(losers))} {verb} significantly worse than the climatology."] if losers else []

    def _oracle(self) -> list[str]:
        bits = gain_over(self.forecasts[ORACLE], CLIMATOLOGY) if ORACLE in self.forecasts else None
        return [f"The oracle, which knows how the city was made, gains {stated(bits)}."] if bits else []


def stated(bits: Bits) -> str:
    """Return a gain in bits with its interval over one-week blocks, and one over longer ones if that holds zero."""
    longer = [ends for name, ends in bits.items() if name not in ("value", "one_week") and ends[0] <= 0 <= ends[1]]
    decides = longer and not bits["one_week"][0] <= 0 <= bits["one_week"][1]
    more = f"; over longer blocks {range_of(longer[-1])}" if decides else ""
    return f"{signed(bits['value'])} bits per window (95{SPACE}% interval {range_of(bits['one_week'])}{more})"


def _named(name: str) -> str:
    return IN_A_SENTENCE.get(name, label(name))


def _listed(names: Sequence[str]) -> str:
    return listed([_named(name) for name in names])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
