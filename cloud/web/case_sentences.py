"""What happens next in a case, or how it ended, as a sentence that can be translated. Pure."""

from collections.abc import Callable

from msgspec import Struct

from cloud.core.states import Case, Phase
from cloud.web import words
from contract.tickets import VisitState

NS = words.NS


class Saying(Struct, frozen=True):
    """A sentence with ``{names}`` where its values stand."""

    template: str
    values: dict[str, str] = {}

    @property
    def english(self) -> str:
        """The whole sentence."""
        return self.template.format(**self.values)


def next_saying(case: Case) -> Saying:
    """Say what happens next, or how it ended."""
    return _NEXT.get(case.phase, _ended)(case)


def _observing(case: Case) -> Saying:
    until = words.clock(case.opened_ns + int(case.plan.observe_s * NS))
    if case.step is None:
        return Saying(
            "Watching until {until} UTC whether it clears by itself; after that a visit is "
            "ordered.",
            {"until": until},
        )
    return Saying(
        "Watching until {until} UTC whether it clears by itself; after that the first remedy is: "
        "{remedy}.",
        {"until": until, "remedy": case.step.title},
    )


def _awaiting(case: Case) -> Saying:
    last = words.utc(case.plan.escalate_at_ns)
    remedy = case.step.title if case.step else words.NONE
    return Saying(
        "Waiting for a yes to: {remedy}. Without it, a visit is ordered on {last}.",
        {"remedy": remedy, "last": last},
    )


def _holding(case: Case) -> Saying:
    if case.step is None:
        return Saying(
            "No remedy is left. A visit is ordered if fresh telemetry still shows the fault."
        )
    return Saying(
        "On hold: {remedy}. It is sent as soon as the limits allow it.",
        {"remedy": case.step.title},
    )


def _fixing(case: Case) -> Saying:
    return Saying(
        "Sent to the device: {remedy}. It answers by {until} UTC or the command expires.",
        {"remedy": case.attempt.step.title, "until": words.clock(case.attempt.expires_ns)},
    )


def _verifying(case: Case) -> Saying:
    return Saying(
        "Only what is measured after the remedy counts. {dwell} of unbroken health prove the "
        "recovery.",
        {"dwell": words.span(case.plan.timing.dwell_s)},
    )


def _dispatched(case: Case) -> Saying:
    state = case.visit.state if case.visit else VisitState.ORDERED
    if state is VisitState.CANCELLED:
        return Saying(
            "Dispatch cancelled the visit: order another one, or call it a wrong alarm. "
            "A proven recovery ends the case as well."
        )
    if state is VisitState.DONE:
        return Saying("The visit is done; the technician's closing report ends the case.")
    if case.recovered_since_ns is not None:
        return Saying(
            "A visit is ordered; the technician's closing report ends the case. "
            "The machine has been healthy since {since}.",
            {"since": words.utc(case.recovered_since_ns)},
        )
    return Saying("A visit is ordered; the technician's closing report ends the case.")


_NEXT: dict[Phase, Callable[[Case], Saying]] = {
    Phase.OBSERVING: _observing,
    Phase.AWAITING_APPROVAL: _awaiting,
    Phase.HOLDING: _holding,
    Phase.FIXING: _fixing,
    Phase.VERIFYING: _verifying,
    Phase.DISPATCHED: _dispatched,
}


def _ended(case: Case) -> Saying:
    when = {"when": words.utc(case.ended_ns) if case.ended_ns is not None else words.NONE}
    if case.phase is Phase.RECOVERED and case.credited:
        return Saying(
            "Recovered on {when}, verified on fresh telemetry. What worked: {remedy}.",
            {**when, "remedy": case.attempt.step.title},
        )
    if case.phase is Phase.CLOSED and case.report is not None:
        notes = case.report.notes
        finding = words.phrase(case.report.finding)
        return Saying(
            "Closed by the technician's report on {when}. Found: {finding}. {notes}"
            if notes
            else "Closed by the technician's report on {when}. Found: {finding}.",
            {**when, "finding": finding, "notes": notes},
        )
    return Saying(_ENDS.get(case.phase, "Closed on {when}."), when)


_ENDS: dict[Phase, str] = {
    Phase.RECOVERED: "Recovered on {when}. It is not certain by what, so no remedy is credited.",
    Phase.SELF_CLEARED: "Cleared by itself on {when}. No remedy is credited.",
    Phase.DISMISSED: "A person called it a wrong alarm on {when}.",
    Phase.WITHDRAWN: "The machine was proven healthy on {when}, before anyone left: "
    "the visit was called off.",
}
