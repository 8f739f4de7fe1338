"""The technician's closing report, written by whoever is signed in."""

from nicegui import ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.web import ticket_views
from cloud.web.console import decisions, viewer
from cloud.web.console.parts import Text
from cloud.web.console.tongue import t, told
from cloud.web.ports import Desk
from cloud.web.schemas import CaseDetail
from contract.tickets import Answered, ClosingReport, Part

NOTES_MAX, QUESTION_MAX = 4000, 200


def button(desk: Desk, case: CaseDetail, host: Element) -> None:
    """Offer the report to those who may, while one may be handed in."""
    if case.reportable and viewer.allowed(Role.OPERATOR):
        made = ui.button(
            t("Write the closing report"),
            icon="assignment_turned_in",
            color=None,
            on_click=lambda: _ask(desk, case, host),
        )
        made.props("unelevated no-caps").classes("btn btn-side").style("align-self: start")


def _parts(desk: Desk, case: CaseDetail) -> dict[str, Part]:
    """Return all parts that the machine type's faults may need, by number."""
    machine = desk.machines.get(case.machine_type)
    specs = machine.faults if machine else []
    return {part.number: part for spec in specs for part in spec.parts}


def _checklist(desk: Desk, case: CaseDetail) -> list[str]:
    machine = desk.machines.get(case.machine_type)
    return [line[:QUESTION_MAX] for line in ticket_views.to_do(machine, case.fault)]


def _ask(desk: Desk, case: CaseDetail, host: Element) -> None:
    with decisions.dialog(host, t("Closing report")) as opened:
        Text(t("Closes the case. What was found is kept, so that diagnosis gets better."), "muted")
        finding = ui.select(
            {code: told(title) for code, title in case.findings.items()},
            label=t("What was it?"),
            value=case.fault if case.fault in case.findings else None,
        ).props("outlined dense options-dense")
        parts = _parts(desk, case)
        used = ui.select(
            {number: f"{told(part.name)} ({number})" for number, part in parts.items()},
            label=t("Parts replaced"),
            multiple=True,
        ).props("outlined dense options-dense")
        steps = {line: ui.checkbox(line) for line in _checklist(desk, case)}
        notes = ui.textarea(t("What was done")).props(f"outlined dense maxlength={NOTES_MAX}")
        resolved = ui.checkbox(t("The machine works again"), value=True)

        async def hand_in() -> None:
            if not finding.value:
                ui.notify(t("Please say what it was."))
                return

            async def done() -> None:
                report = ClosingReport(
                    finding=str(finding.value),
                    notes=str(notes.value or "").strip()[:NOTES_MAX],
                    parts_used=[parts[number] for number in used.value or []],
                    resolved=bool(resolved.value),
                    technician=decisions.by(Role.OPERATOR)[: decisions.NAME_MAX],
                    checklist=[
                        Answered(line, "yes" if box.value else "no") for line, box in steps.items()
                    ],
                )
                await desk.report(case.case_id, report)

            if await decisions.attempt(done):
                opened.close()

        decisions.answers(opened, t("Close the case"), hand_in)
