"""From residuals to a score, and from scores to an alarm: the maths of one machine's tick."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.faults import Deviation, Direction
from models.conditions import regressors
from models.reference import CLIP, Reference
from models.sample import Vector
from models.settings import Settings

MAX_DEVIATIONS = 8
LEADING_SIGMAS = 4.0
"""A response this far out when the alarm is raised must be seen again before it can end."""
STALE_SAMPLES = 10
"""A response without a value for so many judged readings is left out of the score."""


class Verdict(Struct):
    """Smoothed residuals and the alarm's memory; one entry per usable response."""

    smoothed: Vector
    """In sigmas of one reading."""
    leverage: Vector
    """Smoothed like the residuals."""
    stale: NDArray[np.int64]
    """Judged readings since the response last had a value, at most `STALE_SAMPLES`."""
    expected: Vector
    leading: NDArray[np.bool_]
    """Responses that raised the standing alarm: without them it cannot end."""
    aside: tuple[Vector, Vector]
    """Smoothed residuals and leverage by the weights that are not in use now."""
    elsewhere: bool = False
    """Whether those in use are of a mode never commissioned."""
    above: int = 0
    """One bit per recent judged reading, newest lowest: was it above the alarm level?"""
    calm: int = 0
    """Judged readings in a row below the clearing level."""
    alarm: bool = False


def empty(count: int) -> Verdict:
    """Return the memory before the first judged reading; every response must show itself first."""
    return Verdict(
        np.zeros(count), np.zeros(count), np.full(count, STALE_SAMPLES, dtype=np.int64),
        np.full(count, np.nan), np.zeros(count, dtype=bool), (np.zeros(count), np.zeros(count)),
    )  # fmt: skip


def turn(v: Verdict, *, elsewhere: bool) -> None:
    """Change to other weights: residuals by the former ones say nothing about these.

    Under an alarm these go on where they left off, so that it does not end unseen; without one they
    start anew, for what they left off with may be long over.
    """
    if elsewhere != v.elsewhere:
        v.elsewhere = elsewhere
        (v.smoothed, v.leverage), v.aside = v.aside, (v.smoothed, v.leverage)
        if not v.alarm:
            v.smoothed = np.zeros(len(v.smoothed))


def smooth(v: Verdict, r: Reference, lagging: Vector, y: Vector, alpha: float) -> None:
    """Take one reading's residuals in."""
    phi = regressors(lagging, r.first, r.second, r.centre)
    v.expected = (phi * r.weights).sum(axis=1)
    limit = CLIP + np.abs(v.smoothed)  # a spike passes quickly, but what lasts counts in full
    z = np.minimum(np.maximum((y - v.expected) / r.sigma, -limit), limit)
    fresh = ~np.isnan(z)
    v.smoothed += alpha * np.where(fresh, z - v.smoothed, 0.0)
    v.stale = np.where(fresh, 0, np.minimum(v.stale + 1, STALE_SAMPLES))
    leverage = ((r.inverse @ phi[:, :, None])[:, :, 0] * phi).sum(axis=1)
    v.leverage += alpha * (np.maximum(leverage, 0.0) - v.leverage)


def spread(v: Verdict, r: Reference, time_ns: int, settings: Settings) -> Vector:
    """Return the expected deviation of each smoothed residual, in sigmas of one reading."""
    age_s = min(abs(time_ns - r.middle_ns) / 1e9, r.span_s)
    wrong = settings.model_error * (v.expected - r.middle) / r.sigma
    wide: Vector = np.sqrt(r.smooth_sigma**2 + v.leverage + r.drift * age_s + wrong**2)
    return wide


def judged(v: Verdict, wide: Vector, r: Reference, settings: Settings) -> NDArray[np.bool_]:
    """Return which responses can be judged now: fresh, and conditions not too unfamiliar."""
    familiar = wide <= np.maximum(settings.unfamiliar, 1.5 * r.smooth_sigma)
    here: NDArray[np.bool_] = (v.stale < STALE_SAMPLES) & familiar
    return here


def score(r: Reference, sigma: Vector, here: NDArray[np.bool_]) -> float:
    """Return the score of the responses that are judged; 1.0 is the alarm level."""
    deviation = sigma[here]
    precision = r.precision if here.all() else np.linalg.inv(r.correlation[np.ix_(here, here)])
    t2 = float(deviation @ precision @ deviation)
    everything = np.sqrt(max(t2, 0.0)) / r.level_all[len(deviation)]
    return float(max(everything, np.abs(deviation).max() / r.level_one))


def decide(v: Verdict, value: float, sigma: Vector, settings: Settings) -> None:
    """Raise or end the alarm by one judged score."""
    window = settings.confirm_samples + 1
    v.above = ((v.above << 1) | (value > 1.0)) & ((1 << window) - 1)
    v.calm = v.calm + 1 if value < settings.clear_below else 0
    if v.above.bit_count() >= settings.confirm_samples:
        v.alarm = True
        v.leading |= np.abs(sigma) >= LEADING_SIGMAS
    elif v.calm >= settings.clear_samples:
        v.alarm = False
        v.leading[:] = False


def deviations(
    names: list[str], v: Verdict, sigma: Vector, y: Vector, here: NDArray[np.bool_]
) -> list[Deviation]:
    """Return the judged responses by size of their deviation, largest first."""
    where = np.flatnonzero(here)
    ranked = where[np.argsort(-np.abs(sigma[where]), kind="stable")][:MAX_DEVIATIONS]
    return [
        Deviation(
            names[i],
            Direction.ABOVE if sigma[i] >= 0 else Direction.BELOW,
            abs(float(sigma[i])),
            None if np.isnan(y[i]) else float(y[i]),
            float(v.expected[i]),
        )
        for i in ranked
    ]
