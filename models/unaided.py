"""Machines whose type declares neither drivers nor modes: nobody said which signals are causes.

They are watched by the fleet detector, which finds out by itself what explains what, behind the
same face as the `Monitor` of machines that are better known.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.faults import Deviation, Direction
from contract.machines import MachineType, Role
from contract.telemetry import Quality, Reading
from models import artefact, checks
from models.checks import Checks
from models.fleet import Fleet
from models.judge import MAX_DEVIATIONS
from models.monitor import MAX_ROWS, STATES, Assessment, Monitor, State
from models.sample import Layout, Vector, sample
from models.settings import DEFAULT, Settings


class _Kept(Struct):
    """Everything that is remembered."""

    fleet: bytes
    checks: Checks


class Unaided:
    """Watches one machine by its bare signals. Data of any kind never makes it raise."""

    def __init__(self, machine: MachineType, settings: Settings = DEFAULT) -> None:
        self._layout, self._settings = Layout(machine), settings
        rows = settings.commissioning_s / machine.poll_interval_s
        wanted = max(settings.commissioning_samples, rows)
        self._fleet = Fleet(self._layout.responses, 1, int(min(wanted, MAX_ROWS)))
        self._checks = checks.empty(self._layout)
        self._signals = [s.name for s in machine.signals]
        self._newest = Assessment(0, State.COMMISSIONING, None, [], [], 0.0)

    def judge_row(
        self, time_ns: int, values: NDArray[np.float64], quality: NDArray[np.uint8]
    ) -> tuple[float, int]:
        """Judge one row as `Monitor.judge_row` does."""
        names = self._signals
        row = dict(zip(names, values.tolist(), strict=True))
        marks = [Quality(min(q, 3)) for q in quality.tolist()]
        found = self.update(Reading(time_ns, row, dict(zip(names, marks, strict=True))))
        return (math.nan if found.score is None else found.score), STATES.index(found.state)

    def assessment(self) -> Assessment:
        """Return everything about the newest row."""
        return self._newest

    def update(self, reading: Reading) -> Assessment:
        """Judge one reading; readings come in order of event time, others are not judged."""
        self._newest = self._update(reading)
        return self._newest

    def _update(self, reading: Reading) -> Assessment:
        with np.errstate(all="ignore"):
            s = sample(self._layout, reading)
            before = self._fleet.progress(0)
            checks.advance(self._checks, s, self._layout, self._settings, judged=True)
            if before < 1.0:
                checks.observe(self._checks, s)
            score, alarm = self._fleet.update(
                np.zeros(1, np.int64), np.array([s.time_ns]), s.usable[None, :]
            )
            if before < 1.0 <= self.progress:
                checks.commission(self._checks)
            found = checks.results(self._checks, s, self._layout)
            judged = before >= 1.0 and bool(np.isfinite(s.usable).any())
            state = State.COMMISSIONING if self.progress < 1.0 else State.UNJUDGED
            if found or alarm[0]:
                state = State.ALARM
            elif judged:
                state = State.HEALTHY
            seen = self._deviations(s.usable) if judged else []
            value = float(score[0]) if judged else None
            return Assessment(s.time_ns, state, value, seen, found, self.progress)

    def _deviations(self, values: Vector) -> list[Deviation]:
        place = {name: i for i, name in enumerate(self._layout.responses)}
        return [
            Deviation(
                a.signal,
                Direction.ABOVE if a.sigmas >= 0 else Direction.BELOW,
                abs(a.sigmas),
                None if np.isnan(values[place[a.signal]]) else float(values[place[a.signal]]),
                a.expected,
            )
            for a in self._fleet.attribution(0)[:MAX_DEVIATIONS]
        ]

    @property
    def progress(self) -> float:
        """Share of commissioning that is done, 0 to 1."""
        return self._fleet.progress(0)

    def recommission(self) -> None:
        """Forget the reference and learn it anew, after a repair or a change of duty."""
        self._fleet.recommission(0)
        self._checks = checks.empty(self._layout)

    def save(self) -> bytes:
        """Return everything needed to go on exactly here."""
        return artefact.pack(_Kept(self._fleet.save(), self._checks), self._made_from())

    def _made_from(self) -> list[list[str]]:
        return [["unaided", repr(self._settings)], *self._layout.fingerprint()]

    @classmethod
    def restore(cls, machine: MachineType, data: bytes, settings: Settings = DEFAULT) -> "Unaided":
        """Go on from saved bytes.

        Raises:
            Malformed: damaged, or saved for other signals, units, settings or by another version.
        """
        watcher = cls(machine, settings)
        kept = artefact.unpack(data, _Kept, watcher._made_from())
        watcher._fleet = Fleet.restore(watcher._layout.responses, kept.fleet)
        watcher._checks = kept.checks
        return watcher


Watcher = Monitor | Unaided


def kind(machine: MachineType) -> type[Monitor] | type[Unaided]:
    """Return what watches machines of this type."""
    told = machine.with_role(Role.DRIVER) or machine.with_role(Role.MODE)
    return Monitor if told else Unaided
