"""The comparison of updated machines with machines not updated, for one machine type.

A measure is the detector's score or a key signal. How it has changed, from the running before the
update to the running since, is ranked among the changes of machines without the release over the
same span of time (`models.harm`). Who was in alarm since has changed for the worse as far as can
be. The last measure is silence: who was not heard for minutes ranks before who was, and has no
other measure; so machines that are out of reach now and then do not hide harm to others.

A control is a machine that could have been updated in its place: heard and not in alarm just
before, and heard when the update was over. What happened to it later counts, whatever it is. A
machine that was taken back because it is plainly unhealthy is compared all the same, or the worst
would be missing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from cloud.adapters.board import Board
from cloud.core.evidence import NS
from cloud.core.rollout_states import (
    ACTIONS_PER_ROLLOUT,
    ENDED,
    Compared,
    Rollout,
    Update,
    UpdatePhase,
)
from cloud.service.buckets import BUCKET_NS, Buckets, Flags, Means, Places, Singles
from cloud.web.rollout_ports import Health, HealthPoint
from contract.errors import Malformed
from contract.faults import Direction
from contract.machines import MachineType
from models import artefact, harm

RECENT = 7
"""Buckets: a machine that was not heard for longer could not have been updated."""
SILENCE = "silence"
TOLERATED_SCORE = 0.05
"""A rise of the score, in alarm levels, that is no harm: a restart leaves half of that behind."""
TOLERATED_SPREAD = 0.5
"""The same for a key signal, in standard deviations of the controls' changes."""
POINTS = 120
"""Of a chart."""
ROLLOUTS = 16
"""Ranks are kept of so many rollouts, the newest."""
_FREE = (UpdatePhase.WAITING, UpdatePhase.OFFERED, UpdatePhase.SKIPPED)
"""The release has not touched the machine."""
_UNDER_WAY = (UpdatePhase.INSTALLING, UpdatePhase.CHECKING)
_RUNS = (UpdatePhase.WATCHING, UpdatePhase.UPDATED)
_NEVER = 2**62

Action = tuple[int, int]
"""An action's number, and when it was first seen under way."""


class _Span(NamedTuple):
    """Buckets of a comparison."""

    begin: int
    before: int
    """The baseline ends before this one."""
    watched: int
    after: int
    end: int
    """The last one counted is before this one."""


class _Saved(Struct):
    """All that must outlive the program."""

    devices: list[str]
    newest: int
    means: Singles
    heard: Flags
    alarm: Flags
    touched_ns: Places
    begun: dict[str, Action]
    back: dict[str, Action]
    ranked: dict[int, dict[str, dict[str, list[float]]]]


