"""HewsNet: the rate of target events in every neighborhood, as a sum of what layers of past incidents still send out.

A layer is a map of the past: the incidents of one category, or the pairs of two categories close together within one
step (the product of two maps, one of them smeared). Each chosen layer k fades exponentially, and

    rate[n](t) = level * share[n] * rhythm(t)
               + sum over local k of  gain[k, n] * left[k, n](t)          what happened here is felt here
               + sum over city k of   gain[k] * share[n] * left[k](t)     what happened anywhere is felt anywhere

with `left` the layer's incidents, each as exp(-age / decay) / decay; of a city layer all of them, near pairs anywhere,
or those of one neighborhood. Rates add and P = 1 - exp(-hazard), which is the link of a process that sets itself off;
log-odds that add are not. All weights are 0 or more and learned together by expectation maximization: how likely is it
that each event came from the rhythm, or from each layer? No step size is to be chosen and the likelihood never falls.
(Veen & Schoenberg, 2008, J. Am. Stat. Assoc. 103.)

Whether a layer means the same everywhere is learned too: the gains of a local layer are drawn from a gamma distribution
around their mean, whose shape maximizes the negative binomial likelihood of the events that each neighborhood owes to
the layer. A large shape is one gain for all; a small one lets a few neighborhoods have all of it. (Empirical Bayes:
Efron, Large-Scale Inference, 2010, chapter 1.)

Shapes: B windows, E target events, K layers, N neighborhoods, L steps of unknown time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.forecasters.reach import Reach

__all__ = ["Evidence", "HewsNet"]

SHAPES = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0, 64.0, 1e4)  # of the gamma; the last is one gain for all
PRIOR_SHARE = 0.5  # events in each neighborhood before anything happened (Jeffreys)
FIRST_GAIN = 0.05  # events per incident that a new layer starts from
LARGEST_SELF = 0.95  # events set off per event: at 1 the process would explode


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the model learns from: target events, and the layers as they stood at each."""

    base: Float64  # [E] rhythm, events a second in the whole city
    area: Int64  # [E] neighborhood of the event
    left: Float64  # [E, K] layer in the event's neighborhood, or in the city
    base_total: float
    """Integral of the rhythm over the time learned from."""
    exposure: Float64  # [K, N] integral of the layer by neighborhood


