"""What was learnt, on SQLite and on PostgreSQL: one suite for both."""

from collections.abc import Iterator

import msgspec
import pytest

from cloud.adapters.memory import Memory
from cloud.adapters.store import Store
from contract.faults import Deviation, Direction
from contract.tickets import FailedCheck, Label


@pytest.fixture
def memory(database_url: str) -> Iterator[Memory]:
    opened = Store(database_url)
    yield opened.memory
    opened.close()


def label(case_id: str, fault: str, source: str = "closing_report", to_ns: int = 2) -> Label:
    return Label(
        case=case_id,
        device="pump-1",
        machine_type="centrifugal_pump",
        fault=fault,
        diagnosed="clogging",
        from_ns=1,
        to_ns=to_ns,
        source=source,
        deviations=[Deviation("flow", Direction.BELOW, 7.5, 3.0, None)],
        checks=[FailedCheck("stuck", "flow", "has stood still")],
    )


def test_labels_are_corrected_by_the_same_source(memory: Memory) -> None:
    memory.put_label(label("c2", "wear", to_ns=9), {})
    for fault in ("clogging", "cavitation"):
        memory.put_label(label("c1", fault), {})
    memory.put_label(label("c1", "clogging", source="verified_remedy"), {})
    assert memory.labels() == [
        label("c1", "cavitation"),
        label("c1", "clogging", source="verified_remedy"),
        label("c2", "wear", to_ns=9),
    ]
    assert memory.label("c1", "closing_report") == label("c1", "cavitation")
    assert memory.label("c1", "dismissed") is None


def test_the_newest_labels_are_read_when_there_are_too_many(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.adapters.memory.LABELS_MAX", 3)
    for i in range(5):
        memory.put_label(label(f"c{i}", "wear", to_ns=i), {})
    assert [found.case for found in memory.labels()] == ["c2", "c3", "c4"]


def test_labels_from_before_they_had_pictures_can_be_read() -> None:
    old = msgspec.json.encode(label("c1", "wear"))
    fields = msgspec.json.decode(old)
    del fields["deviations"], fields["checks"]
    found = msgspec.convert(fields, Label)
    assert (found.deviations, found.checks) == ([], [])


def test_a_label_and_the_models_that_learnt_it_are_saved_together(memory: Memory) -> None:
    assert memory.model("a") is None
    memory.put_models({"a": b"\x000", "b": b"1"})
    memory.put_label(label("c1", "wear"), {"a": b"\x002"})
    assert (memory.model("a"), memory.model("b")) == (b"\x002", b"1")
    with pytest.raises(Exception, match="name"):
        memory.put_label(label("c2", "wear"), {"a": b"3", None: b"4"})  # type: ignore[dict-item]
    assert memory.label("c2", "closing_report") is None
    assert memory.model("a") == b"\x002"
