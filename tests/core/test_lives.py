"""What ends a life, and what an estimate of its rest means for a visit."""

import math

import pytest

from cloud.core import lives
from cloud.core.lives import CAP_H, HOUR_NS, End
from cloud.core.wording import foreseen
from contract import machines
from contract.tickets import Label, Part

PUMP = machines.library()["centrifugal_pump"]
PART = [Part("BRG-1", "Bearing")]
TOLD_NS = 1_795_330_800 * 10**9
"""22 Nov 2026."""


def label(fault: str, **changes: object) -> Label:
    given = {
        "case": "c1", "device": "pump-1", "machine_type": PUMP.name, "fault": fault,
        "diagnosed": "unknown", "from_ns": 1, "to_ns": 2, "source": "closing_report",
    }  # fmt: skip
    return Label(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "end"),
    [
        (label("bearing_wear", parts_used=PART), End.FAILED),
        (label("bearing_wear"), End.RETIRED),
        (label("bearing_wear", parts_used=PART, resolved=False), End.RETIRED),
        (label("other", parts_used=PART), End.RETIRED),
        (label("other"), None),
        (label("no_fault_found"), None),
        (label("flow_sensor_stuck", parts_used=PART), None),
        (label("bearing_wear", parts_used=PART, source="verified_remedy"), None),
    ],
)
def test_a_life_ends_by_what_was_done_to_the_machine(made: Label, end: End | None) -> None:
    assert lives.end(made, PUMP) is end


def test_a_visit_is_booked_before_few_machines_have_failed() -> None:
    found = lives.forecast(TOLD_NS, 480, 288, 744, lead_h=24)
    assert found is not None
    assert found.book_before_ns == TOLD_NS + 264 * HOUR_NS
    assert foreseen(found) == (
        "Book a visit before 2026-12-03: a failure is expected about 2026-12-12 "
        "(between 2026-12-04 and 2026-12-23)."
    )


@pytest.mark.parametrize(
    ("low_h", "high_h", "said"),
    [
        (0, math.inf, "too few failures were seen"),
        (10, math.inf, "not before 2026-11-22"),
        (0, 48, "not after 2026-11-24"),
    ],
)
def test_a_bound_that_is_not_known_is_not_told(low_h: float, high_h: float, said: str) -> None:
    found = lives.forecast(TOLD_NS, 24, low_h, high_h, lead_h=48)
    assert found is not None
    assert said in foreseen(found)
    assert found.book_before_ns == TOLD_NS, "it is late, but never in the past"


def test_a_long_life_needs_no_visit() -> None:
    assert lives.forecast(TOLD_NS, 0.95 * CAP_H, 100, math.inf, lead_h=24) is None
