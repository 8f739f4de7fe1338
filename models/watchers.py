"""All machines of one type under watch, many rows at a time.

    watchers = Watchers(machine_type, 1000)
    scores, states = watchers.update(which, times_ns, values, quality)

Where a machine stands out, `assessment` tells everything about its newest row.
"""

import copy

import numpy as np
from numpy.typing import NDArray

from contract.machines import MachineType
from models.monitor import Assessment
from models.settings import DEFAULT, Settings
from models.unaided import kind

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Marks = NDArray[np.uint8]


class Watchers:
    """Watches the machines of one type. Data of any kind never makes it raise."""

    def __init__(self, machine: MachineType, count: int, settings: Settings = DEFAULT) -> None:
        """Watch ``count`` machines, numbered from 0, that nothing is known of yet."""
        self.signals = tuple(s.name for s in machine.signals)
        self._machine, self._settings, self._kind = machine, settings, kind(machine)
        self._each = [self._kind(machine, settings) for _ in range(count)]

    def update(
        self, which: Counts, times_ns: Counts, values: Floats, quality: Marks
    ) -> tuple[Floats, Marks]:
        """Judge rows; the rows of one machine are in order of event time, others are not judged.

        Args:
            which: machine number of each row, (n,).
            times_ns: event time of each row, (n,).
            values: all signals of the type, (n, k); NaN where there is none.
            quality: a `Quality` for each value, as on the wire, (n, k).

        Returns:
            Each row's score, NaN where nothing could be judged, and its state as a place in
            ``tuple(State)``.
        """
        score, state = np.full(len(which), np.nan), np.zeros(len(which), np.uint8)
        for i, m in enumerate(which.tolist()):
            score[i], state[i] = self._each[m].judge_row(int(times_ns[i]), values[i], quality[i])
        return score, state

    def assessment(self, m: int) -> Assessment:
        """Return everything about the newest row of machine ``m``."""
        return self._each[m].assessment()

    def progress(self) -> Floats:
        """Return each machine's share of commissioning that is done, 0 to 1."""
        return np.array([one.progress for one in self._each], np.float64)

    def recommission(self, m: int) -> None:
        """Forget a machine's reference and learn it anew, after a repair or a change of duty."""
        self._each[m].recommission()

    def save(self, m: int) -> bytes:
        """Return everything needed to go on exactly here with machine ``m``."""
        return self._each[m].save()

    def restore(self, m: int, data: bytes) -> None:
        """Go on with machine ``m`` from saved bytes.

        Raises:
            Malformed: damaged, or saved for other signals, units, settings or by another version.
        """
        self._each[m] = self._kind.restore(self._machine, data, self._settings)

    def copy(self, m: int, other: "Watchers", to: int) -> None:
        """Make machine ``to`` of watchers of the same type exactly like machine ``m``."""
        other._each[to] = copy.deepcopy(self._each[m])  # noqa: SLF001 - of its own class
