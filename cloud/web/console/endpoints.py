"""Webhook endpoints and what was delivered."""

from nicegui import ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.web.console import endpoint_dialogs as dialogs
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import Section, Text, box, empty, pill
from cloud.web.console.tongue import ago, later, t, told, utc
from cloud.web.console.viewer import allowed
from cloud.web.faces import Faces
from cloud.web.hook_ports import Delivery, Endpoint, Hooks
from cloud.web.ports import Desk

EVERY_S = 2.0
SHOWN = 50
STATES = {
    "waiting": ("warn", "schedule_send", later("On its way")),
    "delivered": ("ok", "check_circle", later("Delivered")),
    "dead": ("bad", "error_outline", later("Given up")),
    "dropped": ("bad", "delete_sweep", later("Dropped, queue full")),
}


def install(faces: Faces) -> None:
    """Register the page."""
    desk, hooks = faces.desk, faces.hooks

    @page_at("/webhooks")
    async def webhooks_page() -> None:
        with frame(desk, "/webhooks", t("Webhooks")):
            with box("head"):
                with box("stack stack-s"):
                    Text(t("Webhooks"), tag="h1")
                    Text(t("Who is told of tickets and cases, and what came of it."), "muted")
                host = box("host")
                if allowed(Role.ADMIN):
                    dialogs.button(
                        t("New endpoint"), "add", lambda: dialogs.create(hooks, host), main=True
                    )
            if not allowed(Role.ADMIN):
                empty("lock", t("For admins"), t("Ask an admin if another system is to be told."))
                return
            await _Page(desk, hooks, host).build()


class _Page:
    """The endpoints, and below them the log of deliveries."""

    def __init__(self, desk: Desk, hooks: Hooks, host: Element) -> None:
        self._desk, self._hooks, self._host = desk, hooks, host
        self._limit = SHOWN

    async def build(self) -> None:
        self._listed = Section(box("stack stack-l"))
        with box("card"):
            with box("card-title"):
                Text(t("Deliveries"), tag="h2")
            with box("filter-fields"):
                self._endpoint = ui.select({"": t("All endpoints")}, value="", label=t("Endpoint"))
                states = {"": t("All states")} | {s: told(x[2]) for s, x in STATES.items()}
                self._state = ui.select(states, value="", label=t("State"))
                self._subject = ui.input(t("Ticket or case")).props("maxlength=120 debounce=300")
            for field in (self._endpoint, self._state, self._subject):
                field.props("outlined dense")
                field.on_value_change(self._refresh)
            self._log = Section(box("stack"))
        await self._refresh()
        live(self._refresh, EVERY_S)

    async def _refresh(self) -> None:
        if not allowed(Role.ADMIN):
            return
        found = await load(self._hooks.endpoints)
        self._listed.show(repr(found), lambda: self._endpoints(found))
        names = {"": t("All endpoints")} | {e.id: e.order.name for e in found}
        if names != self._endpoint.options:
            value = self._endpoint.value if self._endpoint.value in names else ""
            self._endpoint.set_options(names, value=value)
        fields = (self._endpoint, self._state, self._subject)
        endpoint, state, subject = (str(field.value or "").strip() for field in fields)
        rows = await load(lambda: self._hooks.deliveries(endpoint, state, subject, self._limit + 1))
        self._log.show(repr((rows, names)), lambda: self._deliveries(rows, names))

    def _endpoints(self, found: list[Endpoint]) -> None:
        if not found:
            empty(
                "webhook",
                t("Nobody is told yet"),
                t("Add an endpoint, or name one under [webhook] in the gateway's file."),
            )
        for endpoint in found:
            with box("card"):
                self._one(endpoint)

    def _one(self, endpoint: Endpoint) -> None:
        order = endpoint.order
        with box("head"):
            with box("stack stack-s"):
                Text(order.name, tag="h2", classes="wrap")
                Text(order.url, "mono small muted wrap")
                told_of = ", ".join(order.events) or t("all events")
                Text(f"{dialogs.format_title(order.format)} · {told_of}", "small muted wrap")
            with box("abreast"):
                _health(endpoint)
        if endpoint.disabled:
            Text(told(endpoint.disabled), "wrap tone-bad")
        with box("facts"):
            _fact(t("On its way"), str(endpoint.waiting))
            _fact(t("Given up"), str(endpoint.dead))
            taken_ns = endpoint.delivered_ns
            _fact(t("Last taken"), ago(taken_ns, self._desk.now_ns()) if taken_ns else "-")
        if endpoint.public_key:
            Text(t("Public key: {key}", key=endpoint.public_key), "mono small wrap")
        dialogs.buttons(self._hooks, endpoint, self._host)

    def _deliveries(self, rows: list[Delivery], names: dict[str, str]) -> None:
        if not rows:
            Text(t("Nothing was sent that fits."), "muted")
        for row in rows[: self._limit]:
            with box("stack stack-s delivery"):
                self._delivery(row, names.get(row.endpoint, row.endpoint))
        if len(rows) > self._limit:
            dialogs.button(t("Older deliveries"), "expand_more", self._more)

    async def _more(self) -> None:
        self._limit += SHOWN
        await self._refresh()

    def _delivery(self, row: Delivery, name: str) -> None:
        tone, icon, text = STATES[row.state]
        with box("head"):
            with box("stack stack-s"):
                Text(row.type.removeprefix("farfix."), tag="h3", classes="wrap")
                Text(f"{row.subject} · {name} · {utc(row.created_ns)}", "small muted wrap")
            with box("abreast"):
                pill(tone, icon, told(text))
                tries = t("Attempts: {count}", count=row.attempts)
                about = f"{row.type} {row.subject}"
                dialogs.button(
                    tries, "history", lambda: dialogs.attempts(self._hooks, row, self._host), about
                )
                if row.state in ("dead", "dropped"):
                    dialogs.button(
                        t("Replay"), "replay", lambda: dialogs.replay(self._hooks, row), about
                    )
        if row.error:
            Text(told(row.error), "small wrap tone-bad")
        if row.state == "waiting" and row.attempts:
            wait = ago(row.due_ns, self._desk.now_ns())
            Text(t("Next attempt: {when}", when=wait), "small muted")


def _health(endpoint: Endpoint) -> None:
    if endpoint.from_config:
        pill("calm", "description", t("From the gateway's file"))
    if endpoint.disabled:
        pill("bad", "block", t("Disabled"))
    elif endpoint.dead:
        pill("warn", "warning_amber", t("Events given up"))
    elif endpoint.delivered_ns:
        pill("ok", "check_circle", t("Takes events"))
    else:
        pill("calm", "hourglass_empty", t("Nothing sent yet"))


def _fact(label: str, value: str) -> None:
    with box("stack stack-s"):
        Text(label, "fact-label")
        Text(value, "fact-value num")
