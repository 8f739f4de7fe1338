"""One machine's detector: commissioning first, then a verdict on every reading.

The reference is frozen after commissioning, so a fault cannot become the new normal. A mode that
commissioning never saw gets weights of its own, learned from healthy visits only.
"""

import math
from enum import StrEnum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.faults import Deviation
from contract.machines import MachineType
from contract.telemetry import Quality, Reading
from models import artefact, blame, checks, conditions, judge, recovery, reference, visits
from models.checks import CheckResult, Checks
from models.conditions import Conditions
from models.judge import Verdict
from models.recovery import Recovery
from models.reference import Reference
from models.sample import Layout, Sample, Vector, sample
from models.settings import DEFAULT, Settings
from models.visits import Visits

MAX_ROWS = 3600
"""Commissioning ends at so many readings even if it was quick; bounds memory."""
DRIVER_GAP_SAMPLES = 10
"""A driver may keep its last value for so many readings; then nothing is judged."""
BACKWARDS_SAMPLES = 10
"""After so many readings from the past, in a row and in order, the clock was set back."""


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
_QUALITY = tuple(Quality)


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

    last_ns: int
    backwards: int
    backwards_ns: int
    settled_ns: int
    mode: Vector
    conditions: Conditions
    checks: Checks
    commissioning: _Commissioning | None
    reference: Reference | None
    verdict: Verdict
    recovery: Recovery
    visits: Visits


