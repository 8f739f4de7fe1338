"""The work order: complete, readable, and always the same."""

import pytest
from msgspec import structs

from cloud.core import case as life
from cloud.core import ticket
from cloud.core.states import Case
from contract import codec, machines
from contract.commands import AnswerStatus
from contract.faults import NO_DATA, UNKNOWN, Deviation, Direction, Hypothesis
from contract.tickets import Asset, EscalationReason, Forecast, Ticket
from tests.core.scenes import HOUR_S, NS, Scene, fixing, ns

PUMP = machines.library()["centrifugal_pump"]
ASSET = Asset(device="pump-1", machine_type="centrifugal_pump", title="Pump 1", site="north")


def escalated() -> Scene:
    scene = fixing("restart")
    scene.answer(130, AnswerStatus.REFUSED, "pressure too high")
    scene.sick(134)
    scene.tick(135)
    return scene


def looked_into(case: Case) -> Case:
    """Give the case a picture with two likely causes and one unlikely."""
    return structs.replace(
        case,
        hypotheses=[
            Hypothesis("cavitation", 0.55, ["Suction pressure is low."]),
            Hypothesis("bearing_wear", 0.3, []),
            Hypothesis("flow_sensor_drift", 0.15, []),
        ],
        deviations=[Deviation("suction_pressure_bar", Direction.BELOW, 6.25, 0.41, 0.8)],
    )


def test_a_ticket_says_what_was_seen_tried_and_what_to_bring() -> None:
    made = ticket.build(looked_into(escalated().case), PUMP, ASSET)
    assert made.key == "pump-1-a1"
    assert made.title == "Pump 1: Cavitation"
    assert made.reason is EscalationReason.ATTEMPTS_EXHAUSTED
    assert made.due_ns == ns(10 * HOUR_S)
    assert (made.first_seen_ns, made.opened_ns) == (ns(0), ns(135))
    [tried] = made.tried
    assert (tried.remedy, tried.result, tried.detail) == ("restart", "refused", "pressure too high")
    numbers = [part.number for part in made.parts]
    assert numbers == ["ACT-DN100-24V", "BRG-6309-C3", "SEAL-32-SIC"]
    assert made.skills == ["pump mechanics", "electrical work", "shaft alignment"]
    assert len(made.safety_notes) == len(set(made.safety_notes)) == 4


def test_the_description_reads_like_a_person_wrote_it() -> None:
    said = ticket.build(looked_into(escalated().case), PUMP, ASSET).description
    assert "Why a visit: No remedy is left that could be carried out." in said
    assert "is below what is expected (6.2 sigmas): 0.41 bar, expected 0.8 bar" in said
    assert "- Restart, 1970-01-12 13:48 UTC: refused (pressure too high)" in said
    assert "55%: Suction pressure is low." in said
    assert "replace both bearings" in said


def test_the_same_case_always_gives_the_same_ticket() -> None:
    scene = escalated()
    first = codec.encode(ticket.build(scene.case, PUMP, ASSET))
    scene.healthy(200, 400)
    assert scene.case.recovered_since_ns is not None
    assert codec.encode(ticket.build(scene.case, PUMP, ASSET)) == first
    assert codec.decode(first, Ticket) == ticket.build(scene.case, PUMP, ASSET)


@pytest.mark.parametrize(
    ("fault", "said"), [(NO_DATA, "Find out why nothing is heard"), (UNKNOWN, "no known fault")]
)
def test_a_fault_outside_the_table_still_says_what_to_do(fault: str, said: str) -> None:
    scene = Scene(fault=fault)
    scene.feed(life.EscalationAsked("Ada"), 10)
    made = ticket.build(scene.case, PUMP, ASSET)
    assert said in made.description
    assert "Nothing was tried remotely." in made.description
    assert made.parts == []


def test_a_dangerous_cause_comes_first() -> None:
    case = structs.replace(
        escalated().case,
        hypotheses=[
            Hypothesis("cavitation", 0.6, []),
            Hypothesis("discharge_overpressure", 0.4, []),
        ],
    )
    made = ticket.build(case, PUMP, ASSET)
    assert "relief valve" in made.safety_notes[0]


def test_the_larger_quantity_of_a_part_is_brought() -> None:
    faults = [
        structs.replace(f, parts=[structs.replace(PUMP.faults[0].parts[0], quantity=quantity)])
        for f, quantity in zip(PUMP.faults[:2], (1, 3), strict=True)
    ]
    machine = structs.replace(PUMP, faults=faults)
    made = ticket.build(looked_into(escalated().case), machine, ASSET)
    assert [part.quantity for part in made.parts] == [3]


def test_a_case_without_a_ticket_has_none() -> None:
    with pytest.raises(ValueError, match="has no ticket"):
        ticket.build(Scene("restart").case, PUMP, ASSET)


def test_a_ticket_tells_the_remaining_life_where_it_is_known() -> None:
    day_ns = 86400 * NS
    forecast = Forecast(
        told_ns=0,
        expected_ns=9 * day_ns,
        earliest_ns=5 * day_ns,
        latest_ns=14 * day_ns,
        book_before_ns=4 * day_ns,
    )
    made = ticket.build(escalated().case, PUMP, ASSET, forecast)
    assert made.forecast == forecast
    assert "Book a visit before 1970-01-05: a failure is expected about" in made.description
    assert "(between 1970-01-06 and 1970-01-15)" in made.description
    assert codec.decode(codec.encode(made), Ticket) == made


def test_a_ticket_says_what_was_promised() -> None:
    scene = escalated()
    plan = structs.replace(scene.case.plan, service_level="Level A: running again within 4 h.")
    made = ticket.build(structs.replace(scene.case, plan=plan), PUMP, ASSET)
    assert made.service_level == plan.service_level
    assert plan.service_level in made.description
