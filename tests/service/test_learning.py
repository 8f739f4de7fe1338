"""Labels are learnt once, survive, and are heard in the next case and its ticket."""

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from cloud.service.learning import Learning
from cloud.service.lives import Lives
from cloud.service.parts import Parts
from contract import machines
from contract.errors import Unreachable
from contract.faults import NO_DATA, Deviation, Direction, Hypothesis
from contract.machines import MachineType
from contract.tickets import FailedCheck, Label, Ticket
from models import diagnose, learned
from models.monitor import Assessment, State
from tests.service.test_desk import DEVICE, desk_of, learning_of, parts, picture

PUMP = machines.library()["centrifugal_pump"]
STRANGE = [
    Deviation("strainer_dp_mbar", Direction.BELOW, 9.0, 20.0, 60.0),
    Deviation("motor_temperature_c", Direction.ABOVE, 8.0, 70.0, 50.0),
]
"""A picture that no entry of the fault table has."""


def label(number: int, fault: str, seen: list[Deviation] = STRANGE) -> Label:
    return Label(
        case=f"pump-1-{number}",
        device=DEVICE,
        machine_type=PUMP.name,
        fault=fault,
        diagnosed="unknown",
        from_ns=number,
        to_ns=number + 1,
        source="closing_report",
        deviations=seen,
    )


def first(learning: Learning, seen: list[Deviation] = STRANGE) -> Hypothesis:
    return learning.rank(PUMP, Assessment(0, State.ALARM, 2.0, seen, [], 1.0))[0]


def saved(made: Parts) -> learned.Learned:
    data = made.store.memory.model("learned/centrifugal_pump")
    assert data is not None
    return learned.restore(PUMP, data)


def test_without_labels_the_fault_table_decides(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        seen = picture("bearing_wear")
        assert [first(learning_of(made), seen)] == diagnose.rank(PUMP, seen, [])[:1]


def test_a_label_is_learnt_once_however_often_its_effect_is_performed(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        learning = learning_of(made)
        assert first(learning).fault != "bearing_wear"
        for number in (1, 2, 3, 3, 3):
            learning.take(label(number, "bearing_wear"))
        assert saved(made).findings == ["bearing_wear"] * 3
        found = first(learning)
        assert found.fault == "bearing_wear"
        assert "3 earlier cases with deviations like these turned out to be" in found.evidence[0]
    with parts(tmp_path) as made:
        assert first(learning_of(made)) == found


def test_a_corrected_label_replaces_what_was_learnt(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        learning = learning_of(made)
        learning.take(label(1, "bearing_wear"))
        learning.take(label(1, "air_ingress"))
        assert saved(made).findings == ["air_ingress"]


def test_a_label_that_could_not_be_saved_is_not_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with parts(tmp_path) as made:
        learning = learning_of(made)
        before = first(learning)

        def away(*_: object) -> None:
            raise Unreachable("database: locked")

        with monkeypatch.context() as patched:
            patched.setattr(made.store.memory, "put_label", away)
            with pytest.raises(Unreachable):
                learning.take(label(1, "bearing_wear"))
        assert first(learning) == before
        learning.take(label(1, "bearing_wear"))
        assert saved(made).findings == ["bearing_wear"]


@pytest.mark.parametrize("refused", [b"", b"from another version"])
def test_a_refused_state_is_learnt_anew_from_the_labels(
    tmp_path: Path, refused: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with parts(tmp_path) as made:
        learning = learning_of(made)
        for number in (1, 2, 3):
            learning.take(label(number, "bearing_wear"))
        before = first(learning)
        made.store.memory.put_models({"learned/centrifugal_pump": refused})
        with caplog.at_level(logging.WARNING):
            assert first(learning_of(made)) == before
        assert "learnt anew" in caplog.text
        assert saved(made).findings == ["bearing_wear"] * 3


def test_labels_without_a_picture_and_of_other_types_teach_nothing(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        learning = learning_of(made)
        learning.take(label(1, NO_DATA, seen=[]))
        learning.take(msgspec.structs.replace(label(2, "surge"), machine_type="chiller"))
        learning.take(msgspec.structs.replace(label(3, "x"), machine_type="gone"))
        strange = label(4, "bearing_wear", seen=[])
        strange = msgspec.structs.replace(strange, checks=[FailedCheck("from_tomorrow", "", "?")])
        learning.take(strange)
        assert saved(made).findings == []
        assert len(made.store.memory.labels()) == 4


class _Counting(Learning):
    ranked = 0

    def rank(self, machine: MachineType, assessment: Assessment) -> list[Hypothesis]:
        self.ranked += 1
        return super().rank(machine, assessment)


def test_an_alarm_that_goes_on_is_ranked_only_when_the_desk_looks_again(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        learning = _Counting(made, Lives(made, {}))
        desk = desk_of(made, learning)
        for _ in range(50):
            desk.alarm(DEVICE, Assessment(desk.now_ns(), State.ALARM, 2.0, STRANGE, [], 1.0))
        assert 1 <= learning.ranked <= 5


def test_evidence_of_labels_stands_in_the_case_and_in_the_ticket(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        learning = learning_of(made)
        for number in (1, 2, 3):
            learning.take(label(number, "bearing_wear"))
        desk = desk_of(made, learning)
        desk.alarm(DEVICE, Assessment(desk.now_ns(), State.ALARM, 2.0, STRANGE, [], 1.0))
        case_id = made.store.cases()[0].case_id
        asyncio.run(desk.decide(case_id, "escalate", "operator", "looks right"))
        (row,) = [r for r in made.store.outbox(case_id) if r.kind == "ticket"]
        ticket = msgspec.json.decode(row.payload, type=Ticket)
        assert ticket.fault == "bearing_wear"
        said = "3 earlier cases with deviations like these turned out to be"
        assert said in ticket.hypotheses[0].evidence[0]
        assert said in ticket.description