class Monitor:
    """Watches one machine. Data of any kind never makes it raise."""

    def __init__(self, machine: MachineType, settings: Settings = DEFAULT) -> None:
        self._layout = Layout(machine)
        self._settings = settings
        self._table = blame.signatures(machine, self._layout)
        self._signals = [s.name for s in machine.signals]
        self._state = self._fresh()
        self._newest: Assessment | None = None

    def _fresh(self) -> _State:
        layout = self._layout
        now = conditions.empty(layout)
        kept = _Commissioning(
            np.zeros(0, dtype=np.int64), np.zeros((0, *now.lagging.shape), dtype=np.float32),
            np.zeros((0, len(layout.responses))),
        )  # fmt: skip
        return _State(
            -1, 0, -1, 0, np.zeros(layout.slot_count), now, checks.empty(layout), kept, None,
            judge.empty(0), recovery.empty(0), Visits([]),
        )  # fmt: skip

    def recommission(self) -> None:
        """Forget the reference and learn it anew, after a repair or a change of duty."""
        self._state = self._fresh()

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
        monitor._state = artefact.unpack(data, _State, monitor._made_from())
        return monitor

    def _made_from(self) -> list[list[str]]:
        return [[repr(self._settings)], *self._layout.fingerprint()]

    def update(self, reading: Reading) -> Assessment:
        """Judge one reading; readings come in order of event time, others are not judged."""
        with np.errstate(all="ignore"):
            s = sample(self._layout, reading)
            dt_s = self._elapsed(s.time_ns)
            found = self._answer(s, None) if dt_s is None else self._advance(s, dt_s)
        self._newest = found
        return found

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
        names = self._signals
        marks = [_QUALITY[min(q, Quality.MISSING)] for q in quality.tolist()]
        row = dict(zip(names, values.tolist(), strict=True))
        found = self.update(Reading(time_ns, row, dict(zip(names, marks, strict=True))))
        return (math.nan if found.score is None else found.score), STATES.index(found.state)

    def assessment(self) -> Assessment:
        """Return everything about the newest row; nothing is judged before the first one."""
        if self._newest is not None:
            return self._newest
        unknown = State.COMMISSIONING if self._state.reference is None else State.UNJUDGED
        return Assessment(max(self._state.last_ns, 0), unknown, None, [], [], self.progress)

    def _elapsed(self, time_ns: int) -> float | None:
        """Return seconds since the last reading; None if it is late or doubled."""
        st = self._state
        if st.last_ns < 0:
            st.last_ns = time_ns
            return 0.0
        if time_ns <= st.last_ns:
            st.backwards = st.backwards + 1 if time_ns > st.backwards_ns else 1
            st.backwards_ns = time_ns
            if st.backwards < BACKWARDS_SAMPLES:
                return None
            st.last_ns = time_ns
            st.settled_ns = min(st.settled_ns, time_ns + int(self._settings.settle_s * 1e9))
        st.backwards, st.backwards_ns = 0, -1
        elapsed = (time_ns - st.last_ns) / 1e9
        st.last_ns = time_ns
        return elapsed

    def _advance(self, s: Sample, dt_s: float) -> Assessment:
        st, layout, settings = self._state, self._layout, self._settings
        if s.mode.any() and not np.array_equal(s.mode, st.mode):
            if st.mode.any():
                st.settled_ns = s.time_ns + int(settings.settle_s * 1e9)
            st.mode = s.mode
        count = len(layout.responses)
        conditions.advance(st.conditions, layout, s.usable[count:], s.mode, dt_s)
        if self._jumped():
            st.settled_ns = max(st.settled_ns, s.time_ns + int(settings.settle_s * 1e9))
        known = s.mode.any() or not st.mode.any()
        running = bool(known and layout.judged_slots[st.mode > 0].all())
        settled = running and s.time_ns >= st.settled_ns
        elsewhere = st.reference is not None and running and not self._commissioned(st.reference)
        recovery.advance(st.recovery, dt_s, stopped=not running, elsewhere=elsewhere)
        self._allow(s)
        checks.advance(st.checks, s, layout, settings, judged=settled)
        if st.reference is None:
            if settled:
                checks.observe(st.checks, s)
                self._commission(s, dt_s)
            return self._answer(s, None)
        if not settled or st.conditions.missing > DRIVER_GAP_SAMPLES or st.checks.repeats.stale:
            return self._answer(s, None)
        return self._judge(st.reference, s, dt_s)

    def _allow(self, s: Sample) -> None:
        """Take a value for plausible that a stop has carried out of its range."""
        st = self._state
        if st.reference is not None:
            away = self._awaited(st.reference)
            s.outside[np.flatnonzero(st.reference.usable)[away]] = False

    def _awaited(self, r: Reference) -> NDArray[np.bool_]:
        st = self._state
        return recovery.awaited(st.recovery, r, self._settings, st.conditions.lagging, self._layout)

    def _jumped(self) -> bool:
        """Tell whether a driver has moved faster than ever; in a new mode that is to be learned."""
        r = self._state.reference
        if r is None or self._new_mode(r):
            return False
        gap = reference.ahead(self._state.conditions.lagging, self._layout)
        return bool((np.abs(gap) > r.jump).any())

    def _new_mode(self, r: Reference) -> bool:
        """Tell whether this mode is neither commissioned nor learned since."""
        found = visits.find(self._state.visits, self._state.mode)
        return not self._commissioned(r) and (found is None or not found.known)

    def _commissioned(self, r: Reference) -> bool:
        seen = r.places_seen[self._state.mode > 0]
        return bool((seen >= reference.known_from(self._settings)).all())

    def _commission(self, s: Sample, dt_s: float) -> None:
        st, settings = self._state, self._settings
        c = st.commissioning
        y = s.usable[: len(self._layout.responses)]
        if c is None or np.isnan(y).all():
            return
        if c.count == len(c.times_ns):
            c.grow()
        c.times_ns[c.count] = s.time_ns
        c.lagging[c.count] = st.conditions.lagging
        c.responses[c.count] = y
        c.count += 1
        c.seconds += min(dt_s, settings.commissioning_s / settings.commissioning_samples)
        if self.progress < 1.0:
            return
        n = c.count
        lagging = c.lagging[:n].astype(np.float64)
        found = reference.fit(c.times_ns[:n], lagging, c.responses[:n], settings, self._layout)
        if found is None:
            st.commissioning = self._fresh().commissioning
            return
        checks.commission(st.checks)
        st.commissioning, st.reference = None, found
        count = int(found.usable.sum())
        st.verdict, st.recovery = judge.empty(count), recovery.empty(count)

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

    def _judge(self, r: Reference, s: Sample, dt_s: float) -> Assessment:
        st, settings = self._state, self._settings
        v, commissioned = st.verdict, r
        r = visits.adapted(r, visits.find(st.visits, st.mode))
        y = s.usable[: len(self._layout.responses)][r.usable]
        alpha = reference.weight(dt_s, r.interval_s, settings)
        judge.turn(v, elsewhere=not self._commissioned(r))
        judge.smooth(v, r, st.conditions.lagging, y, alpha)
        wide = judge.spread(v, r, s.time_ns, settings)
        sigma = v.smoothed / wide
        here = judge.judged(v, wide, r, settings)
        if self._new_mode(r):
            self._visit(commissioned, y, sigma, here)
            return self._answer(s, None)
        recovery.look(
            st.recovery, r, settings, residual=(y - v.expected) / r.sigma, wide=wide, sigma=sigma,
            here=here, dt_s=dt_s,
        )  # fmt: skip
        here &= v.leading | ~self._awaited(r)
        if here.sum() * 2 < len(here) or (v.alarm and (v.leading & ~here).any()):
            return self._answer(s, None)
        value = judge.score(r, sigma, here)
        judge.decide(v, value, np.where(here, sigma, 0.0), settings)
        if v.alarm:
            visits.forget(st.visits)
        visits.accept(st.visits, commissioned, settings, v.calm)
        blame.advance(
            st.checks, self._table, r, settings, residual=y - v.expected, wide=wide, sigma=sigma,
            here=here, alarm=v.alarm, time_ns=s.time_ns, dt_s=dt_s,
        )  # fmt: skip
        names = [n for n, u in zip(self._layout.responses, r.usable, strict=True) if u]
        return self._answer(s, value, judge.deviations(names, v, sigma, y, here))

    def _visit(self, r: Reference, y: Vector, sigma: Vector, here: NDArray[np.bool_]) -> None:
        """Watch a mode never commissioned, unless something may be wrong or on its way back."""
        st, v, c = self._state, self._state.verdict, self._state.checks
        calm = st.visits.trial is not None or v.calm >= self._settings.clear_samples
        failing = c.repeats.stale or (c.outside | c.stuck | c.loose | c.drifted).any()
        back = st.recovery.back
        if v.alarm or failing or not calm or back.sum() * 2 < len(back):
            visits.forget(st.visits)
            return
        v.calm = 0
        here = here & back
        value = judge.score(r, sigma, here) if here.sum() * 2 >= len(here) else None
        lagging = st.conditions.lagging
        visits.watch(
            st.visits, r, self._settings, mode=st.mode, smoothed=v.smoothed, score=value,
            y=np.where(back, y, np.nan),
            phi=conditions.regressors(lagging, r.first, r.second, r.centre),
            gap=reference.ahead(lagging, self._layout),
        )  # fmt: skip

    def _answer(
        self, s: Sample, value: float | None, deviations: list[Deviation] | None = None
    ) -> Assessment:
        st = self._state
        found = checks.results(st.checks, s, self._layout)
        if found or (value is not None and st.verdict.alarm):
            state = State.ALARM
        elif st.reference is None:
            state = State.COMMISSIONING
        else:
            state = State.UNJUDGED if value is None else State.HEALTHY
        return Assessment(s.time_ns, state, value, deviations or [], found, self.progress)
