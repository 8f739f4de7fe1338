"""One release on its way to many machines: one pure function, `step`, driven by one table.

House rules of the core, as in `cloud.core.case`:

- A function of (rollout, updates, event, now) returns the rollout after it, the updates that
  changed, and what must be done about it. It never waits, reads a clock or performs anything.
- ``TABLE`` says which event means something in which phase, which rule handles it and where the
  rule may lead. An event that is not in the table changes nothing. One machine's part has a table
  of its own in `cloud.core.updating`.
- Every way ends, if machines answer or time passes.

This module is the door to all of it; the words come from `cloud.core.rollout_states`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import msgspec

from cloud.core import rollout_people as people
from cloud.core import rollout_rules as rules
from cloud.core.rollout_moves import Turn
from cloud.core.rollout_order import check, create
from cloud.core.rollout_states import (
    Approved,
    Canceled,
    Compared,
    Event,
    Fetched,
    Outcome,
    Paused,
    Phase,
    Reported,
    Resumed,
    Rollout,
    StopAsked,
    Ticked,
    Update,
)
from cloud.core.rollout_tally import funnel, log_threshold
from contract.errors import Malformed

__all__ = [
    "TABLE",
    "Rule",
    "check",
    "create",
    "decode_rollout",
    "decode_update",
    "encode_rollout",
    "encode_update",
    "funnel",
    "log_threshold",
    "step",
]

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Rule:
    """A handler, and the phases besides the present one that it may lead to."""

    handle: Callable[[Turn, Event], None]
    to: frozenset[Phase]


def _on(
    kind: type[E], handler: Callable[[Turn, E], None], *to: Phase
) -> tuple[type[msgspec.Struct], Rule]:
    def handle(turn: Turn, event: Event) -> None:
        if not isinstance(event, kind):
            raise TypeError(f"the table hands a {type(event).__name__} to a rule for {kind}")
        handler(turn, event)

    return kind, Rule(handle, frozenset(to))


P = Phase
_MACHINES = (_on(Reported, rules.report), _on(Fetched, rules.fetch))
_UNBEGUN = _on(Canceled, people.cancel, P.CANCELED)
_CANCEL = _on(Canceled, people.cancel, P.CANCELLING, P.CANCELED)
_STOP = _on(StopAsked, people.stop, P.STOPPING)
_COMPARED = _on(Compared, rules.compare, P.STOPPING)

TABLE: Mapping[Phase, Mapping[type[msgspec.Struct], Rule]] = MappingProxyType(
    {
        P.PROPOSED: dict(
            [_on(Approved, people.take_up, P.AWAITING_APPROVAL, P.RUNNING), _UNBEGUN, *_MACHINES]
        ),
        P.AWAITING_APPROVAL: dict([_on(Approved, people.approve, P.RUNNING), _UNBEGUN, *_MACHINES]),
        P.RUNNING: dict(
            [
                _on(Ticked, rules.run, P.STOPPING, P.FINISHED),
                _COMPARED,
                _on(Paused, people.pause, P.PAUSED),
                _CANCEL,
                _STOP,
                *_MACHINES,
            ]
        ),
        P.PAUSED: dict(
            [
                _on(Ticked, rules.rest, P.STOPPING),
                _COMPARED,
                _on(Resumed, people.resume, P.RUNNING),
                _CANCEL,
                _STOP,
                *_MACHINES,
            ]
        ),
        P.STOPPING: dict([_on(Ticked, rules.stopping, P.STOPPED), *_MACHINES]),
        P.CANCELLING: dict([_on(Ticked, rules.cancelling, P.CANCELED), _STOP, *_MACHINES]),
        **{
            phase: dict([_on(Ticked, rules.look_again), *_MACHINES[:1]])
            for phase in (P.STOPPED, P.CANCELED, P.FINISHED)
        },
    }
)
"""Every event that means something in a phase. What a machine says is recorded in any."""


def step(rollout: Rollout, updates: Mapping[str, Update], event: Event, now_ns: int) -> Outcome:
    """Return the rollout after the event, the updates that changed, and what must be done.

    Args:
        rollout: as it was left by the step before.
        updates: of all its machines, by device.
        event: what happened.
        now_ns: plant time.

    Raises:
        Refused: the person may not do that.
        Malformed: what should be p-values are none.
    """
    rule = TABLE[rollout.phase].get(type(event))
    if rule is None:
        return rollout, {}, ()  # late, repeated or out of place: nothing changes
    listening_ns = event.listening_ns if isinstance(event, Ticked) else 0
    turn = Turn(rollout, updates, now_ns, listening_ns)
    rule.handle(turn, event)
    moved = turn.rollout
    if moved.phase is not rollout.phase and moved.phase not in rule.to:
        raise AssertionError(
            f"{type(event).__name__} led rollout {rollout.number} from {rollout.phase} to "
            f"{moved.phase}, which the table does not declare"
        )
    return moved, turn.changed, tuple(turn.effects)


_rollout_decoder = msgspec.json.Decoder(Rollout)
_update_decoder = msgspec.json.Decoder(Update)


def encode_rollout(rollout: Rollout) -> bytes:
    """Return the rollout as JSON, for the store."""
    return msgspec.json.encode(rollout)


def decode_rollout(data: bytes) -> Rollout:
    """Read a stored rollout back.

    Raises:
        Malformed: not written by `encode_rollout` of a compatible version.
    """
    try:
        return _rollout_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Malformed(f"stored rollout cannot be read: {error}") from error


def encode_update(update: Update) -> bytes:
    """Return the update as JSON, for the store."""
    return msgspec.json.encode(update)


def decode_update(data: bytes) -> Update:
    """Read a stored update back.

    Raises:
        Malformed: not written by `encode_update` of a compatible version.
    """
    try:
        return _update_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Malformed(f"stored update cannot be read: {error}") from error
