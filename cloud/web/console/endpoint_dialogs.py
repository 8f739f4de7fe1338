"""What admins may do about webhook endpoints, each asked for in a dialog.

Dialogs belong to a host that outlives the lists: a list that is built anew must not take the page
away from under the pen.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui
from nicegui.element import Element

from cloud.adapters import templates
from cloud.core.people import Role
from cloud.core.telling import EventType
from cloud.web.console.decisions import attempt
from cloud.web.console.parts import Text, box
from cloud.web.console.tongue import later, t, told, utc
from cloud.web.console.viewer import allowed, person
from cloud.web.hook_ports import Delivery, Endpoint, EndpointOrder, Hooks

OWN = "farfix"
OWN_URL = "https://dispatch.example.com/hooks"
SIGNING = {
    "hmac": later("A secret that both sides know (HMAC)"),
    "ed25519": later("A key pair, only the public key leaves (ed25519)"),
}


def format_title(name: str) -> str:
    """Return what a format is called."""
    return t("Farfix, signed events") if name == OWN else templates.shipped()[name].title


def button(
    label: str, icon: str, act: Callable[[], object], about: str = "", *, main: bool = False
) -> ui.button:
    """Return a button in the console's look; ``about`` tells it from others of its name."""
    made = ui.button(label, icon=icon or None, color=None, on_click=act)
    made.props("unelevated no-caps").classes(f"btn {'btn-main' if main else 'btn-side'}")
    if about:
        made.props["aria-label"] = f"{label}: {about}"
    return made


@contextmanager
def _dialog(host: Element, title: str, *, stays: bool = False) -> Iterator[ui.dialog]:
    with host, ui.dialog(value=True) as dialog, ui.card().classes("dialog"):
        Text(title, tag="h2", classes="wrap")
        yield dialog
    if stays:
        dialog.props("persistent")
    dialog.on("hide", dialog.delete)


def _decide(dialog: ui.dialog, label: str, act: Callable[[], Awaitable[bool]]) -> None:
    """Add the buttons; the dialog closes when it was done. Only admins may, still."""

    async def go() -> None:
        if await _as_admin(act):
            dialog.close()

    with box("right-row"):
        button(t("Back"), "", dialog.close)
        button(label, "", go, main=True)


async def _as_admin(act: Callable[[], Awaitable[bool]]) -> bool:
    if not allowed(Role.ADMIN):
        ui.notify(t("Only admins may do this; sign in again."), type="warning")
        return False
    return await act()


def buttons(hooks: Hooks, endpoint: Endpoint, host: Element) -> None:
    """Show what may be done about an endpoint."""
    name, off = endpoint.order.name, bool(endpoint.disabled)
    with box("actions"):
        if not off:
            button(t("Send a test"), "send", lambda: _test(hooks, endpoint), name)
        label, icon = (t("Enable"), "play_arrow") if off else (t("Disable"), "pause")
        button(label, icon, lambda: _switch(hooks, endpoint, on=off), name)
        if not endpoint.from_config:
            button(t("Change"), "edit", lambda: change(hooks, endpoint, host), name)
            if endpoint.order.format == OWN:
                button(t("New secret"), "autorenew", lambda: _rotate(hooks, endpoint, host), name)
            button(t("Delete"), "delete", lambda: _delete(hooks, endpoint, host), name)


async def _test(hooks: Hooks, endpoint: Endpoint) -> None:
    async def act() -> None:
        done = await hooks.test(endpoint.id, person().name)
        if done.state == "delivered":
            ui.notify(t("It was taken, with status {status}.", status=done.status), type="positive")
        else:
            ui.notify(told(done.error) or t("No answer yet."), type="warning", timeout=8000)

    await _as_admin(lambda: attempt(act))


async def _switch(hooks: Hooks, endpoint: Endpoint, *, on: bool) -> None:
    async def act() -> None:
        await hooks.enable(endpoint.id, person().name, enabled=on)

    await _as_admin(lambda: attempt(act))


async def replay(hooks: Hooks, delivery: Delivery) -> None:
    """Try again what was given up."""

    async def act() -> None:
        await hooks.replay(delivery.id, person().name)

    await _as_admin(lambda: attempt(act))


def attempts(hooks: Hooks, delivery: Delivery, host: Element) -> None:
    """Show the requests of one delivery."""
    with _dialog(host, delivery.type.removeprefix("farfix.")) as dialog:
        Text(f"{delivery.subject} · {delivery.message_id}", "mono small muted wrap")
        for one in hooks.attempts(delivery.id):
            with box("stack stack-s"):
                said = str(one.status or t("no answer"))
                took = t("{count} ms", count=round(one.took_ms))
                Text(f"{utc(one.at_ns)} · {said} · {took}", "num")
                if one.error:
                    Text(one.error, "small wrap tone-bad")
        with box("right-row"):
            button(t("Back"), "", dialog.close)


