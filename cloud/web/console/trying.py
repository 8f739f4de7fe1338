"""A person has a remedy tried that they choose, knowing its risk."""

from nicegui import ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.core.states import Step
from cloud.web import words
from cloud.web.console import decisions, viewer
from cloud.web.console.frame import load
from cloud.web.console.parts import Text, box
from cloud.web.console.tongue import span, t, told
from cloud.web.ports import Desk
from cloud.web.schemas import CaseDetail


def button(desk: Desk, case: CaseDetail, host: Element) -> None:
    """Offer it to those who may, while the case allows it."""
    if "try" in case.actions and viewer.allowed(Role.ENGINEER):
        made = ui.button(
            t("Try a remedy"),
            icon="build",
            color=None,
            on_click=lambda: _ask(desk, case, host),
        )
        made.props("unelevated no-caps").classes("btn btn-side")


async def _ask(desk: Desk, case: CaseDetail, host: Element) -> None:
    steps = await load(lambda: desk.remedies(case.case_id))
    title = t("Try a remedy on {machine}", machine=case.machine_title)
    with decisions.dialog(host, title) as opened:
        if not steps:
            Text(t("No remedy can be tried now: none is left, or a command is out."), "muted")
            with box("right-row"):
                decisions.way_back(opened)
            return
        Text(
            t(
                "It is sent next, with your name to it. The daily budget, the pause before the "
                "same remedy is used again, and the precondition at the machine still hold."
            ),
            "muted",
        )
        chosen = _choices(case, steps)
        names = {step.remedy: step for step in steps}
        typed = ui.input(t("High risk: type {device} to agree", device=case.device))
        typed.props("outlined dense maxlength=64")
        typed.bind_visibility_from(
            chosen, "value", lambda name: bool(name and names[name].high_risk)
        )

        async def confirm() -> None:
            step = names.get(str(chosen.value or ""))
            if step is None:
                ui.notify(t("Please choose a remedy."))
                return
            if step.high_risk and str(typed.value or "").strip() != case.device:
                ui.notify(t("Please type the name of the machine: {device}", device=case.device))
                return
            if await decisions.attempt(
                lambda: desk.attempt(case.case_id, step.remedy, decisions.by(Role.ENGINEER))
            ):
                opened.close()

        decisions.answers(opened, t("Try it"), confirm)


def _choices(case: CaseDetail, steps: list[Step]) -> ui.radio:
    tried = {a.remedy: a.result_text for a in [*case.earlier, *case.attempts]}
    about = {step.remedy: _about(step, tried.get(step.remedy, "")) for step in steps}
    chosen = ui.radio({step.remedy: told(step.title) for step in steps}).props("dense")
    said = Text("", "note-text wrap")
    said.bind_text_from(chosen, "value", lambda name: about.get(str(name or ""), ""))
    return chosen


def _about(step: Step, tried: str) -> str:
    """Say what is sent, how long it takes to be judged, its risk, and what it did before."""
    argument = "" if step.argument is None else f" {words.number(step.argument)}"
    said = t(
        "Sends {command}; judged within {span}.",
        command=f"{step.command}{argument}",
        span=span(step.settle_s + step.verify_s),
    )
    risk = t("High risk: a mistake can stop or harm the machine.") if step.high_risk else ""
    before = t("Tried in this case: {result}.", result=told(tried)) if tried else ""
    return " ".join(part for part in (said, risk, before) if part)
