"""Every rollout: moved by what machines say and show, by people, and by the clock.

A rollout, the updates of its machines and their lines in the audit log are saved in one
transaction. What else follows (commands to edge agents, offers to DDI clients) is read from the
saved state again and again until it is done.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cloud.adapters.rollout_store import DeviceRow, Line, RolloutRow, UpdateRow
from cloud.core import rollout as rules
from cloud.core.rollout_states import (
    ACTIONS_PER_ROLLOUT,
    ACTIVE,
    ENDED,
    ENDS,
    ROLLOUTS_MAX,
    Candidate,
    Compared,
    Disagreement,
    Event,
    Facts,
    Order,
    Outcome,
    Phase,
    Quarantine,
    Record,
    Report,
    Reported,
    Rollout,
    Ticked,
    Update,
    UpdatePhase,
)
from cloud.service.devices import Devices
from cloud.service.parts import Parts
from cloud.service.rate import Rate
from cloud.service.sight import Sight
from cloud.web import metrics
from cloud.web.rollout_ports import Standing
from contract.errors import Refused
from contract.firmware import Claims

Updates = dict[str, Update]
_MAY_CHANGE_YET = (UpdatePhase.FAILED, UpdatePhase.CANCELED, UpdatePhase.REVERTED)
"""Ends after which a restart may still bring out that the machine runs something else."""


class Views(Struct, frozen=True):
    """What rollouts see of the gateway's other parts."""

    sight: Sight
    case_of: Callable[[str], str]
    """The device's open case; empty: none."""
    disagree: Callable[[str, str], None]
    """Opens a case about a device, with the reason."""
    listening_ns: Callable[[], int]
    """Since when machines are heard without a break of our own."""
    due: Callable[[Rollout, Updates, int], Sequence[Compared]]
    """Comparisons of updated machines that have become possible."""


