"""What `models.monitor_kernel` works on, made from a reference, and its answer in words."""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.faults import Deviation, Direction
from models import monitor_kernel as kernel
from models.conditions import JUMP_LAG, LAGS_S, curves
from models.reference import Reference, known_from
from models.sample import Layout, Vector
from models.settings import Settings
from models.visits import MAX_MODES, Learned

MAX_DEVIATIONS = 8
_SLOW_SAMPLES = 50.0
"""Deviations are averaged over the longest lag that explains a response, and at least so many
readings: five time constants of the smoothed residual."""


class Verdict(Struct):
    """What is known of the usable responses now, and the alarm's memory."""

    memory: NDArray[np.int64]
    owed_s: Vector
    """Time that the machine is given to come back from a stop: one number."""
    now: Vector
    """[row of `models.monitor_kernel`, response]."""

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return everything."""
        return self.memory, self.owed_s, self.now

    @property
    def alarm(self) -> bool:
        """Whether the machine's alarm stands."""
        return bool(self.memory[kernel.ALARM])

    @property
    def calm(self) -> int:
        """Judged readings in a row below the clearing level."""
        return int(self.memory[kernel.CALM_ROWS])

    @property
    def back(self) -> NDArray[np.bool_]:
        """Which responses have been seen where they belong since the last stop."""
        found: NDArray[np.bool_] = self.now[kernel.BACK] > 0
        return found


def empty(r: Reference | None = None) -> Verdict:
    """Return the memory before the first judged reading; every response must show itself first."""
    now = np.zeros((kernel.HERE + 1, len(r.sigma) if r else 0))
    now[kernel.STALE] = kernel.STALE_SAMPLES
    now[kernel.BACK] = 1.0
    now[[kernel.MEAN, kernel.VALUE, kernel.EXPECTED]] = np.nan
    now[kernel.NEAREST] = np.inf
    memory = np.zeros(kernel.NEW + 1, dtype=np.int64)
    memory[kernel.MIDDLE_NS] = r.middle_ns if r else 0
    return Verdict(memory, np.zeros(1), now)


def alike(some: tuple[NDArray[Any], ...], others: tuple[NDArray[Any], ...]) -> bool:
    """Tell whether compiled code may take ones for the others: it looks at no bounds."""
    return all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(some, others, strict=True))


def fits(r: Reference, found: list[Learned], layout: Layout) -> bool:
    """Tell whether compiled code may take a saved reference and modes learned since."""
    n, drivers, slots = len(r.sigma), len(layout.drivers), layout.slot_count
    width = 1 + 2 * (drivers + curves(layout) + slots)
    one, square, lag = np.zeros(n), np.zeros((n, n)), np.zeros(n, dtype=np.int64)
    weights, packed = np.zeros((n, width)), np.zeros((n, width * (width + 1) // 2))
    each = ((m.mode, m.weights, m.inverse, m.gap) for m in found)
    gap, mode = np.zeros(drivers), np.zeros(slots)
    return (
        alike(
            (r.usable, r.first, r.second, r.middle, r.sigma, r.smooth_sigma, r.drift, r.correlation,
             r.precision, r.level_all, r.centre, r.jump, r.places_seen, r.weights, r.inverse),
            (np.zeros(len(layout.responses), dtype=bool), lag, lag, one, one, one, one, square,
             square, np.zeros(n + 1), np.zeros((width - 1) // 2), gap, mode, weights, packed),
        )
        and n == r.usable.sum() > 0
        and all(((place >= 0) & (place < len(LAGS_S))).all() for place in (r.first, r.second))
        and len(found) <= MAX_MODES
        and all(alike(m, (mode, weights, packed, gap)) for m in each)
    )  # fmt: skip


def fixed(r: Reference | None) -> Vector:
    """Return what commissioning found of the responses, as a table."""
    if r is None:
        return np.zeros((kernel.MATRICES, 0))
    rows = [
        np.flatnonzero(r.usable), r.first, r.second, LAGS_S[r.first], r.middle, r.sigma,
        r.smooth_sigma, r.drift, r.level_all[1:],
    ]  # fmt: skip
    table: Vector = np.concatenate([np.stack(rows), r.correlation, r.precision])
    return table


def course(r: Reference | None, width: int) -> Vector:
    """Return what it found of the conditions, as a table."""
    table = np.full((2, width), np.inf)
    if r is not None:
        table[kernel.CENTRE] = r.centre
        table[kernel.JUMP, : len(r.jump)] = r.jump
    return table


def modes(r: Reference | None, layout: Layout) -> Vector:
    """Return the table of mode places."""
    seen = np.zeros(layout.slot_count) if r is None else r.places_seen
    return np.stack([layout.judged_slots.astype(float), seen])


def learned(found: list[Learned], layout: Layout) -> Vector:
    """Return the modes learned after commissioning, as a table."""
    table = np.full((MAX_MODES, 1 + layout.slot_count), np.nan)
    for row, m in zip(table, found, strict=False):
        row[0], row[1:] = m.known, m.mode
    return table[: len(found)]


def numbers(r: Reference | None, settings: Settings, layout: Layout) -> Vector:
    """Return the settings and single numbers of the reference."""
    s, table = settings, np.full(kernel.RESPONSES + 1, np.nan)
    for place, value in (
        (kernel.SETTLE_S, s.settle_s), (kernel.KNOWN_FROM, known_from(s)),
        (kernel.SMOOTHING, s.smoothing_samples), (kernel.CLEAR_BELOW, s.clear_below),
        (kernel.CONFIRM, s.confirm_samples), (kernel.CLEAR, s.clear_samples),
        (kernel.MODEL_ERROR, s.model_error), (kernel.UNFAMILIAR, s.unfamiliar),
        (kernel.JUMP_LAG, JUMP_LAG), (kernel.RESPONSES, len(layout.responses)),
    ):  # fmt: skip
        table[place] = value
    if r is not None:
        table[kernel.INTERVAL_S], table[kernel.SPAN_S] = r.interval_s, r.span_s
        table[kernel.LEVEL_ONE], table[kernel.SLOW_S] = r.level_one, slow_s(r)
    return table


def slow_s(r: Reference) -> float:
    """Return the time that a real change's consequences may take."""
    lag_s = max(LAGS_S[r.first].max(), LAGS_S[r.second].max())
    return max(float(lag_s), _SLOW_SAMPLES * r.interval_s)


def deviations(names: list[str], now: Vector) -> list[Deviation]:
    """Return the judged responses by size of their deviation, largest first."""
    sigma, value, expected = now[kernel.SIGMA], now[kernel.VALUE], now[kernel.EXPECTED]
    where = np.flatnonzero(now[kernel.HERE] > 0)
    ranked = where[np.argsort(-np.abs(sigma[where]), kind="stable")][:MAX_DEVIATIONS]
    return [
        Deviation(
            names[i],
            Direction.ABOVE if sigma[i] >= 0 else Direction.BELOW,
            abs(float(sigma[i])),
            None if np.isnan(value[i]) else float(value[i]),
            float(expected[i]),
        )
        for i in ranked
    ]
