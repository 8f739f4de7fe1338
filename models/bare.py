"""Machines whose type declares neither drivers nor modes: nobody said which signals are causes.

They are watched by the fleet detector, which finds out by itself what explains what, and by the
checks of each sensor: both for all machines at once.
"""

from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.faults import Deviation, Direction
from contract.machines import MachineType
from contract.telemetry import Quality
from models import artefact, bare_kernel, checks, checks_kernel, fleet, memory
from models.checks_kernel import Counts, Floats, Marks
from models.fleet import Fleet
from models.judge import MAX_DEVIATIONS
from models.monitor import MAX_ROWS, STATES, Assessment
from models.sample import Layout, Sample
from models.settings import Settings


class _Kept(Struct):
    """Everything that is remembered of one machine."""

    fleet: fleet.Kept
    checks: bytes
    newest: bytes


class _Newest(NamedTuple):
    """Each machine's newest row and what was answered."""

    time_ns: Counts
    score: Floats
    """NaN: not judged."""
    state: Marks
    raw: Floats
    quality: Marks


class _Rows(NamedTuple):
    """Rows under way."""

    which: Counts
    times_ns: Counts
    raw: Floats
    usable: Floats
    grade: NDArray[np.int8]
    quality: Marks

    def part(self, keep: NDArray[np.bool_] | slice) -> "_Rows":
        return _Rows(
            self.which[keep], self.times_ns[keep], self.raw[keep], self.usable[keep],
            self.grade[keep], self.quality[keep],
        )  # fmt: skip


def _nothing(layout: Layout, machines: int) -> _Newest:
    each = machines, len(layout.checked)
    return _Newest(
        np.zeros(machines, np.int64), np.full(machines, np.nan), np.zeros(machines, np.uint8),
        np.full(each, np.nan), np.zeros(each, np.uint8),
    )  # fmt: skip