class Comparison:
    """Feed it with `sample` about once a second; ask `due` as often."""

    def __init__(self, machine: MachineType, devices: Sequence[str]) -> None:
        """Begin with nothing known.

        Args:
            machine: the machine type.
            devices: all machines of it.
        """
        names = [s.name for s in machine.signals]
        key = machine.key_signals
        self.measures = ["score", *(k.signal for k in key), SILENCE]
        self._worse = np.array([1.0] + [1.0 if k.worse is Direction.ABOVE else -1.0 for k in key])
        self._made_from = [[machine.name], self.measures]
        self._buckets = Buckets(devices, [names.index(k.signal) for k in key])
        self._touched_ns = np.zeros(len(devices), np.int64)
        self._begun: dict[str, Action] = {}
        self._back: dict[str, Action] = {}
        self._ranked: dict[int, dict[str, dict[str, list[float]]]] = {}
        """By rollout, stage and look, and device: changes beyond the median of the controls."""
        self._hopeless: dict[int, set[str]] = {}
        """By rollout: machines that cannot be compared."""

    def sample(self, now_ns: int, boards: Sequence[Board]) -> None:
        """Take in what is new on the workers' boards. Rows of other machines are left alone."""
        self._buckets.sample(now_ns, boards)

    def due(self, rollout: Rollout, updates: Mapping[str, Update], now_ns: int) -> list[Compared]:
        """Return the looks that are due and were not taken yet, one per machine at most.

        A machine that nothing can be said about (too few controls, or the gateway did not hear it
        before its update) has none.
        """
        self._note(rollout, updates, now_ns)
        if rollout.phase in ENDED:
            self._ranked.pop(rollout.number, None)
            self._hopeless.pop(rollout.number, None)
            return []
        groups: dict[_Span, list[Update]] = {}
        hopeless = self._hopeless.setdefault(rollout.number, set())
        for update in self._at_look(rollout, updates, now_ns):
            if update.device in hopeless:
                continue
            span = self._span(rollout, update, len(update.looks))
            hopeless.add(update.device)
            if span is not None:
                groups.setdefault(span, []).append(update)
        free = self._free(updates) if groups else np.empty(0, np.bool_)
        found: list[Compared] = []
        for span, group in groups.items():
            found += self._compare(rollout, free, span, group)
        # Controls only become fewer, and the past stays as it was: who cannot be compared now never
        # can.
        hopeless.difference_update(one.device for one in found)
        return found

    def _at_look(
        self, rollout: Rollout, updates: Mapping[str, Update], now_ns: int
    ) -> Iterator[Update]:
        """Yield the machines whose next look is due."""
        policy, now = rollout.order.policy, now_ns // BUCKET_NS
        looks, count = policy.gate.looks, len(policy.gate.looks)
        for update in updates.values():
            if not update.watched_ns or len(update.looks) >= count:
                continue
            soaked_s = looks[len(update.looks)] * policy.stages[update.stage].soak_s
            runs = update.phase in _RUNS or update.harm
            if runs and now >= (update.watched_ns + int(soaked_s * NS)) // BUCKET_NS:
                yield update

    def _note(self, rollout: Rollout, updates: Mapping[str, Update], now_ns: int) -> None:
        """Remember which machines are out of their usual running for an update."""
        settle_ns = int(rollout.order.policy.gate.settle_s * NS)
        for update in updates.values():
            phase = update.phase
            if phase in _FREE or update.device not in self._buckets.index:
                continue
            if phase in _UNDER_WAY:
                self._begun = _first(self._begun, update, now_ns)
            elif phase is UpdatePhase.REVERTING:
                self._back = _first(self._back, update, now_ns)
            settling = phase is UpdatePhase.WATCHING and now_ns < update.watched_ns + settle_ns
            if phase in (*_UNDER_WAY, UpdatePhase.REVERTING, UpdatePhase.CANCELLING) or settling:
                self._touched_ns[self._buckets.index[update.device]] = now_ns

    def _span(self, rollout: Rollout, update: Update, look: int) -> _Span | None:
        """Return which buckets a look compares; None: there is no such look, or not any more."""
        policy = rollout.order.policy
        gate = policy.gate
        soak_s = policy.stages[update.stage].soak_s
        if soak_s <= gate.settle_s or update.device not in self._buckets.index:
            return None
        action, begun_ns = self._begun.get(update.device, (0, 0))
        if action // ACTIONS_PER_ROLLOUT != update.number or begun_ns > update.watched_ns:
            # Nobody saw it begin. It was not before this, if it kept to its limits.
            patience_s = policy.limits.install_s + policy.limits.readback_s
            begun_ns = update.watched_ns - int(patience_s * NS)
        before = begun_ns // BUCKET_NS
        span = _Span(
            begin=before - _buckets(gate.baseline_s),
            before=before,
            watched=update.watched_ns // BUCKET_NS,
            after=-(-(update.watched_ns + int(gate.settle_s * NS)) // BUCKET_NS),
            end=(update.watched_ns + int(gate.looks[look] * soak_s * NS)) // BUCKET_NS,
        )
        return None if span.begin < self._buckets.oldest else span

    def _free(self, updates: Mapping[str, Update]) -> Flags:
        """Tell which machines the rollout has not touched."""
        free = np.ones(len(self._buckets.devices), np.bool_)
        index = self._buckets.index
        free[[index[d] for d, u in updates.items() if u.phase not in _FREE and d in index]] = False
        return free

    def _compare(
        self, rollout: Rollout, free: Flags, span: _Span, group: list[Update]
    ) -> list[Compared]:
        controls = np.flatnonzero(free & self._usual(span))
        if len(controls) < rollout.order.policy.gate.controls_min:
            return []
        changes = self._changes(span)
        others = changes[:, controls]
        usual, spread = _medians(others)
        tolerated = TOLERATED_SPREAD * spread
        tolerated[0] = TOLERATED_SCORE
        found = []
        for update in group:
            own = changes[:, self._buckets.index[update.device]]
            if update.phase not in _RUNS:
                own = self._taken_back(update, span)
            if not np.isnan(own).all():
                own = own - tolerated
                beyond = own - usual
                earlier = self._earlier(rollout.number, update, len(update.looks), beyond)
                p = harm.p_values(own, others, earlier + usual[:, np.newaxis])
                found.append(Compared(update.device, len(update.looks), p, self.measures))
        return found

    def _usual(self, span: _Span) -> Flags:
        """Tell which machines ran as one must that is to be updated, and are not under update."""
        b = self._buckets

        usual: Flags = (
            (self._touched_ns < span.begin * BUCKET_NS)
            & b.heard_in(span.before - RECENT, span.before)
            & b.heard_in(span.watched - RECENT, span.watched + 1)
            & ~b.alarm_in(span.before - RECENT, span.before)
        )
        return usual

    def _changes(self, span: _Span) -> Means:
        """Return (measures, machines) changes, larger is worse; NaN: nothing can be said."""
        b = self._buckets
        before = b.mean(span.begin, span.before)
        # The second half: what a restart leaves behind fades, and harm may grow slowly.
        after = b.mean((span.after + span.end) // 2, span.end)
        changes = self._worse[:, np.newaxis] * (after - before)
        changes[1:][np.isnan(after[1:])] = math.inf  # heard without a key signal
        changes[0, b.alarm_in(span.after, span.end)] = math.inf
        changes[np.isnan(before)] = np.nan
        silent = b.silent_in(span.after, span.end)
        changes[:, silent] = np.nan
        known = b.heard_in(span.begin, span.before)
        silence = np.where(known, silent.astype(np.float64), np.nan)
        return np.concatenate([changes, silence[np.newaxis]])

    def _taken_back(self, update: Update, span: _Span) -> Means:
        """Return the changes of a machine that was plainly unhealthy: only that is known of it."""
        b, i = self._buckets, self._buckets.index[update.device]
        own = np.full(len(self.measures), np.nan)
        back = self._back.get(update.device, (0, 0))[1] // BUCKET_NS
        if back >= span.after:
            own[0] = math.inf if b.alarm_in(span.after, back)[i] else math.nan
            own[-1] = float(b.silent_in(span.after, back)[i])
        return own

    def _earlier(self, number: int, update: Update, look: int, beyond: Means) -> Means:
        """Return the changes of machines of the stage that were ranked before, and keep this."""
        stages = self._ranked.setdefault(number, {})
        for old in sorted(self._ranked)[:-ROLLOUTS]:
            del self._ranked[old]
        ranked = stages.setdefault(f"{update.stage}/{look}", {})
        rows = [row for device, row in ranked.items() if device != update.device]
        ranked[update.device] = beyond.tolist()
        return np.array(rows, float).reshape(len(rows), len(self.measures)).T

    def view(self, rollout: Rollout, updates: Mapping[str, Update], log_threshold: float) -> Health:
        """Return the comparison for people."""
        b = self._buckets
        begin = max(rollout.created_ns // BUCKET_NS - 30, b.oldest)
        ended = rollout.entered_ns // BUCKET_NS + 30 if rollout.phase in ENDED else b.newest
        end = min(ended, b.newest)
        numbers = np.arange(begin, end, max(1, -(-(end - begin) // POINTS)))
        scores = b.scores(numbers)
        free = self._free(updates)
        since, until = self._running(updates)
        runs = (numbers[:, None] >= since) & (numbers[:, None] < until)
        updated = np.where(runs, scores, np.nan)
        control = np.where(free & (self._touched_ns < begin * BUCKET_NS), scores, np.nan)
        columns = [_quantile(rows, q) for q in (0.5, 0.9) for rows in (updated, control)]
        return Health(
            points=[
                HealthPoint(int(n) * BUCKET_NS, *row)
                for n, row in zip(numbers, zip(*columns, strict=True), strict=True)
            ],
            measures=self.measures,
            looks=rollout.order.policy.gate.looks,
            log_evidence=rollout.log_evidence,
            log_threshold=log_threshold,
            controls=int((free & b.heard_in(b.newest - RECENT, b.newest + 1)).sum()),
        )

    def _running(self, updates: Mapping[str, Update]) -> tuple[Places, Places]:
        """Return from which bucket until before which one each machine runs the release."""
        since = np.full(len(self._buckets.devices), _NEVER)
        until = since.copy()
        for device, update in updates.items():
            i = self._buckets.index.get(device)
            if i is not None and update.watched_ns:
                since[i] = update.watched_ns // BUCKET_NS
                action, back_ns = self._back.get(device, (0, 0))
                if action == update.action:
                    until[i] = back_ns // BUCKET_NS
        return since, until

    def snapshot(self) -> bytes:
        """Return all that must outlive the program. The bucket that is filled begins anew."""
        b = self._buckets
        saved = _Saved(
            b.devices, b.newest, b.means, b.heard, b.alarm, self._touched_ns, self._begun,
            self._back, self._ranked,
        )  # fmt: skip
        return artefact.pack(saved, self._made_from)

    def restore(self, saved: bytes) -> None:
        """Take a snapshot back; machines that are new have no past.

        Raises:
            Malformed: it is damaged, or one of other measures; begin anew.
        """
        state = artefact.unpack(saved, _Saved, self._made_from)
        try:
            self._buckets.take(state.devices, state.newest, state.means, state.heard, state.alarm)
            here = [i for i, d in enumerate(state.devices) if d in self._buckets.index]
            there = [self._buckets.index[state.devices[i]] for i in here]
            self._touched_ns[there] = state.touched_ns[here]
        except (IndexError, ValueError) as error:
            raise Malformed(f"saved comparison does not fit: {error}; begin anew") from error
        self._begun, self._back, self._ranked = state.begun, state.back, state.ranked


def _first(seen: dict[str, Action], update: Update, now_ns: int) -> dict[str, Action]:
    if seen.get(update.device, (0, 0))[0] != update.action:
        seen[update.device] = update.action, now_ns
    return seen


def _buckets(seconds: float) -> int:
    return max(1, math.ceil(seconds * NS / BUCKET_NS))


def _medians(changes: Means) -> tuple[Means, Means]:
    """Return each measure's median and spread (as a standard deviation, from the median distance).

    Both are 0 where there is nothing to speak of.
    """
    middle, spread = np.zeros(len(changes)), np.zeros(len(changes))
    for i, row in enumerate(changes):
        finite = row[np.isfinite(row)]
        if len(finite):
            middle[i] = np.median(finite)
            spread[i] = 1.4826 * np.median(np.abs(finite - middle[i]))
    return middle, spread


def _quantile(rows: Means, q: float) -> list[float | None]:
    """Return a quantile of each row without its NaN; None where nothing else is there."""
    ordered = np.sort(rows, axis=1)
    counts = (~np.isnan(ordered)).sum(axis=1)
    return [
        float(row[min(int(q * count), count - 1)]) if count else None
        for row, count in zip(ordered, counts, strict=True)
    ]
