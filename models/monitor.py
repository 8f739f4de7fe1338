"""One machine's detector: commissioning first, then a verdict on every reading.

The reference is frozen after commissioning, so a fault cannot become the new normal. A mode that
commissioning never saw gets weights of its own, learned from healthy visits only.
"""

import math
from copy import deepcopy
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.faults import Deviation
from contract.machines import MachineType
from contract.telemetry import Reading
from models import artefact, blame, checks, conditions, judge, reference, visits
from models import checks_kernel as check
from models import monitor_kernel as kernel
from models.checks import CheckResult, Checks
from models.conditions import Conditions
from models.judge import Verdict
from models.reference import Reference
from models.sample import Layout, Vector, row
from models.settings import DEFAULT, Settings
from models.visits import Learned, Visits

MAX_ROWS = 3600
"""Commissioning ends at so many readings even if it was quick; bounds memory."""
DRIVER_GAP_SAMPLES = 10
"""A driver may keep its last value for so many readings; then nothing is judged."""


class State(StrEnum):
    """What the newest reading says about the machine."""

    COMMISSIONING = "commissioning"
    HEALTHY = "healthy"
    ALARM = "alarm"
    UNJUDGED = "unjudged"
    """Neither healthy nor unhealthy: mode not judged or never commissioned, conditions never seen,
    settling after a change of mode, or no usable values. An alarm may stand behind it."""


class Assessment(Struct, frozen=True):
    """The verdict on one reading."""

    time_ns: int
    state: State
    score: float | None
    """1.0 is the alarm level; None where nothing could be judged."""
    deviations: list[Deviation]
    checks: list[CheckResult]
    progress: float
    """Share of commissioning that is done, 0 to 1."""


STATES = tuple(State)
_ALARM, _HEALTHY = STATES.index(State.ALARM), STATES.index(State.HEALTHY)
_COMMISSIONING, _UNJUDGED = STATES.index(State.COMMISSIONING), STATES.index(State.UNJUDGED)


class _Commissioning(Struct):
    """Readings kept until the reference can be learned."""

    times_ns: NDArray[np.int64]
    lagging: NDArray[np.float32]
    responses: Vector
    count: int = 0
    seconds: float = 0.0

    def grow(self) -> None:
        """Make room for more readings."""
        room = max(256, self.count)
        self.times_ns = np.concatenate([self.times_ns, np.zeros(room, dtype=np.int64)])
        self.lagging = np.concatenate(
            [self.lagging, np.zeros((room, *self.lagging.shape[1:]), dtype=np.float32)]
        )
        self.responses = np.concatenate([self.responses, np.zeros((room, self.responses.shape[1]))])


class _State(Struct):
    """Everything that a monitor remembers."""

    conditions: Conditions
    checks: Checks
    commissioning: _Commissioning | None
    reference: Reference | None
    verdict: Verdict
    visits: Visits


