"""What the fleet detector keeps of every machine: flat arrays, the first axis is the machine."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import factors
from models.factors import Array
from models.terms import MAX_TERMS

Counts = NDArray[np.int64]

MAX_FEATURES = 64
"""Places for terms of all signals together; many are shared."""


class Reference(NamedTuple):
    """What commissioning found of each machine."""

    ready: NDArray[np.bool_]
    interval_ns: Counts
    centre: Array
    scale: Array
    """1 / standard deviation; 0 for a signal that cannot be judged."""
    low: Array
    high: Array
    features: Counts
    """How many of the feature places below are in use."""
    a: Counts
    b: Counts
    lag: Array
    floor: Array
    ceiling: Array
    terms: Counts
    term: Counts
    term_centre: Array
    term_scale: Array
    weight: Array
    spread: Array
    memory: Array
    """Rows that carry as much news as one independent row."""
    noise: Array
    """1 / standard deviation of the residual."""
    agility: Array
    """What moving conditions add to the variance, per square of what they move."""
    matrix: Array
    """(signal, factor)."""
    precision: Array
    """1 / variance of each moving average of each factor."""
    freedom: Array
    trust: Array
    scales: Counts
    level_all: Array
    level_one: Array


class Live(NamedTuple):
    """Where each machine stands."""

    last_ns: Counts
    rows: Counts
    gone: Counts
    """Values missing in the newest row."""
    held: Counts
    """Rows since each signal had a value."""
    z: Array
    state: Array
    slow: Array
    excess: Array
    toll: Array
    residual: Array
    unsure: Array
    """Variance that doubtful predictions add to each residual, in units of its own."""
    doubt: Array
    """The same for each factor."""
    level: Array
    busy: NDArray[np.bool_]
    """Whether the next row needs a decision even if its score is low."""
    alarm: NDArray[np.bool_]
    above: Counts
    calm: Counts
    alarm_rows: Counts
    recovery: Counts
    lowest: Array
    dear: Array
    """How many times the level a score must be for an alarm."""
    fault: Array
    size: Array
    score: Array


def empty(machines: int, d: int) -> tuple[Reference, Live]:
    """Return the arrays of machines that know nothing yet."""
    m, scales, f, k = machines, len(factors.WEIGHTS), MAX_FEATURES, MAX_TERMS

    def zeros(*shape: int) -> Array:
        return np.zeros((m, *shape))

    def counts(*shape: int) -> NDArray[np.int64]:
        return np.zeros((m, *shape), np.int64)

    reference = Reference(
        ready=np.zeros(m, bool), interval_ns=counts() + 1, centre=zeros(d), scale=zeros(d),
        low=zeros(d), high=zeros(d), features=counts(), a=counts(f), b=counts(f) - 1, lag=zeros(f),
        floor=zeros(f), ceiling=zeros(f), terms=counts(d), term=counts(d, k),
        term_centre=zeros(d, k), term_scale=zeros(d, k), weight=zeros(d, k + 1),
        spread=zeros(d, k + 1, k + 1), memory=zeros(d) + 1, noise=zeros(d), agility=zeros(d),
        matrix=zeros(d, d), precision=zeros(scales, d) + 1, freedom=zeros(scales, d) + 1,
        trust=zeros(scales, d), scales=counts(), level_all=zeros(), level_one=zeros(),
    )  # fmt: skip
    live = Live(
        last_ns=counts() - 1, rows=counts(), gone=counts(), held=counts(d),
        z=zeros(d), state=zeros(f),
        slow=zeros(f), excess=zeros(d), toll=zeros(d), residual=zeros(d), unsure=zeros(d),
        doubt=zeros(d), level=zeros(scales, d), busy=np.zeros(m, bool),
        alarm=np.zeros(m, bool),
        above=counts(), calm=counts(), alarm_rows=counts(), recovery=counts(), lowest=zeros(),
        dear=zeros() + 1, fault=zeros(scales, d), size=zeros(scales), score=zeros(),
    )  # fmt: skip
    return reference, live


def forget(r: Reference, s: Live, m: int) -> None:
    """Set one machine back to where it knows nothing."""
    blank = empty(1, r.centre.shape[1])
    for arrays, fresh in zip((r, s), blank, strict=True):
        for array, value in zip(arrays, fresh, strict=True):
            array[m] = value[0]


def attribute(r: Reference, s: Live, m: int) -> tuple[Array, Array]:
    """Return each signal's smoothed residual in its own deviations, and what it should read."""
    judged = r.scale[m] > 0
    back = np.linalg.pinv(r.matrix[m].T)
    # the fastest average in which the machine stands out most
    n = r.scales[m]
    square = s.level[m, :n] ** 2 / (1 / r.precision[m, :n] + s.doubt[m])
    c = int(np.argmax((r.freedom[m, :n] * np.log1p(square / r.freedom[m, :n])).sum(1)))
    residual = back @ s.level[m, c]
    usual = np.sqrt(np.square(back) @ (1 / r.precision[m, c]) + s.unsure[m])
    sigmas = np.where(judged, residual / np.maximum(usual, 1e-9), 0.0)
    noise = np.where(r.noise[m] > 0, r.noise[m], 1.0)
    z = s.z[m] - s.residual[m] / noise
    expected = r.centre[m] + np.where(judged, z / np.where(judged, r.scale[m], 1.0), 0.0)
    return sigmas, expected


def calm(s: Live, m: int) -> None:
    """Forget alarms, but nothing else."""
    s.alarm[m], s.busy[m] = False, False
    s.above[m], s.calm[m], s.recovery[m], s.score[m], s.dear[m] = 0, 0, 0, 0.0, 1.0
