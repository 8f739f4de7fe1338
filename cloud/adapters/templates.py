"""Formats of other systems as data: which requests a ticket's opening, update and end make.

A format is a TOML file beside this one, in ``formats/``. Every text in it is a Jinja2 expression
over the event; numbers and booleans stand for themselves, and what comes out as nothing is left
out. See ``docs/howto-webhooks.md``.
"""

import base64
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import jinja2
import msgspec
from jinja2.sandbox import SandboxedEnvironment
from msgspec import Meta, Struct

from cloud.adapters.outgoing import Answer, Request
from cloud.core.delivery import message_id
from cloud.core.telling import EventType, Telling
from contract.errors import Refused, Unreachable

SETTING_MAX = 500
HIDDEN = "(hidden)"
"""Stands for a secret wherever settings are shown."""
TICKETS = (
    EventType.TICKET_OPENED,
    EventType.TICKET_UPDATED,
    EventType.TICKET_WITHDRAWN,
    EventType.TICKET_CLOSED,
    EventType.TEST,
)
"""What other systems have a form for; cases they do not."""
_STEPS = {
    EventType.TICKET_OPENED: "open",
    EventType.TICKET_UPDATED: "update",
    EventType.TICKET_WITHDRAWN: "withdraw",
    EventType.TICKET_CLOSED: "close",
}
Send = Callable[[Request], Awaitable[Answer]]
Tree = Any  # JSON has no type
"""A body: tables, lists and expressions."""


