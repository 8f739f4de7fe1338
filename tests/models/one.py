"""`Watchers` of one machine, with the face of a `Monitor`."""

import numpy as np

from contract.machines import MachineType
from contract.telemetry import Quality, Reading
from models.monitor import Assessment
from models.settings import DEFAULT, Settings
from models.watchers import Watchers


class One:
    """Watches one machine, reading by reading."""

    def __init__(self, machine: MachineType, settings: Settings = DEFAULT) -> None:
        self._watchers = Watchers(machine, 1, settings)

    def update(self, reading: Reading) -> Assessment:
        """Judge one reading; readings come in order of event time, others are not judged."""
        names = self._watchers.signals
        values = [reading.values.get(name) for name in names]
        marks = [reading.quality.get(name, Quality.GOOD) for name in names]
        self._watchers.update(
            np.zeros(1, np.int64), np.array([reading.time_ns]),
            np.array([values], np.float64), np.array([marks], np.uint8),
        )  # fmt: skip
        return self._watchers.assessment(0)

    @property
    def progress(self) -> float:
        """Share of commissioning that is done, 0 to 1."""
        return float(self._watchers.progress()[0])

    def recommission(self) -> None:
        """Forget the reference and learn it anew, after a repair or a change of duty."""
        self._watchers.recommission(0)

    def save(self) -> bytes:
        """Return everything needed to go on exactly here."""
        return self._watchers.save(0)

    @classmethod
    def restore(cls, machine: MachineType, data: bytes, settings: Settings = DEFAULT) -> "One":
        """Go on from saved bytes.

        Raises:
            Malformed: damaged, or saved for other signals, units, settings or by another version.
        """
        watcher = cls(machine, settings)
        watcher._watchers.restore(0, data)
        return watcher
