"""Who may do what: people by role, and other systems by token."""

import re
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct

from contract.errors import Refused

NAME = re.compile(r"[a-z0-9][a-z0-9_.@+-]{0,63}")
"""A name of a person or a system; both share one set of names, so that it says who it was."""
RESERVED = ("api", "gateway", "nobody", "system")
"""Names that stand for the gateway itself in timelines and in the audit log."""
PASSWORD_MIN, PASSWORD_MAX = 12, 200
_TRIVIAL = ("password", "passwort", "farfix", "qwerty", "letmein", "welcome", "123456", "admin")
_DISTINCT_MIN = 6


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


LADDER = (Role.VIEWER, Role.OPERATOR, Role.ENGINEER, Role.ADMIN)
"""Roles of people; a token may have any role."""


class Person(Struct, frozen=True):
    """Somebody who is signed in, or a system with a token."""

    name: str
    """Unique; stands in timelines and in the audit log."""
    role: Role
    language: str = ""
    """``en`` or ``zh``; empty: never chosen, the browser's counts."""


GATEWAY = Person("api", Role.ADMIN)
"""Who holds the gateway's own token."""
BY_TOKEN = " (by api token)"  # noqa: S105 (words, no secret)
"""Follows a name that was given with the gateway's own token: typed, not signed in."""


def may(person: Person, role: Role) -> bool:
    """Tell whether a person may do what asks for a role."""
    if role not in LADDER:
        return person.role in (role, Role.ADMIN)
    return person.role in LADDER[LADDER.index(role) :]


def check_name(name: str) -> None:
    """Check a new name.

    Raises:
        Refused: it cannot be one, and why.
    """
    if not NAME.fullmatch(name):
        raise Refused(
            f"{name[:64]!r} cannot be a name: it has 1 to 64 small letters, digits or . _ - + @, "
            "and begins with a letter or a digit"
        )
    if name in RESERVED:
        raise Refused(f"{name!r} stands for the gateway itself: choose another name")


def check_password(password: str, name: str) -> None:
    """Check a new password.

    Raises:
        Refused: it is too easy to guess, and why.
    """
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise Refused(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    rest = low = password.casefold()
    for word in (*_TRIVIAL, *([name] if len(name) > 2 else [])):
        rest = rest.replace(word, "")
    if len(rest) < PASSWORD_MIN // 2 or len(set(low)) < _DISTINCT_MIN or _runs(low):
        raise Refused("the password is easy to guess: choose another")


def _runs(text: str) -> bool:
    """Tell whether a text only counts up or down, as in ``abcdefghijkl`` or ``0987654321``."""
    steps = [ord(b) - ord(a) for a, b in pairwise(text)]
    return sum(step in (1, -1) for step in steps) >= len(steps) * 0.75
