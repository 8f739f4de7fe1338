"""Errors that say what the caller may do next.

``Malformed``: quarantine it; it will never get better.
``Unreachable``: try again later.
``Refused``: the other side understood and said no; try something else.
Everything that is none of these is a bug and stays the exception that it is.
"""


class FarfixError(Exception):
    """Base of every expected error; its text is written for the person who reads it."""


class Malformed(FarfixError):
    """The input breaks the contract. Keep it with this reason, count it, go on."""


class Unreachable(FarfixError):
    """The other side did not answer. The same call may work later."""


class Refused(FarfixError):
    """The other side answered no. Repeating the same call is pointless."""
