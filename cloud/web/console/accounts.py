"""People and tokens of other systems, for admins."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from nicegui import ui
from nicegui.element import Element

from cloud.core.people import LADDER, PASSWORD_MAX, PASSWORD_MIN, Role
from cloud.web.console.decisions import attempt
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import Section, Text, box, empty, pill
from cloud.web.console.tongue import later, t, told, utc
from cloud.web.console.viewer import allowed, person
from cloud.web.faces import Faces
from cloud.web.people_ports import Account, People, Token

EVERY_S = 3.0
NAME_MAX = 64
ROLES = {
    Role.VIEWER: later("Viewer: looks at everything"),
    Role.OPERATOR: later("Operator: decides about cases"),
    Role.ENGINEER: later("Engineer: also remedies and rollouts"),
    Role.ADMIN: later("Admin: also people, tokens and webhooks"),
    Role.DISPATCH: later("Dispatch system: visits and closing reports"),
    Role.ALERTS: later("Alerting system: hands in alerts"),
}


def install(faces: Faces) -> None:
    """Register the page."""
    desk, people = faces.desk, faces.people

    @page_at("/people")
    async def people_page() -> None:
        with frame(desk, "/people", t("People")):
            Text(t("People and tokens"), tag="h1")
            if not allowed(Role.ADMIN):
                empty("lock", t("For admins"), t("Ask an admin if you need somebody added here."))
                return
            await _Page(people).build()


class _Page:
    """Lists of people and of tokens, each with what an admin may do."""

    def __init__(self, people: People) -> None:
        self._people, self._host = people, box("host")

    async def build(self) -> None:
        with box("card"):
            with box("card-title"):
                Text(t("People"), tag="h2")
                _button(t("Add somebody"), "person_add", self._add)
            accounts = Section(box("stack stack-l"))
        with box("card"):
            with box("card-title"):
                Text(t("Tokens of other systems"), tag="h2")
                _button(t("Issue a token"), "key", self._issue)
            tokens = Section(box("stack stack-l"))

        async def refresh() -> None:
            if not allowed(Role.ADMIN):
                return
            people = await load(self._people.accounts)
            accounts.show(repr(people), lambda: self._accounts(people))
            issued = await load(self._people.tokens)
            tokens.show(repr(issued), lambda: self._tokens(issued))

        await refresh()
        live(refresh, EVERY_S)

    def _accounts(self, accounts: list[Account]) -> None:
        for account in accounts:
            name, off = account.person.name, account.disabled
            with box("head"):
                with box("stack stack-s"):
                    Text(name, tag="h3", classes="wrap")
                    Text(told(ROLES[account.person.role]), "muted small")
                    Text(_seen(account.last_ns), "muted small num")
                with box("abreast"):
                    if off:
                        pill("bad", "lock", t("Locked out"))
                    if not account.local:
                        pill("calm", "domain_verification", t("By OpenID Connect"))
                    _button(t("Change role"), "badge", partial(self._role, account), name)
                    if account.local:
                        _button(t("New password"), "password", partial(self._reset, name), name)
                    label = t("Let in") if off else t("Lock out")
                    icon = "lock_open" if off else "lock"
                    _button(label, icon, partial(self._lock, name, out=not off), name)

    def _tokens(self, tokens: list[Token]) -> None:
        if not tokens:
            Text(t("No other system has a token yet."), "muted")
        for token in tokens:
            with box("head"):
                with box("stack stack-s"):
                    Text(token.name, tag="h3", classes="wrap")
                    Text(told(ROLES[token.role]), "muted small")
                    Text(_seen(token.last_ns), "muted small num")
                _button(t("Withdraw"), "block", partial(self._revoke, token.name), token.name)

    def _add(self) -> None:
        with _dialog(self._host, t("Add somebody")) as dialog:
            name, role = _name(), _role(list(LADDER), Role.OPERATOR)
            password = _password()

            async def add() -> bool:
                given, key = _said(name), str(password.value or "")
                by = person().name
                if any(a.person.name == given for a in self._people.accounts()):
                    ui.notify(t("There is somebody of that name."), type="warning")
                    return False
                return await attempt(
                    lambda: self._people.put_account(given, Role(role.value), key, by)
                )

            _decide(dialog, t("Add"), add)

    def _role(self, account: Account) -> None:
        name = account.person.name
        with _dialog(self._host, t("Role of {name}", name=name)) as dialog:
            Text(t("They are signed out everywhere and sign in anew."), "muted")
            role = _role(list(LADDER), account.person.role)

            async def change() -> bool:
                by = person().name
                return await attempt(
                    lambda: self._people.put_account(name, Role(role.value), None, by)
                )

            _decide(dialog, t("Change"), change)

    def _reset(self, name: str) -> None:
        with _dialog(self._host, t("New password of {name}", name=name)) as dialog:
            Text(t("They are signed out everywhere and sign in anew."), "muted")
            password = _password()

            async def change() -> bool:
                found = next(a for a in self._people.accounts() if a.person.name == name)
                key, by = str(password.value or ""), person().name
                return await attempt(
                    lambda: self._people.put_account(name, found.person.role, key, by)
                )

            _decide(dialog, t("Change"), change)

    def _lock(self, name: str, *, out: bool) -> None:
        title = t("Lock {name} out?", name=name) if out else t("Let {name} in again?", name=name)
        with _dialog(self._host, title) as dialog:
            if out:
                Text(t("Their sessions end at once; what they decided stays."), "muted")

            async def change() -> bool:
                by = person().name
                return await attempt(lambda: self._people.disable(name, by, disabled=out))

            _decide(dialog, t("Lock out") if out else t("Let in"), change)

    def _issue(self) -> None:
        with _dialog(self._host, t("Issue a token")) as dialog:
            name, role = _name(), _role(list(Role), Role.DISPATCH)

            async def issue() -> bool:
                by, made = person().name, []

                async def call() -> None:
                    made.append(await self._people.issue_token(_said(name), Role(role.value), by))

                done = await attempt(call)
                if done:
                    self._show(made[0])
                return done

            _decide(dialog, t("Issue"), issue)

    def _show(self, token: str) -> None:
        with self._host, ui.dialog(value=True).props("persistent") as dialog:  # noqa: SIM117
            with ui.card().classes("dialog"):
                Text(t("The new token"), tag="h2")
                Text(t("It is shown this once: put it where it is needed now."), "muted")
                Text(token, "mono wrap token")
                with box("right-row"):
                    _button(t("Copy"), "content_copy", lambda: ui.clipboard.write(token))
                    _button(t("Saved"), "check", dialog.close)
        dialog.on("hide", dialog.delete)

    def _revoke(self, name: str) -> None:
        with _dialog(self._host, t("Withdraw the token {name}?", name=name)) as dialog:
            Text(t("The system that has it is refused from now on."), "muted")

            async def revoke() -> bool:
                by = person().name
                return await attempt(lambda: self._people.revoke_token(name, by))

            _decide(dialog, t("Withdraw"), revoke)


@contextmanager
def _dialog(host: Element, title: str) -> Iterator[ui.dialog]:
    """Build a dialog that belongs to a host which outlives the lists."""
    with host, ui.dialog(value=True) as dialog, ui.card().classes("dialog"):
        Text(title, tag="h2", classes="wrap")
        yield dialog
    dialog.on("hide", dialog.delete)


def _decide(dialog: ui.dialog, label: str, act: Callable[[], Awaitable[bool]]) -> None:
    """Add the buttons; the dialog closes when it was done. Only admins may, still."""

    async def go() -> None:
        if not allowed(Role.ADMIN):
            ui.notify(t("Only admins may do this; sign in again."), type="warning")
        elif await act():
            dialog.close()

    with box("right-row"):
        _button(t("Back"), "", dialog.close)
        made = _button(label, "", go)
        made.classes(remove="btn-side", add="btn-main")


def _button(label: str, icon: str, act: Callable[[], object], about: str = "") -> ui.button:
    made = ui.button(label, icon=icon or None, color=None, on_click=act)
    made.props("unelevated no-caps").classes("btn btn-side")
    if about:
        made.props["aria-label"] = f"{label}: {about}"
    return made


def _name() -> ui.input:
    return ui.input(t("Name")).props(f"outlined dense maxlength={NAME_MAX} autocapitalize=none")


def _password() -> ui.input:
    found = ui.input(t("Password"), password=True, password_toggle_button=True)
    found.props(f"outlined dense maxlength={PASSWORD_MAX} autocomplete=new-password")
    Text(t("At least {count} characters, not easy to guess.", count=PASSWORD_MIN), "muted small")
    return found


def _role(roles: list[Role], now: Role) -> ui.select:
    options = {role.value: told(ROLES[role]) for role in roles}
    return ui.select(options, value=now.value, label=t("Role and rights")).props("outlined dense")


def _said(field: ui.input) -> str:
    return str(field.value or "").strip()


def _seen(at_ns: int | None) -> str:
    return t("Last seen {time}", time=utc(at_ns)) if at_ns else t("Never seen yet")
