"""Buttons by which a person decides about a case; each asks once more before it acts."""

from collections.abc import Awaitable, Callable

from msgspec import Struct
from nicegui import ui
from nicegui.element import Element

from cloud.web.console.parts import Text, box
from cloud.web.ports import Action, Desk
from cloud.web.schemas import CaseDetail
from contract.errors import FarfixError

NAME_MAX, WHY_MAX = 80, 1000


class Choice(Struct, frozen=True):
    """How one decision is offered."""

    action: Action
    label: str
    icon: str
    style: str
    question: str
    why_needed: bool


CHOICES = (
    Choice(
        "approve",
        "Approve",
        "check",
        "btn-main",
        "The next remedy is sent to the machine as soon as the limits allow it.",
        why_needed=False,
    ),
    Choice(
        "reject",
        "Reject",
        "close",
        "btn-side",
        "This remedy is not used; the next one in the plan is proposed, or a visit ordered.",
        why_needed=True,
    ),
    Choice(
        "escalate",
        "Order a visit",
        "engineering",
        "btn-side",
        "A ticket goes to on-site dispatch and nothing more is tried remotely.",
        why_needed=True,
    ),
    Choice(
        "dismiss",
        "Wrong alarm",
        "notifications_off",
        "btn-side",
        "The case ends here, and is kept as a wrong alarm for learning.",
        why_needed=True,
    ),
)


def buttons(desk: Desk, case: CaseDetail, host: Element) -> None:
    """Show a button for each decision that applies.

    Dialogs belong to the host, which must outlive the buttons: a case that moves on while a person
    is writing must not take the page away from under the pen.
    """
    offered = [choice for choice in CHOICES if choice.action in case.actions]
    if not offered:
        return
    with box("actions"):
        for choice in offered:
            button = ui.button(
                choice.label,
                icon=choice.icon,
                color=None,
                on_click=lambda c=choice: _ask(desk, case, c, host),
            )
            button.props("unelevated no-caps").classes(f"btn {choice.style}")


def _ask(desk: Desk, case: CaseDetail, choice: Choice, host: Element) -> None:
    with host, ui.dialog(value=True) as dialog, ui.card().classes("dialog"):
        Text(f"{choice.label}: {case.title}", tag="h2", classes="wrap")
        if choice.action == "approve" and case.steps:
            Text(f"Remedy: {case.steps[0].title}", "wrap")
        Text(choice.question, "muted")
        name = ui.input("Your name").props(f"outlined dense maxlength={NAME_MAX}")
        label = "Reason" if choice.why_needed else "Reason (optional)"
        why = ui.input(label).props(f"outlined dense maxlength={WHY_MAX}")

        async def confirm() -> None:
            by, reason = (str(field.value or "").strip() for field in (name, why))
            if not by or (choice.why_needed and not reason):
                ui.notify(
                    "Please give your name" + (" and a reason." if choice.why_needed else ".")
                )
                return
            done = await attempt(lambda: desk.decide(case.case_id, choice.action, by, reason))
            if done:
                dialog.close()

        with box("right-row"):
            back = ui.button("Back", color=None, on_click=dialog.close).props("unelevated no-caps")
            back.classes("btn btn-side")
            go = ui.button(f"Yes, {choice.label.lower()}", color=None, on_click=confirm)
            go.props("unelevated no-caps").classes("btn btn-main")
    dialog.on("hide", dialog.delete)


async def attempt(act: Callable[[], Awaitable[None]]) -> bool:
    """Do something at the desk; say so if it could not be done."""
    try:
        await act()
    except FarfixError as error:
        ui.notify(f"Not done: {error}", type="warning", timeout=8000)
        return False
    return True
