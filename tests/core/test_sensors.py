"""What a failing check blames is believed, and the machine is not suspected in its place."""

import pytest

from cloud.core import case as life
from cloud.core import playbook, sensors, ticket
from cloud.core.states import Diagnosis, Phase, Plan
from contract import machines
from contract.faults import NO_DATA, UNKNOWN, Deviation, Direction
from contract.machines import CheckKind, MachineType, Role
from contract.tickets import Asset, EscalationReason, FailedCheck
from models import diagnose, learned
from models.checks import CheckResult
from tests.core.scenes import ns

MACHINES = machines.library()
PUMP = MACHINES["centrifugal_pump"]
BOOKS = playbook.shipped(MACHINES)
STALE = FailedCheck("stale", "", "the same numbers have come under new times for 90 s")
DRIFTED = FailedCheck("drifted", "suction_pressure_bar", "reads 0.4 bar above its reference")
FAR = [Deviation("suction_pressure_bar", Direction.ABOVE, 30.0, 0.9, 0.5)]
BEARING = [
    Deviation("vibration_mm_s", Direction.ABOVE, 12.0, 9.0, 2.0),
    Deviation("bearing_temperature_c", Direction.ABOVE, 12.0, 80.0, 50.0),
]


def looked_at(
    seen: list[Deviation], checks: list[FailedCheck], machine: MachineType = PUMP
) -> Diagnosis:
    results = [CheckResult(CheckKind(c.kind), c.signal, c.detail) for c in checks]
    ranked = learned.rank(learned.empty(machine), machine, seen, results)
    ranked = sensors.explained(machine, ranked, seen, checks)
    assert sum(h.probability for h in ranked) == pytest.approx(1)
    return playbook.diagnosis(machine, ranked, seen, checks, BOOKS.policy)


def planned(found: Diagnosis) -> Plan:
    return playbook.plan(PUMP, "B", found, BOOKS, ns(0))


@pytest.mark.parametrize("seen", [[], BEARING])
def test_a_device_that_repeats_itself_sends_no_data(seen: list[Deviation]) -> None:
    found = looked_at(seen, [STALE])
    assert (found.fault, found.title) == (NO_DATA, "The machine repeats old numbers")
    assert found.hypotheses[0].probability > 0.98
    assert "under new times for 90 s" in found.hypotheses[0].evidence[0]
    made = planned(found)
    assert made.no_remote is EscalationReason.DEVICE_UNREACHABLE
    assert "What the machine sends is old" in made.no_remote_detail


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("kind", [k for k in CheckKind if k is not CheckKind.STALE])
def test_no_machine_fault_is_suspected_for_a_sensor(kind: CheckKind, machine: MachineType) -> None:
    for signal in machine.with_role(Role.RESPONSE) + machine.with_role(Role.DRIVER):
        check = FailedCheck(kind.value, signal.name, "as the test says")
        found = looked_at([], [check], machine)
        spec = machine.fault(found.fault)
        if spec is None:
            assert found.fault == UNKNOWN
            assert found.title.startswith(f"Sensor fault: {signal.title} ")
            assert found.hypotheses[0].probability > 0.98
            assert found.hypotheses[0].evidence[0].endswith("as the test says.")
        elif spec.check is None:
            assert {s.signal for s in spec.symptoms} == {signal.name}
        else:
            assert (spec.check.kind, spec.check.signal) == (kind, signal.name)


def test_a_drifted_sensor_gets_a_visit_and_no_restart() -> None:
    made = planned(looked_at(FAR, [DRIFTED]))
    assert made.steps == []
    assert made.no_remote is EscalationReason.NOT_REMOTABLE
    assert "the sensor or its wire needs hands on site" in made.no_remote_detail
    still = FailedCheck("stuck", "suction_pressure_bar", "has stood still")
    assert [s.remedy for s in planned(looked_at([], [still])).steps] == ["restart_controller"]


def test_a_fault_of_the_machine_is_seen_beside_a_blamed_sensor() -> None:
    found = looked_at(BEARING + FAR, [DRIFTED])
    assert found.fault == "bearing_wear"
    results = [CheckResult(CheckKind.DRIFTED, DRIFTED.signal, DRIFTED.detail)]
    assert found.hypotheses == diagnose.rank(PUMP, BEARING + FAR, results)


def test_without_checks_nothing_changes() -> None:
    ranked = diagnose.rank(PUMP, BEARING, [])
    assert sensors.explained(PUMP, ranked, BEARING, []) == ranked
    assert sensors.explained(PUMP, [], [], [DRIFTED]) == []
    assert not sensors.alone([], [])


@pytest.mark.parametrize(
    ("seen", "check", "said", "action"),
    [
        ([], STALE, "The device: the same numbers", "plays old numbers again"),
        (FAR, DRIFTED, "Suction pressure (gauge): reads 0.4 bar above", "Check the sensor"),
    ],
)
def test_the_ticket_says_what_is_to_blame(
    seen: list[Deviation], check: FailedCheck, said: str, action: str
) -> None:
    found = looked_at(seen, [check])
    case, _ = life.open_case(
        case_id="c1", device="pump-1", site="north", machine_type=PUMP.name, diagnosis=found,
        plan=planned(found), now_ns=ns(0),
    )  # fmt: skip
    case, _ = life.step(case, life.EscalationAsked("Ada"), ns(10))
    assert case.phase is Phase.DISPATCHED
    asset = Asset(device="pump-1", machine_type=PUMP.name, title="Pump", site="north")
    made = ticket.build(case, PUMP, asset)
    assert said in made.description
    assert action in made.description
    assert f"- {found.title}, " in made.description
    assert made.parts == []
