"""Commands to a device and their answers.

A command acts at most once: its id is remembered on the edge across restarts, it expires, and its
precondition is looked at on the device directly before it acts.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from contract.codec import Message
from contract.firmware import ReleaseRef
from contract.telemetry import Name, TimeNs

CommandId = Annotated[str, Meta(min_length=1, max_length=80)]


class Precondition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signal must read before the command may act; all given limits must hold."""

    signal: Name
    minimum: float | None = None
    maximum: float | None = None
    one_of: list[float] | None = None

    def holds(self, value: float | None) -> bool:
        """Tell whether the reading allows the command; no reading never does."""
        if value is None:
            return False
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.one_of is None or value in self.one_of)
        )


class Command(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Do one thing that the machine type lists, once, before it expires."""

    id: CommandId
    name: Name
    """A command of the device's machine type."""
    issued_ns: TimeNs
    expires_ns: TimeNs
    argument: float | None = None
    """In the unit that the machine type gives for the command's argument."""
    precondition: Precondition | None = None
    """Added to the precondition of the machine type."""
    release: ReleaseRef | None = None
    """What to install, or what to go back to, for commands about firmware."""


class AnswerStatus(StrEnum):
    """How a command ended. Only ``DONE`` and ``FAILED`` may have touched the machine."""

    DONE = "done"
    """Acted, and read back as it should."""
    FAILED = "failed"
    """Acted or tried to, but the read-back disagrees or the device broke off."""
    REFUSED = "refused"
    """Did not act: unknown, out of bounds, precondition not met, or signature refused."""
    EXPIRED = "expired"
    """Did not act: it came too late."""
    UNREACHABLE = "unreachable"
    """Did not act: the device did not answer."""


class Answer(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a command. A repeated command is answered again, not executed again."""

    id: CommandId
    status: AnswerStatus
    at_ns: TimeNs
    """When it ended at the device; evidence of recovery must be younger."""
    reason: Annotated[str, Meta(max_length=1000)] = ""
    readback: dict[str, float | None] = {}
    firmware: str = ""
    """Version read from the device after an update."""
