"""What a rollout does when people decide; `cloud.core.rollout` says when."""

from msgspec import structs

from cloud.core.people import BY_TOKEN
from cloud.core.rollout_moves import Turn, begin_stop, call_back, enter, is_active
from cloud.core.rollout_states import (
    Approved,
    Canceled,
    Paused,
    Phase,
    Record,
    Resumed,
    StopAsked,
    StopKind,
)
from contract.errors import Refused

NAME_MAX = 80
WHY_MAX = 1000


def take_up(turn: Turn, event: Approved) -> None:
    """Make the person who takes a proposal up its author.

    Raises:
        Refused: no such name can be kept.
    """
    _person(event.by)
    if turn.rollout.high_risk:
        said = f"{event.by} takes the proposal up. A second person must agree: the risk is high."
        record = Record(event.by, "taken up", said)
        enter(turn, Phase.AWAITING_APPROVAL, record, author=event.by)
        return
    record = Record(event.by, "taken up", f"{event.by} takes the proposal up.")
    enter(turn, Phase.RUNNING, record, author=event.by, stage_ns=turn.now_ns)


def approve(turn: Turn, event: Approved) -> None:
    """Begin, because a second person agrees.

    Raises:
        Refused: it is the same person, or no such name can be kept.
    """
    _person(event.by)
    if _same(event.by, turn.rollout.author):
        raise Refused(f"{event.by} asked for this rollout: a second person must approve it")
    record = Record(event.by, "approved", f"{event.by} agrees.")
    enter(turn, Phase.RUNNING, record, approver=event.by, stage_ns=turn.now_ns)


def pause(turn: Turn, event: Paused) -> None:
    """Begin no more machines."""
    _person(event.by)
    enter(turn, Phase.PAUSED, Record(event.by, "paused", _said("pauses it", event)))


def resume(turn: Turn, event: Resumed) -> None:
    """Begin machines again."""
    _person(event.by)
    enter(turn, Phase.RUNNING, Record(event.by, "resumed", f"{event.by} lets it go on."))


def cancel(turn: Turn, event: Canceled) -> None:
    """End it; what was updated stays so."""
    _person(event.by)
    record = Record(event.by, "canceled", _said("ends it; updated machines stay so", event))
    enter(turn, Phase.CANCELLING, record)
    call_back(turn)
    if not is_active(turn):
        turn.rollout = structs.replace(turn.rollout, phase=Phase.CANCELED)


def stop(turn: Turn, event: StopAsked) -> None:
    """Stop it as the gate would; machines are taken back when facts about them come."""
    _person(event.by)
    begin_stop(turn, StopKind.PERSON, _said("stops it", event), by=event.by)


def _said(did: str, event: Paused | Canceled | StopAsked) -> str:
    why = event.why.strip()[:WHY_MAX]
    return f"{event.by} {did}: {why}" if why else f"{event.by} {did}."


def _same(one: str, other: str) -> bool:
    names = {name.removesuffix(BY_TOKEN).strip().casefold() for name in (one, other)}
    return len(names) == 1


def _person(name: str) -> None:
    if not name.strip() or len(name) > NAME_MAX:
        raise Refused(f"a person's name has 1 to {NAME_MAX} characters")
