"""Who looks at a page: their name, role and language."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote

from fastapi import Request
from msgspec.structs import replace
from nicegui import context, ui
from nicegui.slot import Slot

from cloud.core.people import Person, Role, may
from cloud.web.people_ports import COOKIE, People
from contract.errors import Refused

LANGUAGE_COOKIE = "farfix_language"
"""What was chosen before anybody signed in."""
LANGUAGES = ("en", "zh")

_people: People | None = None
_reading: ContextVar[str] = ContextVar("reading", default="")


def install(people: People) -> None:
    """Say who knows the people; the console's pages are one per process."""
    global _people  # noqa: PLW0603 (as the pages are)
    _people = people


def signed_in(request: Request) -> Person | None:
    """Return who is signed in, with the language they read; None: nobody, or no longer."""
    session = request.cookies.get(COOKIE, "")
    found = _people.by_session(session) if _people is not None else None
    if found is None or found.language:
        return found
    return replace(found, language=preferred(request))


def person() -> Person:
    """Return who is signed in on the page under work, looked up anew.

    Raises:
        Refused: nobody is any more.
    """
    found = signed_in(context.client.request)
    if found is None:
        raise Refused("you are signed out: sign in again")
    return found


def allowed(role: Role) -> bool:
    """Tell whether who looks at the page may do what asks for a role; nobody may nothing."""
    found = signed_in(context.client.request)
    return found is not None and may(found, role)


def leave_if_signed_out() -> None:
    """Lead a page whose session has ended to the door."""
    request = context.client.request
    if signed_in(request) is None:
        ui.navigate.to(f"/sign-in?next={quote(request.url.path, safe='')}")


def language() -> str:
    """Return the language of who looks at the page under work; outside of one, English."""
    if _reading.get():
        return _reading.get()
    if not Slot.get_stack():
        return "en"
    request = context.client.request
    found = signed_in(request)
    return found.language if found is not None else preferred(request)


@contextmanager
def reading(chosen: str) -> Iterator[None]:
    """Let texts be in a language, for pages that are not the console's own."""
    before = _reading.set(chosen)
    try:
        yield
    finally:
        _reading.reset(before)


def preferred(request: Request) -> str:
    """Return the language that a browser asks for: what was chosen in it, else its own."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    for part in request.headers.get("accept-language", "")[:200].split(","):
        tag = part.split(";")[0].strip().casefold()[:2]
        if tag in LANGUAGES:
            return tag
    return "en"