class Monitor:
    """Watches one machine. Data of any kind never makes it raise."""

    def __init__(self, machine: MachineType, settings: Settings = DEFAULT) -> None:
        self._machine, self._layout = machine, Layout(machine)
        self._settings = settings
        self._table = blame.signatures(machine, self._layout)
        self._row = conditions.row(self._layout)
        self._sample = conditions.as_sample(self._row)
        self._failing = np.zeros(1, dtype=np.uint8)
        """Whether a check fails; what and why is for `checks.results` to say."""
        self._how = np.zeros(1, dtype=np.uint8)
        self._names: list[str] = []
        self._weights: list[tuple[Vector, Vector]] = []
        self._advance_by: tuple[Any, ...] = ()
        self._settle_by: tuple[Any, ...] = ()
        self._check_by: tuple[Any, ...] = ()
        self._score_by: tuple[Any, ...] = ()
        self._judge_by: tuple[Any, ...] = ()
        self._blame_by: tuple[Any, ...] = ()
        self._keep(self._fresh())

    def _fresh(self) -> _State:
        now, count = conditions.empty(self._layout), len(self._layout.responses)
        kept = _Commissioning(
            np.zeros(0, dtype=np.int64), np.zeros((0, *now.lagging.shape), dtype=np.float32),
            np.zeros((0, count)),
        )  # fmt: skip
        return _State(now, checks.empty(self._layout), kept, None, judge.empty(), Visits([]))

    def _keep(self, state: _State) -> None:
        """Go on from here."""
        self._state = state
        self._failing[0] = _failing(state.checks)
        self._score = math.nan
        self._named = _COMMISSIONING if state.reference is None else _UNJUDGED
        self._bind()

    def _bind(self) -> None:
        """Lay out for compiled code what changes seldom; what is kept is looked at in place."""
        st, layout = self._state, self._layout
        r, now, v = st.reference, st.conditions, st.verdict
        numbers = judge.numbers(r, self._settings, layout)
        course, fixed = judge.course(r, now.ladder.shape[1]), judge.fixed(r)
        c, s = st.checks, self._sample
        grade = np.zeros((1, len(layout.checked)), dtype=np.int8)
        self._advance_by = (*self._row, now.clock, now.ladder)
        self._settle_by = (
            now.ladder, judge.modes(r, layout), course, v.memory, v.owed_s, v.now, fixed,
            judge.learned(st.visits.modes, layout), numbers, s.usable, self._row.marks, grade,
        )  # fmt: skip
        self._check_by = (
            *c.arrays(), np.zeros(1, dtype=np.int64), now.clock[:1], s.raw[None], grade, self._how,
            self._failing, layout.low, layout.high, len(layout.responses),
            *checks.thresholds(self._settings),
        )  # fmt: skip
        self._score_by = (v.now, fixed, numbers)
        self._judge_by = (
            s.usable, now.ladder, course, v.memory, v.now, fixed, numbers, c.away, c.slow,
            c.judged_ns, c.ordinary_ns, c.alone_s, c.drifted,
        )  # fmt: skip
        if r is not None:
            # the last place is the mode -1: one that was commissioned
            each: list[Learned | Reference] = [*st.visits.modes, r]
            self._weights = [(m.weights, m.inverse) for m in each]
            self._blame_by = blame.looked_at(self._table, r, self._settings, v.now, c)
            self._names = [n for n, u in zip(layout.responses, r.usable, strict=True) if u]

    def __deepcopy__(self, memo: dict[int, object]) -> "Monitor":
        """Return another monitor of the same machine that goes on exactly here."""
        other = Monitor(self._machine, self._settings)
        for mine, its in zip(self._row, other._row, strict=True):
            its[:] = mine
        other._keep(deepcopy(self._state, memo))
        other._sample.time_ns, other._failing[:] = self._sample.time_ns, self._failing
        other._score, other._named = self._score, self._named
        return other

    def recommission(self) -> None:
        """Forget the reference and learn it anew, after a repair or a change of duty."""
        self._keep(self._fresh())

    def save(self) -> bytes:
        """Return everything needed to go on exactly here."""
        return artefact.pack(self._state, self._made_from())

    @classmethod
    def restore(cls, machine: MachineType, data: bytes, settings: Settings = DEFAULT) -> "Monitor":
        """Go on from saved bytes.

        Raises:
            Malformed: the bytes are damaged, or were saved for other signals, units, settings
                or by another version; the machine must be commissioned anew.
        """
        monitor = cls(machine, settings)
        state = artefact.unpack(data, _State, monitor._made_from())
        fresh, r = monitor._fresh(), state.reference
        same = judge.alike(
            (*state.conditions.arrays(), *state.checks.arrays(), *state.verdict.arrays()),
            (*fresh.conditions.arrays(), *fresh.checks.arrays(), *judge.empty(r).arrays()),
        )
        if not (same and (r is None or judge.fits(r, state.visits.modes, monitor._layout))):
            raise Malformed("saved model does not fit; commission the machine anew")
        monitor._keep(state)
        return monitor

    def _made_from(self) -> list[list[str]]:
        return [[repr(self._settings)], *self._layout.fingerprint()]

    def update(self, reading: Reading) -> Assessment:
        """Judge one reading; readings come in order of event time, others are not judged."""
        self.judge_row(reading.time_ns, *row(self._layout, reading))
        return self.assessment()

    def judge_row(
        self, time_ns: int, values: NDArray[np.float64], quality: NDArray[np.uint8]
    ) -> tuple[float, int]:
        """Judge one row; rows come in order of event time, others are not judged.

        Args:
            time_ns: event time.
            values: in order of the machine type's signals, NaN where there is none.
            quality: a `Quality` for each, as on the wire. Of a value outside its plausible range
                it need not say so.

        Returns:
            The score, NaN where nothing could be judged, and the state as a place in `STATES`.
        """
        st = self._state
        self._row.values[:], self._row.quality[:] = values, quality
        self._sample.time_ns, self._score = time_ns, math.nan
        dt_s, changed, known, missing = conditions.advance(time_ns, *self._advance_by)
        if dt_s >= 0:
            settled, mode = kernel.settle(time_ns, dt_s, changed, known, *self._settle_by)
            running = check.OBSERVED if st.reference is None else check.JUDGED
            self._how[0] = running if settled else check.IDLE
            check.advance(*self._check_by)
            if not settled:
                pass
            elif st.reference is None:
                self._commission(time_ns, dt_s)
            elif missing <= DRIVER_GAP_SAMPLES and not self._stale():
                self._judge(st.reference, time_ns, dt_s, mode)
        judged = not math.isnan(self._score)
        if (judged and st.verdict.alarm) or self._failing[0]:
            self._named = _ALARM
        elif st.reference is None:
            self._named = _COMMISSIONING
        else:
            self._named = _HEALTHY if judged else _UNJUDGED
        return self._score, self._named

    def assessment(self) -> Assessment:
        """Return everything about the newest row; before the first one nothing was judged."""
        st, s = self._state, self._sample
        judged = not math.isnan(self._score)
        return Assessment(
            s.time_ns,
            STATES[self._named],
            self._score if judged else None,
            judge.deviations(self._names, st.verdict.now) if judged else [],
            checks.results(st.checks, s, self._layout),
            self.progress,
        )

    def _stale(self) -> bool:
        return bool(self._failing[0]) and self._state.checks.repeats.stale

    def _judge(self, r: Reference, time_ns: int, dt_s: float, mode: int) -> None:
        st, c, v = self._state, self._state.checks, self._state.verdict
        self._score = kernel.judge(time_ns, dt_s, *self._weights[mode], *self._judge_by)
        if not math.isnan(self._score):
            if v.alarm:
                visits.forget(st.visits)
                blame.advance(time_ns, dt_s, *self._blame_by)
                self._failing[0] |= c.drifted.any()
            else:
                self._failing[0] = self._failing[0] and _failing(c)  # no drift without an alarm
                if visits.accept(st.visits, r, self._settings, v.calm):
                    self._bind()
        elif v.memory[kernel.NEW]:
            with np.errstate(all="ignore"):
                self._visit(r)

    def _visit(self, r: Reference) -> None:
        """Watch a mode never commissioned, unless something may be wrong or on its way back."""
        st, v, settings = self._state, self._state.verdict, self._settings
        calm = st.visits.trial is not None or v.calm >= settings.clear_samples
        back = v.back
        if v.alarm or self._failing[0] or not calm or back.sum() * 2 < len(back):
            visits.forget(st.visits)
            return
        v.memory[kernel.CALM_ROWS] = 0
        here = v.now[kernel.HERE]
        here[~back] = 0.0
        value = None
        if (here > 0).sum() * 2 >= len(here):
            value = kernel.score(*self._score_by)
        lagging = st.conditions.lagging
        visits.watch(
            st.visits, r, settings, mode=lagging[0, lagging.shape[1] - self._layout.slot_count :],
            smoothed=v.now[kernel.SMOOTHED], score=value,
            y=np.where(back, v.now[kernel.VALUE], np.nan),
            phi=conditions.regressors(lagging, r.first, r.second, r.centre),
            gap=reference.ahead(lagging, self._layout),
        )  # fmt: skip

    def _commission(self, time_ns: int, dt_s: float) -> None:
        st, settings, s = self._state, self._settings, self._sample
        c = st.commissioning
        y = s.usable[: len(self._layout.responses)]
        if c is None or np.isnan(y).all():
            return
        if c.count == len(c.times_ns):
            c.grow()
        c.times_ns[c.count] = time_ns
        c.lagging[c.count] = st.conditions.lagging
        c.responses[c.count] = y
        c.count += 1
        c.seconds += min(dt_s, settings.commissioning_s / settings.commissioning_samples)
        if self.progress < 1.0:
            return
        n = c.count
        lagging = c.lagging[:n].astype(np.float64)
        with np.errstate(all="ignore"):
            found = reference.fit(c.times_ns[:n], lagging, c.responses[:n], settings, self._layout)
        if found is None:
            st.commissioning = self._fresh().commissioning
            return
        checks.commission(st.checks)
        settled_ns = st.verdict.memory[kernel.SETTLED_NS]
        st.commissioning, st.reference, st.verdict = None, found, judge.empty(found)
        st.verdict.memory[kernel.SETTLED_NS] = settled_ns
        self._bind()

    @property
    def progress(self) -> float:
        """Share of commissioning that is done, 0 to 1."""
        c = self._state.commissioning
        if c is None:
            return 1.0
        if c.count >= MAX_ROWS:
            return 1.0
        return min(
            1.0,
            c.count / self._settings.commissioning_samples,
            c.seconds / self._settings.commissioning_s,
        )


def _failing(c: Checks) -> bool:
    return c.repeats.stale or bool((c.outside | c.stuck | c.loose | c.drifted).any())
