"""What measurements are made from, on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from cloud.adapters import measures
from cloud.adapters.measures import Boxes
from cloud.adapters.store import CaseRow, OutboxRow, Store, TimelineRow


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    yield opened
    opened.close()


def test_lines_of_the_timeline_come_in_their_order_behind_the_cursor(store: Store) -> None:
    for case_id in ("c1", "c2"):
        row = CaseRow(
            case_id=case_id, device=case_id, phase="observing", open=True, opened_ns=1,
            updated_ns=1, version=1, data=b"{}",
        )  # fmt: skip
        lines = [
            TimelineRow(case_id=case_id, at_ns=7, kind="fault", text=f"{case_id} {i}")
            for i in range(3)
        ]
        store.save(row, None, lines, [])
    found = measures.notes(store.engine, 0, 4)
    assert [(n.case_id, n.at_ns, n.kind, n.text) for n in found] == [
        ("c1", 7, "fault", "c1 0"), ("c1", 7, "fault", "c1 1"), ("c1", 7, "fault", "c1 2"),
        ("c2", 7, "fault", "c2 0"),
    ]  # fmt: skip
    rest = measures.notes(store.engine, found[-1].number, 4)
    assert [n.text for n in rest] == ["c2 1", "c2 2"]
    assert measures.notes(store.engine, rest[-1].number, 4) == []


def test_what_waits_and_what_was_given_up_is_counted(store: Store) -> None:
    assert measures.boxes(store.engine) == Boxes(waiting=0, dead=0, quarantined=0)
    row = CaseRow(
        case_id="c1", device="p", phase="observing", open=True, opened_ns=1, updated_ns=1,
        version=1, data=b"{}",
    )  # fmt: skip
    effects = [
        OutboxRow(key=f"c1/{i}", case_id="c1", kind="command", payload=b"", due_ns=0)
        for i in range(5)
    ]
    store.save(row, None, [], effects)
    store.done("c1/0", 9)
    store.dead("c1/1", "gone")
    for _ in range(3):
        store.quarantine("topic", b"x", "why", 1)
    assert measures.boxes(store.engine) == Boxes(waiting=3, dead=1, quarantined=3)
