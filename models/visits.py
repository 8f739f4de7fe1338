"""Learning a mode that commissioning never saw, from healthy visits to it.

A new mode is news and no fault, but for how long? Its readings are learned by recursive least
squares (Plackett 1950), starting from what the reference knows of the drivers, with a level of
their own. They make a second set of weights, for this mode only: what was commissioned stays as it
was. A fault must not be learned with them. So a visit counts only if the machine was judged calm in
known modes before and after it, and the mode is judged only after as many readings as commissioning
asks for and a last visit that was foretold. A machine that never returns to a known mode stays
unjudged.
"""

from typing import Self

import numpy as np
from msgspec import Struct

from models.monitor_kernel import CLIP
from models.reference import JUMP_MARGIN, Reference, pack, unpack, weight
from models.sample import Vector
from models.settings import Settings

AFTER_TIMES = 3.0
"""Time constants of the smoothed residual that a machine must be calm for after a visit: a fault
that stood out at its end stands out by 95 % of its size by then."""
MAX_MODES = 4
"""Modes learned after commissioning; bounds memory. Machines have two or three judged modes."""


class Learned(Struct):
    """What is known of one new mode."""

    mode: Vector
    """Its mode places."""
    weights: Vector
    inverse: Vector
    """As in the reference, packed, for this mode only."""
    gap: Vector
    """How far each driver ran ahead of itself in the visit in which it ran least ahead: what coming
    always brings, without chance events."""
    count: int = 0
    """Readings learned."""
    known: bool = False
    """Enough to be judged."""

    @classmethod
    def begin(cls, mode: Vector, r: Reference, settings: Settings) -> Self:
        """Start from the reference; the level is as free as what a driver may do."""
        inverse = r.inverse.copy()
        inverse[:, 0] += settings.driver_sigmas**2
        return cls(mode.copy(), r.weights.copy(), inverse, np.full(len(r.jump), np.inf))

    def copy(self) -> "Learned":
        """Return a copy to try a visit on; numbers of the visit alone start anew."""
        return Learned(
            self.mode, self.weights.copy(), self.inverse, np.zeros(len(self.gap)), self.count,
            self.known,
        )  # fmt: skip


class Visits(Struct):
    """Modes learned, and the visit that is not yet accepted."""

    modes: list[Learned]
    trial: Learned | None = None
    """The visited mode with the visit learned, but for its inverse precision."""
    inverse: Vector | None = None
    """That, as matrices."""
    count: int = 0
    """Readings of the visit."""
    foretold: int = 0
    """Readings of it that were called normal by what had been learned before."""
    surprised: bool = False
    """Whether one of them was called abnormal."""


def find(c: Visits, mode: Vector) -> Learned | None:
    """Return what is known of a new mode."""
    return next((m for m in c.modes if np.array_equal(m.mode, mode)), None)


def forget(c: Visits) -> None:
    """Let an open visit come to nothing."""
    c.trial, c.inverse, c.count, c.foretold, c.surprised = None, None, 0, 0, False


def watch(
    c: Visits, r: Reference, settings: Settings, *, mode: Vector, phi: Vector, y: Vector,
    smoothed: Vector, gap: Vector, score: float | None,
) -> None:  # fmt: skip
    """Learn one reading of a new mode, on trial.

    Args:
        c: the visits; changed in place.
        r: the commissioned reference.
        settings: the detector's numbers.
        mode: mode places of this reading.
        phi: regressors of each response.
        y: responses; NaN where there is no value.
        smoothed: smoothed residuals in sigmas of one reading.
        gap: how far the drivers run ahead of their lagging selves.
        score: what was made of it by what had been learned before; None if that was too little.
    """
    if c.trial is not None and not np.array_equal(mode, c.trial.mode):
        forget(c)
    if c.trial is None or c.inverse is None:
        known = find(c, mode)
        if known is None and len(c.modes) >= MAX_MODES:
            return
        c.trial = (known or Learned.begin(mode, r, settings)).copy()
        c.inverse = unpack(c.trial.inverse, r.weights.shape[1])
    c.count += 1
    c.foretold += score is not None and score <= 1.0
    c.surprised |= score is not None and score > 1.0
    c.trial.gap = np.maximum(c.trial.gap, np.abs(gap))
    alpha = weight(r.interval_s, r.interval_s, settings)
    correlated = np.clip(r.smooth_sigma**2 * (2 - alpha) / alpha, 1.0, 50.0)
    limit = r.sigma * (CLIP + np.abs(smoothed))
    _learn(c.trial.weights, c.inverse, phi, y, limit=limit, correlated=correlated)


def _learn(
    weights: Vector, inverse: Vector, phi: Vector, y: Vector, *, limit: Vector, correlated: Vector
) -> None:
    """Move the weights by one reading, worth ``1 / correlated`` of an independent one."""
    pull = (inverse @ phi[:, :, None])[:, :, 0]
    gain = pull / (correlated + (pull * phi).sum(axis=1))[:, None]
    left = np.clip(y - (phi * weights).sum(axis=1), -limit, limit)
    fresh = ~np.isnan(left)
    weights[fresh] += gain[fresh] * left[fresh, None]
    inverse[fresh] -= gain[fresh, :, None] * pull[fresh, None, :]


def accept(c: Visits, r: Reference, settings: Settings, calm: int) -> bool:
    """Take an open visit over once the machine has been calm for long enough after it."""
    if c.trial is None or c.inverse is None or calm < AFTER_TIMES * settings.smoothing_samples:
        return False
    before, now = find(c, c.trial.mode), c.trial
    if before is not None:
        now.gap = np.minimum(now.gap, before.gap)
    now.inverse = pack(c.inverse)
    now.count += c.count
    foretold = not c.surprised and c.foretold * 2 >= c.count
    if foretold and now.count >= settings.commissioning_samples:
        now.known = True
        r.jump = np.maximum(r.jump, JUMP_MARGIN * now.gap)
    c.modes = [m for m in c.modes if m is not before] + [now]
    forget(c)
    return True
