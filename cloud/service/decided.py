"""A person's decision about a case, as the audit log has it; the timeline tells it in full."""

from cloud.adapters.rollout_store import Line
from cloud.core.events import (
    Approved,
    Dismissed,
    EscalationAsked,
    Event,
    PauseAsked,
    Rejected,
    ReportReceived,
    ResumeAsked,
    TryAsked,
)
from cloud.core.states import Case


def line(case: Case, event: Event, now_ns: int) -> Line | None:
    """Return the line for a decision; None for what nobody decided."""
    found = _said(event)
    if found is None:
        return None
    by, what, why = found
    text = f"Case {case.case_id}: {what}{f': {why}' if why else ''}."
    return Line(at_ns=now_ns, by=by, what="case", text=text, device=case.device)


def _said(event: Event) -> tuple[str, str, str] | None:  # noqa: PLR0911 (one for each decision)
    match event:
        case Approved(by):
            return by, "agrees to the next remedy", ""
        case Rejected(by, why):
            return by, "turns the next remedy down", why
        case EscalationAsked(by, why):
            return by, "orders a visit", why
        case Dismissed(by, why):
            return by, "calls it a wrong alarm", why
        case TryAsked(by, step):
            return by, f"has {step.remedy} tried", ""
        case PauseAsked(by, why):
            return by, "lets the promise wait", why
        case ResumeAsked(by):
            return by, "lets the promise run again", ""
        case ReportReceived(report):
            return report.technician or "technician", "hands in the closing report", report.finding
        case _:
            return None
