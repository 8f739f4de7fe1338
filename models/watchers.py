"""All machines of one type under watch, many rows at a time.

    watchers = Watchers(machine_type, 1000)
    scores, states = watchers.update(which, times_ns, values, quality)

Where a machine stands out, `assessment` tells everything about its newest row.
"""

import numpy as np

from contract.machines import MachineType, Role
from models.bare import Bare
from models.checks_kernel import Counts, Floats, Marks
from models.monitor import Assessment, Monitor
from models.settings import DEFAULT, Settings


class _Told:
    """Watches machines whose type declares drivers or modes, each by a `Monitor` of its own."""

    def __init__(self, machine: MachineType, count: int, settings: Settings) -> None:
        self._machine, self._settings = machine, settings
        self._each = [Monitor(machine, settings) for _ in range(count)]
        self._width = len(machine.signals)

    def update(
        self, which: Counts, times_ns: Counts, values: Floats, quality: Marks
    ) -> tuple[Floats, Marks]:
        n, k = len(which), self._width
        if values.shape != (n, k) or quality.shape != (n, k) or len(times_ns) != n:
            raise ValueError(
                f"{n} rows of {k} signals need times, values and quality; "
                f"got {len(times_ns)}, {values.shape} and {quality.shape}"
            )
        if n and not (which.min() >= 0 and which.max() < len(self._each)):
            raise ValueError(f"machines are numbered from 0 to {len(self._each) - 1}")
        score, state = np.empty(n), np.empty(n, np.uint8)
        for i, (m, now) in enumerate(zip(which.tolist(), times_ns.tolist(), strict=True)):
            score[i], state[i] = self._each[m].judge_row(now, values[i], quality[i])
        return score, state

    def assessment(self, m: int) -> Assessment:
        return self._each[m].assessment()

    def progress(self) -> Floats:
        return np.array([one.progress for one in self._each], np.float64)

    def recommission(self, m: int) -> None:
        self._each[m].recommission()

    def save(self, m: int) -> bytes:
        return self._each[m].save()

    def restore(self, m: int, data: bytes) -> None:
        self._each[m] = Monitor.restore(self._machine, data, self._settings)


def told(machine: MachineType) -> bool:
    """Tell whether the type says which signals are causes."""
    return bool(machine.with_role(Role.DRIVER) or machine.with_role(Role.MODE))


class Watchers:
    """Watches the machines of one type. Data of any kind never makes it raise."""

    def __init__(self, machine: MachineType, count: int, settings: Settings = DEFAULT) -> None:
        """Watch ``count`` machines, numbered from 0, that nothing is known of yet."""
        self.signals = tuple(s.name for s in machine.signals)
        watch = _Told if told(machine) else Bare
        self._all: _Told | Bare = watch(machine, count, settings)

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
        return self._all.update(which, times_ns, values, quality)

    def assessment(self, m: int) -> Assessment:
        """Return everything about the newest row of machine ``m``."""
        return self._all.assessment(m)

    def progress(self) -> Floats:
        """Return each machine's share of commissioning that is done, 0 to 1."""
        return self._all.progress()

    def recommission(self, m: int) -> None:
        """Forget a machine's reference and learn it anew, after a repair or a change of duty."""
        self._all.recommission(m)

    def save(self, m: int) -> bytes:
        """Return everything needed to go on exactly here with machine ``m``."""
        return self._all.save(m)

    def restore(self, m: int, data: bytes) -> None:
        """Go on with machine ``m`` from saved bytes.

        Raises:
            Malformed: damaged, or saved for other signals, units, settings or by another version;
                nothing has changed.
        """
        self._all.restore(m, data)

    def copy(self, m: int, other: "Watchers", to: int) -> None:
        """Make machine ``to`` of watchers of the same type exactly like machine ``m`` is now."""
        other.restore(to, self.save(m))
