"""Who beat the climatology on one source of a rolling evaluation, said plainly.

A gain is called significant where zero lies outside both 95 % intervals, the one over one-week blocks and the one over
four-week blocks. Neither is corrected for how many methods are held against the same climatology.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hews_gpu.report.figures.evaluated import look
from hews_gpu.report.words import SPACE, number, percent, signed

__all__ = ["BASE_RATE", "CLIMATOLOGY", "ORACLE", "Standings", "Verdict", "against_climatology", "sign"]

CLIMATOLOGY, ORACLE, BASE_RATE = "climatology", "oracle", "base_rate"
SPOKEN = {"level": "the 28/365-day level", "hawkes": "the Hawkes process", "boosting": "gradient boosting"}
ITSELF = {"value": 0.0, "one_week": [0.0, 0.0], "four_weeks": [0.0, 0.0]}


class Verdict(NamedTuple):
    """One source in a sentence, its tone (good or flat), and what else is to be said."""

    sentence: str
    tone: str
    notes: Sequence[str]


def sign(bits: Mapping[str, Any]) -> int:
    """1 or -1 where a gain or a loss is significant, 0 where it is neither."""
    ends = [end for key in ("one_week", "four_weeks") for end in bits[key]]
    return int(min(ends) > 0) - int(max(ends) < 0)


def against_climatology(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """A method's log skill over the climatology with its intervals; that of the climatology is zero."""
    found: Mapping[str, Any] = scores["against"].get(CLIMATOLOGY, {}).get("log_skill_bits", ITSELF)
    return found


@dataclass(frozen=True)
class Standings:
    """The methods of one source; `forecasts` as the results file has them."""

    forecasts: Mapping[str, Any]

    @property
    def contenders(self) -> dict[str, Mapping[str, Any]]:
        """Gains over the climatology of what could beat it, the greatest first; the oracle knows the answer."""
        left_out = (CLIMATOLOGY, BASE_RATE, ORACLE)
        gains = {name: against_climatology(one) for name, one in self.forecasts.items() if name not in left_out}
        return dict(sorted(gains.items(), key=lambda item: -item[1]["value"]))

    @property
    def winners(self) -> list[str]:
        """Those that gain significantly, the greatest gain first."""
        return [name for name, bits in self.contenders.items() if sign(bits) > 0]

    @property
    def best(self) -> str:
        """The winner with the greatest gain; without a winner, whoever lost least."""
        return next(iter([*self.winners, *self.contenders, CLIMATOLOGY]))

    def verdict(self) -> Verdict:
        """What came out, in words."""
        winners, best = self.winners, self.best
        bits = against_climatology(self.forecasts[best])
        if winners:
            others = f", and so {'do' if len(winners) > 2 else 'does'} {_listed(winners[1:])}" if winners[1:] else ""
            said = f"{_capital(_spoken(best))} beats the climatology by {gained(bits)}{others}."
            return Verdict(said, "good", [*self._worth(best, bits), *self._ties(), *self._losers(), *self._oracle()])
        notes = [*self._nearest(best, bits), *self._losers(), "That is a result, not a failure to have one."]
        return Verdict("No significant skill: nothing beats the climatology.", "flat", [*notes, *self._oracle()])

    def _nearest(self, best: str, bits: Mapping[str, Any]) -> list[str]:
        if best == CLIMATOLOGY or sign(bits) < 0:
            return []
        low, high = bits["four_weeks"]
        return [
            f"{_capital(_spoken(best))} comes nearest with {gained(bits)}; over four-week blocks the interval is "
            f"{signed(low)} to {signed(high)}."
        ]

    def _worth(self, best: str, bits: Mapping[str, Any]) -> list[str]:
        left = self.forecasts[CLIMATOLOGY]["log_loss_bits"]
        said = [f"That is {percent(bits['value'] / left)} of the surprise (log loss) that the climatology leaves."]
        closure = self.forecasts[best].get("oracle_gap_closure")
        if closure:
            low, high = (percent(end, 0) for end in closure["one_week"])
            said.append(
                f"It closes {percent(closure['value'], 0)} of the gap between the climatology and the best possible "
                f"forecast (95{SPACE}% interval {low} to {high})."
            )
        own, other = (self.forecasts[name]["auc"] for name in (best, CLIMATOLOGY))
        if own <= other:
            said.append(
                f"Its AUC is no higher than the climatology's ({number(own, 3)} against {number(other, 3)}): overall "
                "it tells windows with a target from others no better."
            )
        return said

    def _ties(self) -> list[str]:
        """Winners that the best one can't be told apart from."""
        best = self.best
        even = [name for name in self.winners[1:] if self._is_even(name, best)]
        if not even:
            return []
        return [f"{_capital(_listed(even))} cannot be told apart from {_spoken(best)} on these windows."]

    def _is_even(self, name: str, best: str) -> bool:
        found = self.forecasts[name]["against"].get(best)
        return bool(found) and sign(found["log_skill_bits"]) == 0

    def _losers(self) -> list[str]:
        losers = [name for name, bits in self.contenders.items() if sign(bits) < 0]
        verb = "is" if len(losers) == 1 else "are"
        return [f"{_capital(_listed(losers))} {verb} significantly worse than the climatology."] if losers else []

    def _oracle(self) -> list[str]:
        if ORACLE not in self.forecasts:
            return []
        said = gained(against_climatology(self.forecasts[ORACLE]))
        return [f"The best possible forecast, the oracle, which knows how the city was made, gains {said}."]


def gained(bits: Mapping[str, Any]) -> str:
    """A gain in bits with its interval over one-week blocks."""
    low, high = bits["one_week"]
    return f"{signed(bits['value'])} bits per window (95{SPACE}% interval {signed(low)} to {signed(high)})"


def _listed(names: Sequence[str]) -> str:
    words = [_spoken(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _spoken(name: str) -> str:
    return SPOKEN.get(name, look(name).label)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
