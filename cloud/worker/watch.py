"""From readings to verdicts: every machine's detector, in order of arrival, across restarts.

Healthy readings of machines that nobody attends stay in arrays. After a crash the journal is
scored again from each machine's checkpoint; evidence that a case has seen before is older than its
newest and acts on nothing.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from cloud.adapters.board import Board
from cloud.adapters.journal import Checkpoint
from cloud.adapters.wire import Rows
from cloud.core.asset import AssetRow
from cloud.core.intake import Limits
from cloud.worker.kind import Kind
from cloud.worker.messages import Verdict
from cloud.worker.order import BEHIND, LIVE, QUIET, sort_out
from cloud.worker.sums import Sums
from contract.errors import Malformed
from contract.machines import MachineType
from models.monitor import State
from models.settings import Settings
from models.watchers import Watchers

LEAP_POLLS = 1.5
"""A longer step in event time has left readings out; they may come later."""
QUIET_FROM_NS, QUIET_MAX_NS = 60 * 10**9, 900 * 10**9
"""After a gap of a minute a detector raises nothing for as long as the gap was, at most 15 min:
what it knows of slow conditions, as a winding's warmth, is from before."""
TELL_EVERY_NS = 10**9
"""Verdicts on an attended machine are told at most so often, in event time."""
HABIT = 1.5
"""Gaps that follow each other within so many times their length are how this machine speaks."""
WARM_UP_ROWS = 200
STATES = tuple(State)
ALARM, HEALTHY = STATES.index(State.ALARM), STATES.index(State.HEALTHY)
UNSCORED = 255

Counts = NDArray[np.int64]
Emit = Callable[[msgspec.Struct], None]


class Scores(NamedTuple):
    """What the detectors made of a group's readings, in its order."""

    score: NDArray[np.float64]
    """1.0 is the alarm level; NaN where nothing was judged."""
    alarm: NDArray[np.uint8]
    """1 in alarm, 0 not, `UNSCORED` for a reading that came too late for any detector."""

    def pack(self) -> bytes:
        """Return the scores as the journal keeps them."""
        return self.score.astype("<f8").tobytes() + self.alarm.tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> "Scores":
        """Read `pack` back."""
        count = len(data) // 9
        alarm = np.frombuffer(data, np.uint8, count, count * 8)
        return cls(np.frombuffer(data, "<f8", count), alarm)


def some_of(rows: Rows, which: Counts) -> Rows:
    """Return some of the readings, in the order in which they are named."""
    return Rows(
        rows.device[which],
        rows.times_ns[which],
        rows.values[which],
        rows.quality[which],
        rows.historical[which],
    )


class _Kept(Struct):
    """One machine's part of a checkpoint."""

    machine_type: str
    newest_ns: int
    scored: int
    past_newest_ns: int
    past_until_ns: int
    quiet_until_ns: int
    leapt_ns: int
    watcher: bytes
    past: bytes
    sums: bytes