class Bare:
    """Watches machines by their bare signals; see `models.watchers.Watchers`."""

    def __init__(self, machine: MachineType, count: int, settings: Settings) -> None:
        self._layout, self._settings = Layout(machine), settings
        wanted = max(
            settings.commissioning_samples, settings.commissioning_s / machine.poll_interval_s
        )
        self._warmup = int(min(wanted, MAX_ROWS))
        names = [signal.name for signal in machine.signals]
        self._width = len(names)
        self._columns = np.array([names.index(s.name) for s in self._layout.checked], np.int64)
        self._fleet = Fleet(self._layout.responses, count, self._warmup)
        self._checks, self._newest = (
            checks.empty(self._layout, count),
            _nothing(self._layout, count),
        )
        self._learning = np.ones(count, bool)
        self._made_from = [
            ["bare", repr(settings), str(self._warmup)],
            *self._layout.fingerprint(),
            *self._fleet.made_from(),
        ]

    def update(
        self, which: Counts, times_ns: Counts, values: Floats, quality: Marks
    ) -> tuple[Floats, Marks]:
        """Judge rows."""
        rows = self._taken(which, times_ns, values, quality)
        if not self._learning.any():
            return self._judge(rows)
        soon = self._ending(rows.which)
        if not soon.any():
            return self._judge(rows)
        score, state = np.empty(len(soon)), np.empty(len(soon), np.uint8)
        score[~soon], state[~soon] = self._judge(rows.part(~soon))
        for i in np.flatnonzero(soon).tolist():
            m, one = int(rows.which[i]), slice(i, i + 1)
            score[one], state[one] = self._judge(rows.part(one))
            if self._learning[m] and self._fleet.left(m) == 0:
                self._commissioned(m)
                state[i] = self._newest.state[m]
        return score, state

    def _taken(self, which: Counts, times_ns: Counts, values: Floats, quality: Marks) -> _Rows:
        values = np.require(values, np.float64, ["C", "W"])
        quality = np.require(quality, np.uint8, ["C", "W"])
        n, k = len(values), self._width
        if values.shape != (n, k) or quality.shape != (n, k):
            raise ValueError(
                f"{k} signals need values and quality (n, {k}); "
                f"got {values.shape} and {quality.shape}"
            )
        shape, layout = (n, len(self._columns)), self._layout
        raw, usable, grade = np.empty(shape), np.empty(shape), np.empty(shape, np.int8)
        bare_kernel.take(
            values, quality, self._columns, layout.low, layout.high, layout.margin, raw, usable,
            grade,
        )  # fmt: skip
        which, when, usable = self._fleet.checked(which, times_ns, usable)
        return _Rows(which, when, raw, usable, grade, quality)

    def _ending(self, which: Counts) -> NDArray[np.bool_]:
        """Tell which rows are of machines whose commissioning may end with one of these rows."""
        waiting, rows = np.unique(which[self._learning[which]], return_counts=True)
        left = [self._fleet.left(m) for m in waiting.tolist()]
        return np.isin(which, waiting[rows >= np.array(left, np.int64)])

    def _judge(self, rows: _Rows) -> tuple[Floats, Marks]:
        """Judge rows of machines that stay as they are, commissioned or not."""
        c, layout, settings, learning = self._checks, self._layout, self._settings, self._learning
        score, alarm, fresh = self._fleet.judge(rows.which, rows.times_ns, rows.usable)
        how = np.where(fresh, checks_kernel.JUDGED + learning[rows.which], checks_kernel.LATE)
        failing, state = np.empty(len(how), np.uint8), np.empty(len(how), np.uint8)
        confirm, stuck_ns = checks.thresholds(settings)
        checks_kernel.advance(
            c.numbers, c.counts, c.marks, c.repeats_, c.ring, c.chain, rows.which, rows.times_ns,
            rows.raw, rows.grade, how.astype(np.uint8), failing, layout.low, layout.high,
            len(layout.responses), confirm, stuck_ns,
        )  # fmt: skip
        newest = self._newest
        bare_kernel.conclude(
            rows.which, rows.times_ns, rows.raw, rows.usable, rows.quality, self._columns, fresh,
            learning, alarm, failing, score, state, newest.time_ns, newest.score, newest.state,
            newest.raw, newest.quality,
        )  # fmt: skip
        return score, state

    def _commissioned(self, m: int) -> None:
        c, newest = self._checks, self._newest
        checks_kernel.commission(c.numbers, c.counts, c.repeats_, m)
        self._learning[m] = False
        if newest.state[m] == bare_kernel.COMMISSIONING:
            newest.state[m] = bare_kernel.UNJUDGED

    def assessment(self, m: int) -> Assessment:
        """Return everything about the newest row of machine ``m``."""
        newest, s = self._newest, self._sample(m)
        found = checks.results(self._checks.of(m), s, self._layout)
        judged = not np.isnan(newest.score[m])
        return Assessment(
            s.time_ns, STATES[newest.state[m]], float(newest.score[m]) if judged else None,
            self._deviations(m, s.usable) if judged else [], found, self._fleet.progress(m),
        )  # fmt: skip

    def _sample(self, m: int) -> Sample:
        """Return the newest row as one machine's checks know it."""
        layout, raw, marks = self._layout, self._newest.raw[m], self._newest.quality[m]
        outside = (raw < layout.low - layout.margin) | (raw > layout.high + layout.margin)
        fine = (marks == Quality.GOOD) & (raw >= layout.low) & (raw <= layout.high)
        return Sample(
            int(self._newest.time_ns[m]), raw, np.where(fine, raw, np.nan), outside,
            marks == Quality.BAD, np.zeros(0),
        )  # fmt: skip

    def _deviations(self, m: int, values: NDArray[np.floating]) -> list[Deviation]:
        place = {name: i for i, name in enumerate(self._layout.responses)}
        return [
            Deviation(
                a.signal,
                Direction.ABOVE if a.sigmas >= 0 else Direction.BELOW,
                abs(a.sigmas),
                None if np.isnan(values[place[a.signal]]) else float(values[place[a.signal]]),
                a.expected,
            )
            for a in self._fleet.attribution(m)[:MAX_DEVIATIONS]
        ]

    def progress(self) -> Floats:
        """Return each machine's share of commissioning that is done, 0 to 1."""
        done = np.ones(len(self._learning))
        for m in np.flatnonzero(self._learning).tolist():
            done[m] = self._fleet.progress(m)
        return done

    def recommission(self, m: int) -> None:
        """Forget a machine's reference and learn it anew."""
        self._fleet.recommission(m)
        self._learning[m] = True
        memory.fill(self._checks.arrays(), m, memory.packed(checks.empty(self._layout).arrays(), 0))
        memory.fill(self._newest, m, memory.packed(_nothing(self._layout, 1), 0))

    def save(self, m: int) -> bytes:
        """Return everything needed to go on exactly here with machine ``m``."""
        kept = _Kept(
            self._fleet.kept(m), memory.packed(self._checks.arrays(), m),
            memory.packed(self._newest, m),
        )  # fmt: skip
        return artefact.pack(kept, self._made_from)

    def restore(self, m: int, data: bytes) -> None:
        """Go on with machine ``m`` from saved bytes.

        Raises:
            Malformed: damaged, or saved for other signals, units, settings or by another version;
                nothing has changed.
        """
        kept = artefact.unpack(data, _Kept, self._made_from)
        ours: tuple[NDArray[Any], ...] = self._checks.arrays()
        newest: tuple[NDArray[Any], ...] = self._newest
        sizes = [sum(map(memory.row_bytes, part)) for part in (ours, newest)]
        if [len(kept.checks), len(kept.newest)] != sizes:
            raise Malformed("saved machine is of another type; commission the machine anew")
        self._fleet.keep(m, kept.fleet)
        memory.fill(ours, m, kept.checks)
        memory.fill(newest, m, kept.newest)
        self._learning[m] = self._fleet.left(m) > 0