class Setting(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody must say so that the other system lets us in."""

    label: str
    required: bool = True
    secret: bool = False


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One request."""

    path: str
    """Behind the endpoint's URL."""
    method: Literal["GET", "POST", "PATCH", "PUT"] = "POST"
    body: dict[str, Tree] = {}
    form: dict[str, str] = {}
    """Instead of a body: fields in the form of a web page."""


class Lookup(Step, frozen=True, forbid_unknown_fields=True):
    """Asks for the other side's own id of our ticket."""

    found: str = ""
    """The id, from ``answer``; nothing where the other side does not know the ticket."""
    seen: str = "false"
    """Whether the other side has taken this very event already."""


class Login(Step, frozen=True, forbid_unknown_fields=True):
    """Asks for a short-lived key."""

    token: str = ""


class Format(Struct, frozen=True, forbid_unknown_fields=True):
    """How one kind of system is told about tickets."""

    title: Annotated[str, Meta(min_length=1)]
    docs: str
    """Where its maker documents the requests."""
    url: str
    """An example of the endpoint's URL."""
    open: Step
    withdraw: Step
    close: Step
    update: Step | None = None
    """Left out where the other side needs none, or would take it for an opening."""
    headers: dict[str, str] = {}
    settings: dict[str, Setting] = {}
    words: dict[str, dict[str, Any]] = {}
    """Our words in the other side's: severities, states."""
    lookup: Lookup | None = None
    login: Login | None = None


@cache
def shipped() -> Mapping[str, Format]:
    """Return all formats by name."""
    folder = resources.files("cloud.adapters") / "formats"
    return {
        entry.name.removesuffix(".toml"): msgspec.convert(
            tomllib.loads(entry.read_text(encoding="utf-8")), Format
        )
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    }


def check(name: str, settings: Mapping[str, str]) -> None:
    """See whether settings are what a format asks for.

    Raises:
        Refused: one is missing, unknown, too long or holds control characters.
    """
    asked = shipped()[name].settings if name in shipped() else {}
    unknown = sorted(set(settings) - set(asked))
    if unknown:
        raise Refused(f"format {name} has no setting {unknown[0][:80]!r}; it knows: {_list(asked)}")
    for key, setting in asked.items():
        value = settings.get(key, "")
        if setting.required and not value:
            raise Refused(f"format {name} needs the setting {key!r}: {setting.label}")
        if len(value) > SETTING_MAX or not value.isprintable():
            raise Refused(f"setting {key!r} holds control characters or is too long")


def shown(name: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings without their secrets."""
    return {k: HIDDEN if v and is_secret(name, k) else v for k, v in settings.items()}


def is_secret(name: str, setting: str) -> bool:
    """Tell whether a setting is never to be shown."""
    known = shipped()[name].settings if name in shipped() else {}
    return setting not in known or known[setting].secret


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"


async def tell(
    name: str, url: str, settings: Mapping[str, str], event: Telling, send: Send
) -> Answer:
    """Tell another system about a ticket, and return the answer that counts.

    What was done before is found at the other side, so that the same event again does it once.

    Args:
        name: of the format.
        url: of the endpoint, without a path.
        settings: that `check` has passed.
        event: about a ticket.
        send: makes one request.

    Raises:
        Refused: the event cannot be put into this form.
        Unreachable: as `send` does; or a look-up answers what cannot be read.
    """
    told = _Told(shipped()[name], url.rstrip("/"), settings, event)
    return await told.tell(send)


class _Told:
    """One event on its way into a format."""

    def __init__(self, form: Format, url: str, settings: Mapping[str, str], event: Telling) -> None:
        self._form, self._url, self._type = form, url, event.type
        self._names: dict[str, object] = {
            "settings": dict(settings),
            "words": form.words,
            "event": {
                "id": message_id(event.id),
                "type": event.type.value,
                "at_ns": event.at_ns,
            },
            "token": "",
            "found": None,
            **msgspec.json.decode(event.data, type=dict[str, Any]),
        }

    async def tell(self, send: Send) -> Answer:
        form = self._form
        if form.login is not None:
            answer = await send(self._request(form.login))
            if not answer.taken:
                return answer
            self._names["token"] = self._read(form.login.token, answer)
            if not self._names["token"]:
                raise Unreachable(f"{form.title} answered the sign-in without a key")
        if form.lookup is not None:
            answer = await send(self._request(form.lookup))
            if not answer.taken:
                return answer
            self._names["found"] = self._read(form.lookup.found, answer)
            if self._read(form.lookup.seen, answer) or self._type is EventType.TEST:
                return answer
        if self._type is EventType.TEST:  # nothing shall stay open of it
            opened = await send(self._request(form.open))
            return await send(self._request(form.withdraw)) if opened.taken else opened
        step = self._step()
        if step is None:
            return Answer(status=204, body=b"", retry_after_s=None)
        return await send(self._request(step))

    def _step(self) -> Step | None:
        """Return the request that is left to make; None: there is nothing left to do."""
        form, known = self._form, self._names["found"] is not None
        if form.lookup is None:
            return self._own()
        if self._type is EventType.TICKET_OPENED and known:
            return None
        if self._type is EventType.TICKET_UPDATED and not known:
            return form.open
        return self._own() if known or self._type is EventType.TICKET_OPENED else None

    def _own(self) -> Step | None:
        step: Step | None = getattr(self._form, _STEPS[self._type])
        return step

    def _request(self, step: Step) -> Request:
        made = {name: self._value(text) for name, text in self._form.headers.items()}
        headers = {name: str(value) for name, value in made.items() if value is not None}
        body = b""
        if step.form:
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode({k: str(self._value(v)) for k, v in step.form.items()}).encode()
        elif step.body:
            headers["content-type"] = "application/json"
            body = msgspec.json.encode(self._tree(step.body))
        path = str(self._value(step.path))
        return Request(method=step.method, url=self._url + path, headers=headers, body=body)

    def _tree(self, tree: Tree) -> Tree:
        if isinstance(tree, dict):
            made = {key: self._tree(value) for key, value in tree.items()}
            return {key: value for key, value in made.items() if value is not None}
        if isinstance(tree, list):
            return [self._tree(value) for value in tree]
        return self._value(tree) if isinstance(tree, str) else tree

    def _read(self, expression: str, answer: Answer) -> object:
        try:
            self._names["answer"] = msgspec.json.decode(answer.body) if answer.body else None
        except msgspec.DecodeError as error:
            raise Unreachable(f"{self._form.title} answered what is no JSON: {error}") from error
        return self._value(expression)

    def _value(self, expression: str) -> object:
        try:
            found = _compiled(expression)(**self._names)
            return str(found) if isinstance(found, str) else found
        except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
            raise Refused(
                f"{self._form.title}: {expression!r} cannot be filled: {error}"
            ) from error


@cache
def _environment() -> SandboxedEnvironment:
    made = SandboxedEnvironment(autoescape=False)
    made.filters["b64"] = lambda text: base64.b64encode(text.encode()).decode()
    made.filters["moment"] = _moment
    made.filters["like"] = lambda text: (
        text.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    )
    return made


@cache
def _compiled(expression: str) -> Callable[..., object]:
    return _environment().compile_expression(expression)


def _moment(time_ns: int | None, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str | None:
    """Write plant time in UTC."""
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime(form)