class Watch:
    """All detectors of this worker."""

    def __init__(
        self,
        assets: Mapping[str, AssetRow],
        machines: Mapping[str, MachineType],
        settings: Settings,
        board: Board,
        emit: Emit,
    ) -> None:
        self.devices = sorted(assets)
        self.assets = [assets[device] for device in self.devices]
        self._number = {device: i for i, device in enumerate(self.devices)}
        self.names = np.array(self.devices, object)
        self.sites = np.array([asset.site for asset in self.assets], object)
        self._board, self._emit = board, emit
        count = len(self.devices)
        types = sorted({asset.machine_type for asset in self.assets})
        self.kind_of = np.array([types.index(a.machine_type) for a in self.assets], np.int64)
        members = [np.flatnonzero(self.kind_of == k) for k in range(len(types))]
        self.kinds = [Kind(machines[t], m, settings) for t, m in zip(types, members, strict=True)]
        self._local = np.zeros(count, np.int64)
        for kind in self.kinds:
            self._local[kind.members] = np.arange(len(kind.members))
        polls_s = np.array([machines[a.machine_type].poll_interval_s for a in self.assets])
        self._leap_ns = (LEAP_POLLS * polls_s * 1e9).astype(np.int64)
        self._late_ns = int(Limits().late_after_s * 1e9)
        self._quiet_until, self._leapt = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._newest, self.scored = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._past_newest, self._past_until = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.position, self.dirty_from = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._attended, self._told = np.zeros(count, np.bool_), np.zeros(count, np.int64)
        self._sums = Sums(self.kinds, count, emit)

    # What the worker asks.

    def warm_up(self) -> None:
        """Load what is compiled, so that no reading waits for it; in a fresh installation compile.

        A machine that does not exist is commissioned and judged.
        """
        rng = np.random.default_rng(0)
        for kind in self.kinds:
            signals = kind.machine.signals
            low = np.array([s.range[0] for s in signals])
            span = np.array([s.range[1] for s in signals]) - low
            values = low + span * rng.uniform(0.4, 0.6, (WARM_UP_ROWS, len(signals)))
            for i, signal in enumerate(signals):
                if signal.judged_modes:
                    values[:, i] = signal.judged_modes[0]
            settings = Settings(commissioning_s=1.0, commissioning_samples=WARM_UP_ROWS // 2)
            times_ns = np.arange(WARM_UP_ROWS) * int(kind.machine.poll_interval_s * 1e9)
            watchers = Watchers(kind.machine, 1, settings)
            good = np.zeros(values.shape, np.uint8)
            which = np.zeros(WARM_UP_ROWS, np.int64)
            watchers.update(which, times_ns, values, good)
            watchers.copy(0, watchers, 0)
            watchers.assessment(0)

    def attend(self, devices: list[str], *, on: bool) -> None:
        """Tell every verdict on these devices from now on, or only alarms."""
        known = [self._number[device] for device in devices if device in self._number]
        self._attended[known] = on

    def take(self, group_id: int, rows: Rows, now_ns: int) -> Scores:
        """Score a group of readings; machines that have it in their checkpoint are left out."""
        count = len(rows.device)
        scores = Scores(np.full(count, np.nan), np.full(count, UNSCORED, np.uint8))
        todo = np.flatnonzero(self.position[rows.device] < group_id)
        if len(todo) < count:
            rows = some_of(rows, todo)
        before = self._newest.copy()
        place, turn, leaps = sort_out(
            rows.device, rows.times_ns, rows.historical, self._newest, self._leap_ns,
            now_ns - self._late_ns,
        )  # fmt: skip
        for i in leaps:
            self._fork(int(rows.device[i]), int(before[rows.device[i]]), int(rows.times_ns[i]))
        soon = rows.times_ns < self._quiet_until[rows.device]
        place[soon & (place == LIVE)] = QUIET
        mine = scores if len(todo) == count else Scores(scores.score[todo], scores.alarm[todo])
        ahead = place != BEHIND
        for now in range(int(turn.max(initial=-1)) + 1):
            self._turn(rows, np.flatnonzero(ahead & (turn == now)), place, mine)
        self._catch_up(rows, np.flatnonzero(~ahead), mine)
        if mine is not scores:
            scores.score[todo], scores.alarm[todo] = mine
        self._show(rows, np.flatnonzero((place == LIVE) | (place == QUIET)), mine, now_ns)
        np.add.at(self.scored, rows.device, mine.alarm != UNSCORED)
        touched = np.unique(rows.device)
        self.position[touched] = group_id
        clean = touched[self.dirty_from[touched] == 0]
        self.dirty_from[clean] = group_id
        self._board.count("scored", int((mine.alarm != UNSCORED).sum()))
        self._board.count("late", int((mine.alarm == UNSCORED).sum()))
        return scores

    # How a group is scored.

    def _turn(self, rows: Rows, which: Counts, place: NDArray[np.uint8], scores: Scores) -> None:
        """Score readings of which no two of a machine lie in different minutes."""
        closely = self._closely(rows, which)
        quiet = which[~closely]
        kinds = self.kind_of[rows.device[quiet]]
        for k, kind in enumerate(self.kinds):
            some = quiet[kinds == k]
            if len(some):
                self._judge(kind, rows, some, scores)
                self._raise(kind, rows, some[(scores.alarm[some] == 1) & (place[some] == LIVE)])
        for i in which[closely]:
            kind = self.kinds[self.kind_of[rows.device[i]]]
            self._look_at(kind, rows, i, place[i], scores)

    def _closely(self, rows: Rows, which: Counts) -> NDArray[np.bool_]:
        """Tell which readings are of attended machines that are due to be told of."""
        device = rows.device[which]
        due = self._attended[device]
        if due.any():
            due &= rows.times_ns[which] - self._told[device] >= TELL_EVERY_NS
            machines = np.zeros(len(self._told), np.bool_)
            machines[device[due]] = True  # all readings of one machine go the same way, in order
            due = machines[device]
        return due

    def _look_at(self, kind: Kind, rows: Rows, i: int, place: int, scores: Scores) -> None:
        """Score one reading of an attended machine, and tell what came of it."""
        device, time_ns = int(rows.device[i]), int(rows.times_ns[i])
        state = self._judge(kind, rows, np.array([i]), scores)[0]
        due = time_ns - self._told[device] >= TELL_EVERY_NS
        if place == LIVE and due and state in (ALARM, HEALTHY):
            self._told[device] = time_ns
            found = kind.watchers.assessment(int(self._local[device]))
            self._emit(Verdict(self.devices[device], found))

    def _judge(self, kind: Kind, rows: Rows, some: Counts, scores: Scores) -> NDArray[np.uint8]:
        local = self._local[rows.device[some]]
        width = len(kind.machine.signals)
        score, state = kind.watchers.update(
            local, rows.times_ns[some], rows.values[some, :width], rows.quality[some, :width]
        )
        scores.score[some], scores.alarm[some] = score, state == ALARM
        self._board.state[rows.device[some]] = state
        judged = some[~np.isnan(score)]
        self._sums.sample(kind, rows, judged, local[~np.isnan(score)], self.devices)
        return state

    def _raise(self, kind: Kind, rows: Rows, alarmed: Counts) -> None:
        """Tell of machines that nobody attended, and attend them from now on."""
        for device in np.unique(rows.device[alarmed]):
            found = kind.watchers.assessment(int(self._local[device]))
            self._attended[device] = True
            self._told[device] = found.time_ns
            if found.state is State.ALARM:
                self._emit(Verdict(self.devices[device], found))

    def _fork(self, device: int, newest_ns: int, leap_ns: int) -> None:
        """Keep the detector as it is before a gap; if it is kept already, for this one as well."""
        if not 0 < self._past_newest[device] < self._past_until[device]:
            kind, m = self.kinds[self.kind_of[device]], int(self._local[device])
            kind.watchers.copy(m, kind.past, m)
            self._past_newest[device] = newest_ns
        self._past_until[device] = leap_ns
        gap_ns, since_ns = leap_ns - newest_ns, leap_ns - int(self._leapt[device])
        if gap_ns >= QUIET_FROM_NS and since_ns > HABIT * gap_ns:
            self._quiet_until[device] = leap_ns + min(gap_ns, QUIET_MAX_NS)
        self._leapt[device] = leap_ns

    def _catch_up(self, rows: Rows, behind: Counts, scores: Scores) -> None:
        """Score what an outage held back by the detector of before it; it raises nothing."""
        in_gap = rows.times_ns[behind] < self._past_until[rows.device[behind]]
        behind = behind[in_gap]
        if not len(behind):
            return
        device, times_ns = rows.device[behind], rows.times_ns[behind]
        no_leap = np.full(len(self._newest), np.iinfo(np.int64).max)
        late = np.ones(len(behind), np.bool_)
        place = sort_out(device, times_ns, late, self._past_newest, no_leap, 0).place
        behind = behind[place != BEHIND]
        kinds = self.kind_of[rows.device[behind]]
        for k, kind in enumerate(self.kinds):
            some, width = behind[kinds == k], len(kind.machine.signals)
            if len(some):
                score, state = kind.past.update(
                    self._local[rows.device[some]], rows.times_ns[some],
                    rows.values[some, :width], rows.quality[some, :width],
                )  # fmt: skip
                scores.score[some], scores.alarm[some] = score, state == ALARM
        for device in np.unique(rows.device[behind]):
            if self._past_until[device] - self._past_newest[device] <= self._leap_ns[device]:
                self._hand_over(int(device))

    def _hand_over(self, device: int) -> None:
        """Go on with the detector that has seen what lay in the gap; it missed less."""
        kind, m = self.kinds[self.kind_of[device]], int(self._local[device])
        kind.past.copy(m, kind.watchers, m)
        self._past_newest[device] = self._past_until[device]

    def _show(self, rows: Rows, live: Counts, scores: Scores, now_ns: int) -> None:
        """Put the newest on the live board; of several of one machine the last one stays."""
        board, device = self._board, rows.device[live]
        board.last_ns[device] = rows.times_ns[live]
        board.score[device] = scores.score[live]
        board.values[device] = rows.values[live]
        board.quality[device] = rows.quality[live]
        board.delays((now_ns - rows.times_ns[live]) / 1e9)

    def show_progress(self) -> None:
        """Put on the board how far commissioning is, and how much has been scored."""
        self._board.scored[:] = self.scored
        for kind in self.kinds:
            if self._board.progress[kind.members].min() < 1.0:
                self._board.progress[kind.members] = kind.watchers.progress()

    # Across restarts.

    def save(self, device: int) -> Checkpoint:
        """Return a machine's checkpoint as of now."""
        kind, m = self.kinds[self.kind_of[device]], int(self._local[device])
        open_gap = self._past_newest[device] < self._past_until[device]
        kept = _Kept(
            kind.machine.name,
            int(self._newest[device]),
            int(self.scored[device]),
            int(self._past_newest[device]),
            int(self._past_until[device]),
            int(self._quiet_until[device]),
            int(self._leapt[device]),
            kind.watchers.save(m),
            kind.past.save(m) if open_gap else b"",
            self._sums.save(device, kind),
        )
        position = int(self.position[device])
        return Checkpoint(self.devices[device], position, msgspec.msgpack.encode(kept))

    def saved(self, positions: Mapping[str, int], fed: int) -> int:
        """Note which machines are saved as of which group; return up to where nobody needs any.

        Args:
            positions: group that each saved machine stands for, by name.
            fed: groups up to this one are in the time-series store.
        """
        for device, position in positions.items():
            i = self._number[device]
            moved_on = self.position[i] > position
            self.dirty_from[i] = position + 1 if moved_on else 0
        needed = self.dirty_from[self.dirty_from > 0]
        return min(fed, int(needed.min()) - 1) if len(needed) else fed

    def restore(self, device: int, saved: Checkpoint) -> None:
        """Go on from a machine's checkpoint.

        Raises:
            Malformed: it does not fit this version; the machine must be commissioned anew.
        """
        kind, m = self.kinds[self.kind_of[device]], int(self._local[device])
        self.position[device] = saved.position
        try:
            kept = msgspec.msgpack.decode(saved.data, type=_Kept)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Malformed(f"the checkpoint cannot be read: {error}") from error
        if kept.machine_type != kind.machine.name:
            raise Malformed(f"it was a {kept.machine_type} and is a {kind.machine.name} now")
        self._newest[device], self.scored[device] = kept.newest_ns, kept.scored
        self._quiet_until[device], self._leapt[device] = kept.quiet_until_ns, kept.leapt_ns
        kind.watchers.restore(m, kept.watcher)
        self._sums.restore(device, kind, kept.sums)
        if kept.past:
            kind.past.restore(m, kept.past)
            self._past_newest[device] = kept.past_newest_ns
            self._past_until[device] = kept.past_until_ns
