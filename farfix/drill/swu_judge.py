"""The judge of the drill: what the gateway says of an update beside what is on the computer."""

from enum import StrEnum

from msgspec import Struct

from cloud.core.rollout_states import UpdatePhase
from farfix.drill.swu_plan import ENDS, Fault

OLD_ENDS = (UpdatePhase.FAILED, UpdatePhase.CANCELED, UpdatePhase.SKIPPED, UpdatePhase.REVERTED)
"""Ends that promise that the old payload runs."""


class Payload(StrEnum):
    """What is in the slot that the computer runs, by its hash."""

    OLD = "old"
    NEW = "new"
    MIXED = "mixed"
    """Neither."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one run."""

    number: int
    fault: Fault
    payload_bytes: int
    fired: int
    """How often the fault really happened."""
    phase: UpdatePhase
    """The gateway's verdict."""
    detail: str
    version: str
    """What the gateway says that the machine runs."""
    case_open: bool
    payload: Payload
    on_device: str
    """Version of the payload that runs; empty if it is mixed."""
    claimed: str
    """Version that must run if the client's own words to the gateway are true."""
    spare_damaged: bool
    """In the slot that does not run lies half a payload."""
    downloaded: int
    """Bytes of bundles that passed the proxy."""
    ranges: int
    """Downloads that went on where an earlier one was cut."""
    seconds: float


class Judged(Struct, frozen=True):
    """An outcome, and what is wrong with it."""

    outcome: Outcome
    problems: list[str]


def judge(o: Outcome) -> Judged:
    """Hold the gateway's verdict against the truth."""
    found = []
    if o.payload is Payload.MIXED:
        found.append("a mixed payload runs")
    truthful = o.claimed == o.on_device
    if not truthful:
        right: tuple[UpdatePhase, ...] = (UpdatePhase.UNCLEAR,)
    elif o.payload is Payload.NEW:
        right = (UpdatePhase.UPDATED,)
    else:
        right = OLD_ENDS
    if o.phase not in right:
        found.append(
            f"the gateway says {o.phase} ({o.detail}), but the client's words mean "
            f"{o.claimed} and {o.on_device or 'nothing whole'} runs"
        )
    if o.phase not in ENDS[o.fault]:
        found.append(f"{o.fault} should end {' or '.join(ENDS[o.fault])}, not {o.phase}")
    if o.version != o.on_device:
        found.append(f"the gateway reads version {o.version or 'none'}, {o.on_device} runs")
    if o.case_open != (o.phase is UpdatePhase.UNCLEAR):
        found.append("a case is open" if o.case_open else "no case is open")
    if not o.fired:
        found.append("the fault did not happen")
    return Judged(o, found)
