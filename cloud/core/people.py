"""Who may do what: people by role, and other systems by token."""

from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What a person or a system may do; each of the first four may all that the ones before may."""

    VIEWER = "viewer"
    """Look at everything."""
    OPERATOR = "operator"
    """Decide about cases: approve, reject, order a visit, call a wrong alarm, close."""
    ENGINEER = "engineer"
    """Send commands, try remedies, start and approve rollouts."""
    ADMIN = "admin"
    """Manage people, tokens, webhooks and customers."""
    DISPATCH = "dispatch"
    """A dispatch system: visits and closing reports, nothing else."""
    ALERTS = "alerts"
    """An alerting system: hands in alerts, nothing else."""


_LADDER = (Role.VIEWER, Role.OPERATOR, Role.ENGINEER, Role.ADMIN)


class Person(Struct, frozen=True):
    """Somebody who is signed in, or a system with a token."""

    name: str
    """Unique; stands in timelines and in the audit log."""
    role: Role
    language: str = "en"
    """``en`` or ``zh``."""


def may(person: Person, role: Role) -> bool:
    """Tell whether a person may do what asks for a role."""
    if role not in _LADDER:
        return person.role in (role, Role.ADMIN)
    return person.role in _LADDER[_LADDER.index(role) :]
