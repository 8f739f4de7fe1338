"""Machines' lives: when one ends, and until when a visit should be booked."""

from enum import StrEnum

from cloud.core.evidence import NS
from contract.machines import MachineType
from contract.tickets import Forecast, Label

CAP_H = 60 * 24.0
"""Remaining life is told apart up to two months: visits and parts are ordered within weeks."""
FAR = 0.9
"""From this share of the cap on an estimate only says "long", and nothing needs to be booked."""
HOUR_NS = 3600 * NS


class End(StrEnum):
    """How a life ended."""

    FAILED = "failed"
    RETIRED = "retired"
    """Something else was done to the machine: when it would have failed is not known."""


def end(label: Label, machine: MachineType) -> End | None:
    """Tell whether a label ends the life of its machine; it goes on where nothing was done.

    A sensor that was replaced is no end either: the machine's wear did not begin anew.
    """
    fault = machine.fault(label.fault)
    if label.source != "closing_report" or (fault is not None and fault.check is not None):
        return None
    if fault is not None and label.parts_used and label.resolved:
        return End.FAILED
    return End.RETIRED if fault is not None or label.parts_used else None


def forecast(
    told_ns: int, expected_h: float, low_h: float, high_h: float, lead_h: float
) -> Forecast | None:
    """Turn an estimate of remaining hours into dates; None while it only says "long".

    Args:
        told_ns: what the estimate counts from.
        expected_h: remaining hours.
        low_h: few machines fail earlier; 0 where that is not known yet.
        high_h: few machines live longer; infinite where that is not known.
        lead_h: hours that a visit takes from its booking to the running machine.
    """
    if expected_h >= FAR * CAP_H:
        return None
    earliest_ns = told_ns + int(low_h * HOUR_NS) if low_h > 0 else None
    latest_ns = told_ns + int(high_h * HOUR_NS) if high_h <= CAP_H else None
    expected_ns = told_ns + int(expected_h * HOUR_NS)
    book_ns = (earliest_ns or expected_ns) - int(lead_h * HOUR_NS)
    return Forecast(
        told_ns=told_ns,
        expected_ns=expected_ns,
        earliest_ns=earliest_ns,
        latest_ns=latest_ns,
        book_before_ns=max(book_ns, told_ns),
    )