@dataclass(kw_only=True)
class HewsNet:
    """The model."""

    level: float
    share: Float64  # [N]
    gain: Float64  # [K, N]
    local: Bool  # [K] whether what a layer sets off stays in the neighborhood, instead of falling anywhere

    @classmethod
    def untrained(cls, areas: int, local: Sequence[bool] = ()) -> HewsNet:
        """Return the rhythm alone, spread evenly over `areas` neighborhoods, at least 1."""
        if areas < 1:
            raise ValueError(f"areas = {areas} must be 1 or more")
        gain = np.full((len(local), areas), FIRST_GAIN)
        return cls(level=1.0, share=np.full(areas, 1 / areas), gain=gain, local=np.array(local, dtype=bool))

    def hazards(self, base: Float64, left: Float64) -> Float64:
        """Return [B, N]: events expected in each window and neighborhood.

        Args:
            base: [B, N] events of the rhythm that lead into the window, in a city of level 1 and share 1.
            left: [B, K, N] of each layer, what its incidents still send into the window; of a city layer, the city's.
        """
        hazard = base * (self.level * self.share)
        for k, effect in enumerate(self.effect):  # not a product of matrices: a window's bits depend on no other window
            hazard += left[:, k] * effect
        return hazard

    @property
    def effect(self) -> Float64:
        """[K, N] events in each neighborhood per incident: of this neighborhood, or of the city."""
        return np.where(self.local[:, None], self.gain, self.gain * self.share)

    def rates(self, evidence: Evidence) -> tuple[Float64, Float64]:
        """Return the rates [E] and [E, K] at each event owed to the rhythm and to each layer."""
        base = (self.level * self.share)[evidence.area] * evidence.base
        return base, self.effect.T[evidence.area] * evidence.left

    def log_likelihood(self, evidence: Evidence) -> float:
        """Return that of the events, their times and neighborhoods, in nats."""
        base, layers = self.rates(evidence)
        in_city = self.gain[:, 0] * evidence.exposure.sum(axis=1)  # a city layer's gain is the same in every column
        exposed = np.where(self.local, (self.gain * evidence.exposure).sum(axis=1), in_city)
        total = self.level * evidence.base_total + exposed.sum()
        return float(np.log(base + layers.sum(axis=1)).sum() - total)

    def learn(self, evidence: Evidence, rounds: int) -> Float64:
        """Do rounds of expectation maximization; return the chance [E] of each event to come from the rhythm."""
        chance, (layers, areas) = np.ones(len(evidence.base)), self.gain.shape
        cell = evidence.area[:, None] * layers + np.arange(layers)  # [E, K] of [N, K]
        for _ in range(rounds):
            base, owed = self.rates(evidence)
            rate = base + owed.sum(axis=1)
            chance, owed = base / rate, owed / rate[:, None]
            self.level = float(chance.sum() / evidence.base_total)
            anywhere = chance + owed[:, ~self.local].sum(axis=1)
            events = PRIOR_SHARE + np.bincount(evidence.area, weights=anywhere, minlength=areas)
            self.share = events / events.sum()
            counts = np.bincount(cell.ravel(), weights=owed.ravel(), minlength=layers * areas).reshape(areas, layers).T
            for k, is_local in enumerate(self.local):
                mean = counts[k].sum() / evidence.exposure[k].sum()
                self.gain[k] = _gains(counts[k], evidence.exposure[k]) if is_local else mean
        return chance

    def reach(self, decay_s: Float64, is_self: Bool, lead: int, horizon: int, step_s: int, blind_s: int = 0) -> Reach:
        """Return how far excitation carries, with what may yet happen between now and the window properly in it.

        The chance N(m) that an event of step m leaves the window silent, and the share A(m) of a layer's excitation
        that leads to something, follow from each other backwards in time. A target event that sets off others
        anywhere is taken to do so in its own neighborhood. By neighborhood: keep [K, 1], target [L, N], sent and later
        [L, K, N].

        Args:
            decay_s: [K].
            is_self: [K] whether the layer's incidents are target events.
            lead: steps before the window.
            horizon: steps of the window.
            step_s: length of a step.
            blind_s: age at which an incident begins to set off events: that to which the fit was blind.
        """
        within = self.effect[is_self]
        within = within * np.minimum(LARGEST_SELF / np.maximum(within.sum(axis=0), 1e-12), 1.0)
        steps, shape = lead + horizon, self.gain.shape
        reach = Reach(
            keep=np.exp(-step_s / decay_s)[:, None],
            target=np.ones((steps, shape[1])),
            sent=np.zeros((steps + 1, *shape)),
            later=np.zeros((steps, *shape)),
            blind=blind_s / step_s,
        )
        for m in range(steps - 1, -1, -1):
            if m < lead:
                reach.target[m] = -np.expm1(-(within * reach.begun(m + 1)[is_self]).sum(axis=0))
            reach.sent[m] = (1 - reach.keep) * reach.target[m] + reach.keep * reach.sent[m + 1]
            reach.later[m] = reach.begun(m + 0.5)
        return reach


def _gains(counts: Float64, exposure: Float64) -> Float64:
    """Return the gains [N] of a local layer from the events owed to it and its incidents, by neighborhood; both [N].

    A gamma distribution of the shape that makes the counts likeliest, around their common mean.
    """
    from scipy.special import gammaln

    mean = counts.sum() / exposure.sum()
    if mean <= 0:
        return np.zeros_like(counts)
    shape = np.array(SHAPES)[:, None]
    rate = shape / mean
    silent = gammaln(counts + shape) - gammaln(shape) + shape * np.log(rate / (rate + exposure))
    best = int(np.argmax((silent - counts * np.log(rate + exposure)).sum(axis=1)))
    if best == len(SHAPES) - 1:
        return np.full_like(counts, mean)
    return np.asarray((counts + shape[best]) / (rate[best] + exposure), dtype=np.float64)