class Rollouts:
    """Holds the open rollouts."""

    def __init__(self, parts: Parts, devices: Devices, views: Views) -> None:
        self._parts, self._devices, self._views = parts, devices, views
        self._store = parts.store.updates
        self.all: dict[int, Rollout] = {}
        """All there ever were, by number."""
        self._open: dict[int, Updates] = {}
        self._active: dict[str, Update] = {}
        """The open action of each device that has one."""
        self._ended: dict[str, Update] = {}
        """The last ended action of each device since the start."""
        self._strays = Rate(per_key=6, all_together=60)
        self._past: dict[int, str] = {}
        """Whose an ended action of an open rollout was."""
        self.on_remedy_end: Callable[[Rollout, Update], None] = _ignore
        """Told, at least once, how a case's remedy has ended."""
        for row in self._store.rollouts():
            rollout = rules.decode_rollout(row.data)
            self.all[rollout.number] = rollout
            if row.open:
                self._open[rollout.number] = self._load(rollout.number)
                self._note_active(self._open[rollout.number])

    # What the loops say.

    def tick(self) -> None:
        """Let time pass for every open rollout."""
        now_ns = self._parts.clock.now_ns()
        for phase in Phase:
            if phase not in ENDED:
                count = sum(self.all[number].phase is phase for number in self._open)
                metrics.open_rollouts.labels(phase.value).set(count)
        for number in list(self._open):
            rollout, updates = self.all[number], self._open[number]
            facts = {
                device: self._facts(rollout, device)
                for device, update in updates.items()
                if self._matters(rollout, update, now_ns)
            }
            if rollout.phase in ENDED and not facts:
                self._close(number)
                continue
            self.apply(number, Ticked(facts, self._views.listening_ns()), now_ns)
            for compared in self._views.due(self.all[number], updates, now_ns):
                self.apply(number, compared, now_ns)

    def _close(self, number: int) -> None:
        """Forget the machines of a rollout that nothing can happen to any more."""
        self._store.save(_rollout_row(self.all[number], is_open=False))
        del self._open[number]
        self._past = {a: d for a, d in self._past.items() if _number(a) != number}

    def reported(
        self, device: str, action: int, report: Report, detail: str, at_ns: int | None = None
    ) -> None:
        """Take an installer's word about an action, at a time of the gateway's clock."""
        now_ns, active = self._parts.clock.now_ns(), self._active.get(device)
        at_ns = now_ns if at_ns is None else min(at_ns, now_ns)
        if active is not None and active.action == action:
            self.apply(active.number, Reported(device, action, report, at_ns, detail), now_ns)
        elif self._strays.allows(device):
            said = f"Said '{report.value}' about action {action}, which is not open. {detail}"
            self.record(Record("gateway", "stray report", said, device))

    def create(
        self,
        order: Order,
        author: str,
        claims: Claims,
        candidates: Sequence[Candidate],
        *,
        phase: Phase | None = None,
        case_id: str = "",
        command_id: str = "",
        proposal: str = "",
    ) -> Rollout:
        """Begin a rollout.

        Raises:
            Refused: the order makes no sense, or reaches no machine.
        """
        number = self.next_number()
        if number > ROLLOUTS_MAX:
            raise Refused(f"there were {ROLLOUTS_MAX} rollouts; numbers of actions are used up")
        now_ns = self._parts.clock.now_ns()
        outcome = rules.create(
            number, order, author, claims, candidates, now_ns,
            phase=phase, case_id=case_id, command_id=command_id, proposal=proposal,
        )  # fmt: skip
        self._commit(outcome, now_ns)
        return self.all[number]

    def apply(self, number: int, event: Event, now_ns: int) -> bool:
        """Move an open rollout and save what came of it; false when nothing did."""
        outcome = rules.step(self.all[number], self._open[number], event, now_ns)
        moved, changed, effects = outcome
        if moved == self.all[number] and not changed and not effects:
            return False
        self._commit(outcome, now_ns)
        return True

    def record(self, record: Record, number: int = 0) -> None:
        """Write a line into the audit log."""
        line = _line(record, number, self._parts.clock.now_ns())
        self._store.save(None, lines=[line])

    # What others ask.

    def open(self) -> Iterator[tuple[Rollout, Updates]]:
        """Return the rollouts that something can still happen in, with their machines."""
        for number, updates in list(self._open.items()):
            yield self.all[number], updates

    def next_number(self) -> int:
        """Return the number of the rollout to come."""
        return max([*self.all], default=0) + 1

    def is_open(self, number: int) -> bool:
        """Tell whether people can still decide about a rollout."""
        return number in self._open and self.all[number].phase not in ENDED

    def updates(self, number: int) -> Updates:
        """Return the updates of a rollout's machines."""
        return self._open[number] if number in self._open else self._load(number)

    def active(self, device: str) -> tuple[Rollout, Update] | None:
        """Return a device's update that is under way."""
        update = self._active.get(device)
        return None if update is None else (self.all[update.number], update)

    def ended(self, device: str) -> Update | None:
        """Return a device's update that ended last, as far as this process has seen."""
        return self._ended.get(device)

    def standing(self, device: str, action: int) -> Standing:
        """Tell how an action stands to a device."""
        update = self._active.get(device)
        number = action // ACTIONS_PER_ROLLOUT
        if update is not None and update.action == action:
            return "cancelling" if update.phase is UpdatePhase.CANCELLING else "open"
        if self._past.get(action) == device:
            return "ended"
        its = self.updates(number).get(device) if number in self.all else None
        return "ended" if its is not None and its.action == action else "foreign"

    # How rollouts move.

    def _facts(self, rollout: Rollout, device: str) -> Facts:
        seen, now_ns = self._views.sight.seen(device), self._parts.clock.now_ns()
        silent_ns = int(self._parts.config.silent_after_s * 1e9)
        return Facts(
            version=seen.version,
            version_ns=seen.version_ns,
            alarm=seen.alarm,
            silent=now_ns - seen.heard_ns > silent_ns,
            busy=self._busy(rollout, device),
            elsewhere=self._elsewhere(rollout, device),
            quarantined=self._devices.row(device).quarantined,
        )

    def _matters(self, rollout: Rollout, update: Update, now_ns: int) -> bool:
        """Tell whether the rules look at what the machine shows."""
        if update.phase is UpdatePhase.WAITING:
            return rollout.phase not in ENDED and update.stage <= rollout.stage
        if update.phase is UpdatePhase.UPDATED:
            return rollout.phase is Phase.STOPPING
        if update.phase in _MAY_CHANGE_YET:
            readback_ns = int(rollout.order.policy.limits.readback_s * 1e9)
            last = self._ended.get(update.device, update)
            return last.number == update.number and now_ns < update.entered_ns + readback_ns
        return update.phase in ACTIVE

    def _elsewhere(self, rollout: Rollout, device: str) -> bool:
        other = self._active.get(device)
        return other is not None and other.number != rollout.number

    def _busy(self, rollout: Rollout, device: str) -> str:
        if self._elsewhere(rollout, device):
            return f"rollout {self._active[device].number} has an open action on it"
        case = self._views.case_of(device)
        return f"case {case} is open" if case and case != rollout.case_id else ""

    def _commit(self, outcome: Outcome, now_ns: int) -> None:
        """Save a step; what others must know is told before, so that it is never forgotten."""
        moved, changed, effects = outcome
        for effect in effects:
            if isinstance(effect, Disagreement):
                self._views.disagree(effect.device, effect.detail)
        if moved.command_id:
            for update in changed.values():
                if update.phase in ENDS:
                    self.on_remedy_end(moved, update)
        rows = [self._after(effect) for effect in effects if isinstance(effect, Quarantine)]
        self._store.save(
            _rollout_row(moved, is_open=True),
            [_row(update) for update in changed.values()],
            [_line(e, moved.number, now_ns) for e in effects if isinstance(e, Record)],
            rows,
        )
        for row in rows:
            self._devices.keep(row)
        self._count(moved, changed)
        self._take_over(moved, changed)

    def _count(self, moved: Rollout, changed: Updates) -> None:
        before = self._open.get(moved.number, {})
        for device, update in changed.items():
            if update.phase in ENDS and (device not in before or before[device].phase not in ENDS):
                metrics.ended_updates.labels(update.phase.value).inc()
        if moved.stop is not None and self.all[moved.number].stop is None:
            metrics.stopped_rollouts.labels(moved.stop.kind.value).inc()

    def _after(self, effect: Quarantine) -> DeviceRow:
        row = self._devices.row(effect.device)
        return replace(row, quarantined=effect.why, failures=row.failures + 1)

    def _take_over(self, moved: Rollout, changed: Updates) -> None:
        number = moved.number
        self.all[number] = moved
        updates = self._open.setdefault(number, {})
        for device, update in changed.items():
            before = updates.get(device)
            if before is not None and before.action not in (0, update.action):
                self._past[before.action] = device
            updates[device] = update
            if update.phase in ENDS and update.action:
                self._ended[device] = update
        self._note_active(changed)

    def _note_active(self, changed: Updates) -> None:
        for device, update in changed.items():
            if update.phase in ACTIVE:
                self._active[device] = update
            elif device in self._active and self._active[device].number == update.number:
                del self._active[device]

    def _load(self, number: int) -> Updates:
        rows = self._store.updates(number)
        return {row.device: rules.decode_update(row.data) for row in rows}


def _number(action: int) -> int:
    return action // ACTIONS_PER_ROLLOUT


def _rollout_row(rollout: Rollout, *, is_open: bool) -> RolloutRow:
    return RolloutRow(
        number=rollout.number,
        phase=rollout.phase.value,
        open=is_open,
        data=rules.encode_rollout(rollout),
    )


def _row(update: Update) -> UpdateRow:
    return UpdateRow(
        number=update.number,
        device=update.device,
        phase=update.phase.value,
        active=update.phase in ACTIVE,
        data=rules.encode_update(update),
    )


def _line(record: Record, number: int, now_ns: int) -> Line:
    return Line(
        at_ns=now_ns,
        by=record.by,
        what=record.what,
        text=record.text,
        device=record.device,
        rollout=number,
    )


def _ignore(_rollout: Rollout, _update: Update) -> None:
    """Be told and do nothing."""