class _Form:
    """The fields of an endpoint."""

    def __init__(self, order: EndpointOrder | None) -> None:
        self._old = order
        given = order or EndpointOrder(name="", url="")
        self._name = ui.input(t("Name of the endpoint"), value=given.name).props(
            "outlined dense maxlength=80"
        )
        formats = {OWN: format_title(OWN)} | {n: f.title for n, f in templates.shipped().items()}
        self._format = ui.select(formats, value=given.format, label=t("Format"))
        self._url = ui.input(t("URL"), value=given.url).props("outlined dense maxlength=2000")
        signing = {key: told(text) for key, text in SIGNING.items()}
        self._signing = ui.select(signing, value=given.signing, label=t("Signed by"))
        self._fields = box("stack")
        kinds = [kind.value for kind in EventType if kind is not EventType.TEST]
        self._events = ui.select(
            kinds, value=list(given.events), label=t("Events (none: all)"), multiple=True
        ).props("use-chips")
        self._private = ui.switch(t("It may lie inside our own network"), value=given.allow_private)
        for field in (self._format, self._signing, self._events):
            field.props("outlined dense")
        if order is not None:
            self._format.disable()
            self._signing.disable()
        self._settings: dict[str, ui.input] = {}
        self._format.on_value_change(self._chosen)
        self._chosen()

    def _chosen(self) -> None:
        name = str(self._format.value)
        self._signing.set_visibility(name == OWN)
        url = OWN_URL if name == OWN else templates.shipped()[name].url
        self._url.props["placeholder"] = url
        self._fields.clear()
        self._settings = {}
        if name == OWN:
            return
        given = self._old.settings if self._old else {}
        with self._fields:
            for key, setting in templates.shipped()[name].settings.items():
                field = ui.input(setting.label, value=given.get(key, ""), password=setting.secret)
                self._settings[key] = field.props("outlined dense autocomplete=off")

    def order(self) -> EndpointOrder:
        """Return what the fields say."""
        fields: dict[str, Any] = {
            "name": str(self._name.value or "").strip(),
            "url": str(self._url.value or "").strip(),
            "format": self._format.value,
            "events": list(self._events.value or []),
            "signing": self._signing.value,
            "allow_private": bool(self._private.value),
            "settings": {
                key: str(field.value).strip()
                for key, field in self._settings.items()
                if field.value
            },
        }
        return EndpointOrder(**fields)


def create(hooks: Hooks, host: Element) -> None:
    """Ask for a new endpoint and show its secret."""
    with _dialog(host, t("New endpoint")) as dialog:
        form = _Form(None)

        async def act() -> bool:
            made: list[str] = []

            async def call() -> None:
                _, secret = await hooks.create(form.order(), person().name)
                made.append(secret)

            done = await attempt(call)
            if made and made[0]:
                _show(made[0], host)
            return done

        _decide(dialog, t("Add"), act)


def change(hooks: Hooks, endpoint: Endpoint, host: Element) -> None:
    """Ask what is to be other about an endpoint."""
    with _dialog(host, t("Change {name}", name=endpoint.order.name)) as dialog:
        form = _Form(endpoint.order)

        async def act() -> bool:
            async def call() -> None:
                await hooks.change(endpoint.id, form.order(), person().name)

            return await attempt(call)

        _decide(dialog, t("Change"), act)


def _rotate(hooks: Hooks, endpoint: Endpoint, host: Element) -> None:
    with _dialog(host, t("New secret for {name}?", name=endpoint.order.name)) as dialog:
        Text(t("The old one signs beside it for a day; put the new one in place until then."))

        async def act() -> bool:
            made: list[str] = []

            async def call() -> None:
                made.append(await hooks.rotate(endpoint.id, person().name))

            done = await attempt(call)
            if made:
                _show(made[0], host)
            return done

        _decide(dialog, t("Make a new one"), act)


def _delete(hooks: Hooks, endpoint: Endpoint, host: Element) -> None:
    with _dialog(host, t("Delete {name}?", name=endpoint.order.name)) as dialog:
        Text(t("What waits for it is not sent, and the log of its deliveries goes with it."))

        async def act() -> bool:
            async def call() -> None:
                await hooks.delete(endpoint.id, person().name)

            return await attempt(call)

        _decide(dialog, t("Delete"), act)


def _show(secret: str, host: Element) -> None:
    with _dialog(host, t("What the receiver must know"), stays=True) as dialog:
        Text(t("It is shown this once: put it where it is needed now."), "muted")
        Text(secret, "mono wrap token")
        with box("right-row"):
            button(t("Copy"), "content_copy", lambda: ui.clipboard.write(secret))
            button(t("Done"), "check", dialog.close, main=True)
