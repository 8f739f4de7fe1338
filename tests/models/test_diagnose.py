"""The diagnosis ranks by evidence and says so in sentences."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.faults import UNKNOWN, Deviation, Direction, Severity
from contract.machines import CheckKind, FaultSpec, Symptom
from models.checks import CheckResult
from models.diagnose import rank
from tests.models import plant

MACHINE = plant.machine()
RESPONSES = ["flow", "pressure", "power", "metal", "vibration"]


def deviations(**sigmas: float) -> list[Deviation]:
    seen = {**dict.fromkeys(RESPONSES, 0.5), **sigmas}
    return [
        Deviation(n, Direction.ABOVE if s > 0 else Direction.BELOW, abs(s)) for n, s in seen.items()
    ]


@pytest.mark.parametrize(
    ("sigmas", "fault"),
    [
        ({"vibration": 9.0, "metal": 7.0}, "wear"),
        ({"flow": -20.0, "pressure": 12.0}, "blocked"),
        ({"flow": 8.0, "pressure": -6.0, "power": 3.0}, "leak"),
        ({"power": 15.0}, UNKNOWN),
        ({"flow": 12.0, "pressure": 12.0}, UNKNOWN),
    ],
)
def test_the_pattern_names_the_fault(sigmas: dict[str, float], fault: str) -> None:
    ranked = rank(MACHINE, deviations(**sigmas), [])
    assert ranked[0].fault == fault
    assert ranked[0].probability > 0.4


def test_a_failing_check_dominates_and_its_signal_is_no_evidence() -> None:
    stuck = CheckResult(CheckKind.STUCK, "flow", "has stood still at 80 m3/h for 70 s")
    ranked = rank(MACHINE, deviations(flow=-9.0, pressure=3.0), [stuck])
    assert ranked[0].fault == "flow_stuck"
    assert ranked[0].evidence == [
        "Flow: has stood still at 80 m3/h for 70 s, as flow_stuck predicts."
    ]


def test_evidence_speaks_for_and_against() -> None:
    ranked = {h.fault: h.evidence for h in rank(MACHINE, deviations(vibration=9.2, power=8.0), [])}
    assert "Vibration is 9.2 sigma above its reference, as wear predicts." in ranked["wear"]
    assert "Metal is normal, which speaks against wear." in ranked["wear"]
    assert "Power is 8.0 sigma above its reference, which wear does not explain." in ranked["wear"]
    assert "Flow is not still, which speaks against flow_stuck." in ranked["flow_stuck"]


def test_a_response_that_could_not_be_judged_counts_neither_way() -> None:
    seen = [d for d in deviations(vibration=9.0) if d.signal != "metal"]
    wear = next(h for h in rank(MACHINE, seen, []) if h.fault == "wear")
    assert "Metal could not be judged." in wear.evidence
    assert wear.probability > 0.5


def test_where_nothing_deviates_nothing_is_named() -> None:
    loose = CheckResult(CheckKind.LOOSE, "flow", "has jumped there and straight back")
    stale = CheckResult(CheckKind.STALE, "", "repeats itself")
    assert rank(MACHINE, deviations(), [])[0].fault == UNKNOWN
    assert rank(MACHINE, deviations(), [loose])[0].fault == UNKNOWN
    assert rank(MACHINE, deviations(vibration=9.0, metal=7.0), [stale])[0].fault == UNKNOWN
    assert rank(MACHINE, [], [])[0].fault == UNKNOWN


def test_a_drifted_sensor_names_the_fault_that_shows_in_it_alone() -> None:
    symptom = Symptom(signal="flow", direction=Direction.ABOVE)
    reads_high = FaultSpec(
        code="flow_high", title="flow_high", severity=Severity.LOW, symptoms=[symptom]
    )
    machine = msgspec.structs.replace(MACHINE, faults=[*MACHINE.faults, reads_high])
    drifted = CheckResult(CheckKind.DRIFTED, "flow", "has left its reference alone")
    ranked = rank(machine, deviations(flow=9.0), [drifted])
    assert ranked[0].fault == "flow_high"
    assert ranked[0].evidence == ["Flow: has left its reference alone, as flow_high predicts."]


def test_a_deviation_without_a_number_is_no_evidence() -> None:
    seen = [Deviation("vibration", Direction.ABOVE, math.nan)]
    wear = next(h for h in rank(MACHINE, seen, []) if h.fault == "wear")
    assert wear.evidence == ["Vibration could not be judged.", "Metal could not be judged."]


DEVIATIONS = st.builds(
    Deviation,
    signal=st.sampled_from([*RESPONSES, "stranger"]),
    direction=st.sampled_from(Direction),
    sigmas=st.floats(min_value=0) | st.just(math.nan),
)


@given(st.lists(DEVIATIONS, max_size=8, unique_by=lambda d: d.signal))
def test_probabilities_cover_the_table_and_sum_to_one(seen: list[Deviation]) -> None:
    ranked = rank(MACHINE, seen, [])
    assert {h.fault for h in ranked} == {f.code for f in MACHINE.faults} | {UNKNOWN}
    assert sum(h.probability for h in ranked) == pytest.approx(1.0)
    assert [h.probability for h in ranked] == sorted((h.probability for h in ranked), reverse=True)
