"""Times, spans, numbers and states in plain words; the API and the console say the same."""

from datetime import UTC, datetime

from cloud.core.states import Phase
from cloud.web.schemas import DeviationView, Status
from contract.tickets import EscalationReason, Finding

NS = 1_000_000_000
NONE = "–"  # noqa: RUF001 (the dash that people read)
"""Shown where there is no value."""
_UNITS = {"degC": "°C", "m3/h": "m³/h", "m3/min": "m³/min", "m3": "m³", "degC/min": "°C/min"}

STATUS = {
    Status.APPROVAL: "Needs your approval",
    Status.TICKET: "On-site visit",
    Status.SILENT: "Silent",
    Status.FIXING: "Being fixed",
    Status.ALARM: "Deviating",
    Status.LEARNING: "Learning",
    Status.UNJUDGED: "Not judged",
    Status.WAITING: "Waiting for data",
    Status.HEALTHY: "Healthy",
}

PHASE = {
    Phase.OBSERVING: "Watching whether it clears",
    Phase.AWAITING_APPROVAL: "Needs your approval",
    Phase.HOLDING: "Remedy on hold",
    Phase.FIXING: "Applying a remedy",
    Phase.VERIFYING: "Verifying the remedy",
    Phase.DISPATCHED: "On-site visit ordered",
    Phase.RECOVERED: "Recovered",
    Phase.SELF_CLEARED: "Cleared by itself",
    Phase.DISMISSED: "Wrong alarm",
    Phase.CLOSED: "Closed by report",
    Phase.WITHDRAWN: "Healthy again; visit called off",
}

SHORT = {
    Phase.OBSERVING: "Watching",
    Phase.HOLDING: "On hold",
    Phase.FIXING: "Being fixed",
    Phase.VERIFYING: "Verifying",
}
"""Phases of the remote way as a machine's status."""

RESULT = {
    "waiting": "Sent; waiting for the answer",
    "done": "Done; now being verified",
    "failed": "Tried, but the device reports failure",
    "refused": "Refused by the device; it did nothing",
    "expired": "Came too late; it did nothing",
    "unreachable": "The device did not answer; it did nothing",
    "no_answer": "No answer; it may have acted",
    "recovered": "Worked: healthy on fresh telemetry",
    "not_recovered": "Did not help: still deviating",
    "unheard": "Too little was heard to judge it",
}
"""What came of an attempt, by `cloud.core.states.Attempt.result`."""

FINDING = {Finding.NO_FAULT_FOUND: "No fault found", Finding.OTHER: "Something else"}

REASON = {
    EscalationReason.ATTEMPTS_EXHAUSTED: "All remote attempts were used up",
    EscalationReason.VERIFICATION_FAILED: "No remedy brought a verified recovery",
    EscalationReason.NOT_REMOTABLE: "Nothing remote can cure this",
    EscalationReason.UNSAFE: "Dangerous: nothing remote is tried",
    EscalationReason.DEVICE_UNREACHABLE: "The device cannot be reached",
    EscalationReason.SLA_DEADLINE: "The service deadline is near",
    EscalationReason.CUSTOMER_REQUEST: "A person asked for a visit",
}


def utc(ns: int) -> str:
    """Write a time in full, as ``22 Nov 2026 07:31:04 UTC``."""
    return f"{datetime.fromtimestamp(ns // NS, UTC):%-d %b %Y %H:%M:%S} UTC"


def clock(ns: int) -> str:
    """Write the time of day, UTC."""
    return f"{datetime.fromtimestamp(ns // NS, UTC):%H:%M:%S}"


def span(seconds: float) -> str:
    """Write a duration by its one or two largest units, as ``4 min`` or ``2 h 5 min``."""
    whole = int(abs(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        hours, minutes = divmod(whole // 60, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{whole // 86400} days"


def number(value: float | None) -> str:
    """Write a measured value with four significant digits; a dash where there is none."""
    if value is None:
        return NONE
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def unit(text: str) -> str:
    """Write a unit as people do: the machine types keep to ASCII."""
    return _UNITS.get(text, text)


def with_unit(title: str, unit_text: str) -> str:
    """Write a signal's title with its unit."""
    return f"{title}, {unit(unit_text)}" if unit_text else title


def deviation(d: DeviationView) -> str:
    """Say how far a signal was from what was expected, as measured against expected."""
    said = f"{d.title}: {d.sigmas:.1f} σ {d.direction}"  # noqa: RUF001 (sigma)
    if d.value is None:
        return said
    measured = f"{number(d.value)} {unit(d.unit)}".strip()
    against = "" if d.expected is None else f" where {number(d.expected)} is expected"
    return f"{said}, {measured}{against}"


def percent(share: float) -> str:
    """Write a share of one as whole percent."""
    return f"{share * 100:.0f} %"


def phrase(code: str) -> str:
    """Write a code such as ``clogged_filter`` as words, for want of a title."""
    return code.replace("_", " ").capitalize()
