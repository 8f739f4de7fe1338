"""A reading as vectors: what detection takes from it, in a fixed order."""

import math
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.machines import MachineType, Role, Signal
from contract.telemetry import Quality, Reading

Vector = NDArray[np.floating[Any]]
"""Numbers of any shape."""


RANGE_MARGIN = 0.02
"""Share of a plausible range that noise may reach beyond it when a signal is pegged at its end."""


class Layout:
    """Which signals of a machine type stand where; fixed for a monitor's life."""

    def __init__(self, machine: MachineType) -> None:
        self.signals = [s.name for s in machine.signals]
        self.responses = [s.name for s in machine.with_role(Role.RESPONSE)]
        drivers = machine.with_role(Role.DRIVER)
        self.drivers = [s.name for s in drivers]
        self.modes = machine.with_role(Role.MODE)
        self.checked = machine.with_role(Role.RESPONSE) + drivers
        self.low = np.array([s.range[0] for s in self.checked], dtype=float)
        self.high = np.array([s.range[1] for s in self.checked], dtype=float)
        self.margin = RANGE_MARGIN * (self.high - self.low)
        count = len(self.responses)
        self.driver_scale = (self.high - self.low)[count:] / 4
        self.pairs = np.triu_indices(len(self.drivers))
        self.slots = [_slots(s) for s in self.modes]
        self.slot_count = sum(len(s) + 1 for s in self.slots)
        self.judged_slots = _judged_slots(self.modes, self.slots)
        self.gain_slots = np.flatnonzero(self.judged_slots)[1:] if self.modes else np.zeros(0, int)
        """Judged modes beyond the first, in which a driver may act otherwise."""

    def fingerprint(self) -> list[list[str]]:
        """Return what a saved model depends on, readable in an error message."""
        return [
            [
                s.name,
                s.unit,
                s.role.value,
                repr(s.range),
                repr(sorted(s.modes)),
                repr(s.judged_modes),
            ]
            for s in self.checked + self.modes
        ]


def _slots(signal: Signal) -> dict[int, int]:
    """Map a mode's numbers to places; one more place stands for every other number."""
    numbers = {int(n) for n in signal.modes if n.lstrip("-").isdigit()} | set(signal.judged_modes)
    return {n: i for i, n in enumerate(sorted(numbers))}


def _judged_slots(modes: list[Signal], slots: list[dict[int, int]]) -> NDArray[np.bool_]:
    parts = []
    for signal, places in zip(modes, slots, strict=True):
        judged = np.ones(len(places) + 1, dtype=bool)
        if signal.judged_modes:
            judged[:] = False
            judged[[places[n] for n in signal.judged_modes]] = True
        parts.append(judged)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


class Sample(Struct):
    """One reading in the layout's order. NaN where there is no trustworthy value."""

    time_ns: int
    raw: Vector
    """Responses, then drivers, as read, whatever their quality."""
    usable: Vector
    """The same, but NaN unless the quality is good and the value plausible."""
    outside: NDArray[np.bool_]
    """Clearly outside the plausible range, by more than noise at its end can be."""
    invalid: NDArray[np.bool_]
    """Marked by the device as no valid value."""
    mode: Vector
    """One-hot places of the mode signals; all zero where the mode is missing."""


def sample(layout: Layout, reading: Reading) -> Sample:
    """Take from a reading what the layout names; anything else in it is ignored."""
    values, quality = reading.values, reading.quality
    raw = np.array([_number(values.get(s.name)) for s in layout.checked], dtype=float)
    marks = np.array([quality.get(s.name, Quality.GOOD) for s in layout.checked], dtype=np.int64)
    implausible = (raw < layout.low) | (raw > layout.high)
    outside = (raw < layout.low - layout.margin) | (raw > layout.high + layout.margin)
    usable = np.where(implausible | (marks != Quality.GOOD), np.nan, raw)
    invalid = marks == Quality.BAD
    return Sample(reading.time_ns, raw, usable, outside, invalid, _mode(layout, reading))


def row(layout: Layout, reading: Reading) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return a reading as a row: values in order of the machine type's signals, and their marks."""
    values, quality = reading.values, reading.quality
    numbers = np.array([_number(values.get(name)) for name in layout.signals], dtype=np.float64)
    marks = [quality.get(name, Quality.GOOD) for name in layout.signals]
    return numbers, np.array(marks, dtype=np.uint8)


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and -1e300 < value < 1e300:
        return float(value)
    return math.nan


def _mode(layout: Layout, reading: Reading) -> Vector:
    onehot = np.zeros(layout.slot_count)
    start = 0
    for signal, places in zip(layout.modes, layout.slots, strict=True):
        value = _number(reading.values.get(signal.name))
        good = reading.quality.get(signal.name, Quality.GOOD) <= Quality.UNCERTAIN
        if good and not math.isnan(value):
            onehot[start + places.get(round(value), len(places))] = 1.0
        start += len(places) + 1
    return onehot
