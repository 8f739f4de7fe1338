"""Buttons by which a person decides about a case; each asks once more before it acts."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct
from nicegui import ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.web.console import viewer
from cloud.web.console.parts import Text, box, set_prop
from cloud.web.console.tongue import later, t, told
from cloud.web.ports import Action, Desk
from cloud.web.schemas import CaseDetail
from contract.errors import FarfixError, Refused

NAME_MAX, WHY_MAX = 80, 1000


class Choice(Struct, frozen=True):
    """How one decision is offered."""

    action: Action
    label: str
    icon: str
    style: str
    yes: str
    question: str
    why_needed: bool


CHOICES = (
    Choice(
        "approve",
        later("Approve"),
        "check",
        "btn-main",
        later("Yes, approve"),
        later("The next remedy is sent to the machine as soon as the limits allow it."),
        why_needed=False,
    ),
    Choice(
        "reject",
        later("Reject"),
        "close",
        "btn-side",
        later("Yes, reject"),
        later("This remedy is not used; the next one in the plan is proposed, or a visit ordered."),
        why_needed=True,
    ),
    Choice(
        "escalate",
        later("Order a visit"),
        "engineering",
        "btn-side",
        later("Yes, order a visit"),
        later("A ticket goes to on-site dispatch and nothing more is tried remotely."),
        why_needed=True,
    ),
    Choice(
        "dismiss",
        later("Wrong alarm"),
        "notifications_off",
        "btn-side",
        later("Yes, wrong alarm"),
        later("The case ends here, and is kept as a wrong alarm for learning."),
        why_needed=True,
    ),
)


def buttons(desk: Desk, case: CaseDetail, host: Element) -> None:
    """Show a button for each decision that applies and that the viewer may take.

    Dialogs belong to the host, which must outlive the buttons: a case that moves on while a person
    is writing must not take the page away from under the pen.
    """
    if viewer.allowed(Role.OPERATOR):
        for choice in CHOICES:
            if choice.action in case.actions:
                made = ui.button(
                    told(choice.label),
                    icon=choice.icon,
                    color=None,
                    on_click=lambda c=choice: _ask(desk, case, c, host),
                )
                made.props("unelevated no-caps").classes(f"btn {choice.style}")


def _ask(desk: Desk, case: CaseDetail, choice: Choice, host: Element) -> None:
    with dialog(host, f"{told(choice.label)}: {told(case.title)}") as opened:
        if choice.action == "approve" and case.steps:
            Text(t("Remedy: {remedy}", remedy=told(case.steps[0].title)), "wrap")
        Text(told(choice.question), "muted")
        why = reason(needed=choice.why_needed)

        async def confirm() -> None:
            said = given(why, needed=choice.why_needed)
            if said is not None and await attempt(
                lambda: desk.decide(case.case_id, choice.action, by(Role.OPERATOR), said)
            ):
                opened.close()

        answers(opened, told(choice.yes), confirm)


@contextmanager
def dialog(host: Element, title: str) -> Iterator[ui.dialog]:
    """Open a dialog, as the house shows them, and enter it; it is gone once it is closed."""
    with host, ui.dialog(value=True) as made, ui.card().classes("dialog"):
        made.on("hide", made.delete)
        set_prop(made, "aria-label", title)
        Text(title, tag="h2", classes="wrap")
        yield made


def reason(*, needed: bool) -> ui.input:
    """Ask why."""
    label = t("Reason") if needed else t("Reason (optional)")
    return ui.input(label).props(f"outlined dense maxlength={WHY_MAX}")


def given(why: ui.input, *, needed: bool) -> str | None:
    """Return the reason; without one that is needed, ask for it and return None."""
    said = str(why.value or "").strip()[:WHY_MAX]
    if needed and not said:
        ui.notify(t("Please give a reason."))
        return None
    return said


def answers(opened: ui.dialog, yes: str, confirm: Callable[[], Awaitable[None]]) -> None:
    """Show the two ways out of a dialog."""
    with box("right-row"):
        way_back(opened)
        go = ui.button(yes, color=None, on_click=confirm)
        go.props("unelevated no-caps").classes("btn btn-main")


def by(role: Role) -> str:
    """Return who acts, after looking once more whether they may.

    Raises:
        Refused: signed out meanwhile, or the role has changed.
    """
    if not viewer.allowed(role):
        raise Refused(t("you may not do this; sign in as somebody who may"))
    return viewer.person().name


def way_back(opened: ui.dialog) -> None:
    """Show the way out of a dialog that does nothing."""
    back = ui.button(t("Back"), color=None, on_click=opened.close)
    back.props("unelevated no-caps").classes("btn btn-side")


async def attempt(act: Callable[[], Awaitable[object]]) -> bool:
    """Do something at the desk; say so if it could not be done."""
    try:
        await act()
    except FarfixError as error:
        ui.notify(t("Not done: {error}", error=told(str(error))), type="warning", timeout=8000)
        return False
    return True
