"""The store, on SQLite and on PostgreSQL: one suite for both."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from cloud.adapters.store import (
    PRUNE_MAX,
    QUARANTINE_MAX,
    QUARANTINE_PAYLOAD_BYTES_MAX,
    TEXT_MAX,
    CaseRow,
    OutboxRow,
    OutboxState,
    Store,
    TicketRow,
    TimelineRow,
)
from cloud.core.asset import AssetRow
from contract.errors import Malformed, Refused, Unreachable
from tests import peers


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    yield opened
    opened.close()


def case(case_id: str = "c1", version: int = 1, **changes: object) -> CaseRow:
    row = CaseRow(
        case_id=case_id,
        device="pump-1",
        phase="observing",
        open=True,
        opened_ns=2**62,
        updated_ns=2**62,
        version=version,
        data=b"\x00\xffdata",
    )
    return msgspec.structs.replace(row, **changes)


def effect(key: str, due_ns: int = 0, case_id: str = "c1", payload: bytes = b"\x00x") -> OutboxRow:
    return OutboxRow(key=key, case_id=case_id, kind="command", payload=payload, due_ns=due_ns)


def happened(text: str, at_ns: int = 7, case_id: str = "c1") -> TimelineRow:
    return TimelineRow(case_id=case_id, at_ns=at_ns, kind="note", text=text, data=b"\x00")


def test_a_case_comes_back_as_it_was_saved(store: Store) -> None:
    store.save(case(), None, [happened("opened ä"), happened("seen")], [effect("c1/1")])
    assert store.case("c1") == case()
    assert store.timeline("c1") == [happened("opened ä"), happened("seen")]
    assert store.outbox("c1") == [effect("c1/1")]
    assert store.case("other") is None
    assert store.timeline("other") == []


def test_of_two_changes_from_one_version_the_second_is_refused_whole(store: Store) -> None:
    store.save(case(), None, [], [])
    store.save(case(version=2, phase="fixing"), 1, [happened("first")], [effect("first")])
    with pytest.raises(Refused, match="version 1"):
        store.save(case(version=2, phase="closed"), 1, [happened("second")], [effect("second")])
    assert store.case("c1") == case(version=2, phase="fixing")
    assert [t.text for t in store.timeline("c1")] == ["first"]
    assert [o.key for o in store.outbox("c1")] == ["first"]
    with pytest.raises(Refused):
        store.save(case("unknown", version=2), 1, [], [])
    with pytest.raises(ValueError, match="after"):
        store.save(case(version=2), 2, [], [])


def test_a_device_has_one_open_case(store: Store) -> None:
    store.save(case("c1"), None, [], [])
    with pytest.raises(Refused):
        store.save(case("c2"), None, [happened("x", case_id="c2")], [])
    assert store.case("c2") is None
    store.save(case("c1", version=2, open=False, phase="closed"), 1, [], [])
    store.save(case("c2"), None, [], [])
    store.save(case("c3", device="pump-2"), None, [], [])
    with pytest.raises(Refused):
        store.save(case("c1", version=3, open=True), 2, [], [])
    found = store.open_case("pump-1")
    assert found is not None
    assert found.case_id == "c2"
    assert store.open_case("pump-9") is None
    assert {c.case_id for c in store.open_cases()} == {"c2", "c3"}


def test_many_at_once_open_exactly_one_case(store: Store) -> None:
    def attempt(i: int) -> int:
        try:
            store.save(case(f"c{i}"), None, [], [effect(f"c{i}/1", case_id=f"c{i}")])
        except Refused:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(24))) == 1
    assert len(store.open_cases()) == 1
    assert len(store.due(0, 100)) == 1


def test_many_changes_at_once_lose_none(store: Store) -> None:
    store.save(case(version=0), None, [], [])

    def count(_: int) -> None:
        while True:
            before = store.case("c1")
            assert before is not None
            version = before.version + 1
            try:
                store.save(case(version=version), before.version, [happened(str(version))], [])
            except Refused:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(20)))
    assert [t.text for t in store.timeline("c1")] == [str(i) for i in range(1, 21)]


def test_cases_are_listed_newest_first_and_no_page_loses_one(store: Store) -> None:
    times = [10, 20, 30, 30, 30, 40, 40, 50]
    for i, opened_ns in enumerate(times):
        phase = "closed" if i % 2 else "recovered"
        row = case(f"c{i}", device=f"pump-{i % 3}", open=False, opened_ns=opened_ns, phase=phase)
        store.save(row, None, [], [])
    seen: list[CaseRow] = []
    while page := store.cases(limit=2, before_ns=seen[-1].opened_ns if seen else None):
        assert len(page) <= 4
        seen += page
    assert sorted(c.case_id for c in seen) == [f"c{i}" for i in range(8)]
    assert [c.opened_ns for c in seen] == sorted(times, reverse=True)
    assert [c.case_id for c in store.cases(device="pump-0", phase="closed")] == ["c3"]
    assert store.cases(device="pump-9") == []


def test_effects_are_due_in_order_until_they_end(store: Store) -> None:
    rows = [effect("a", 30), effect("b", 10), effect("c", 10), effect("later", 99)]
    store.save(case(), None, [], rows)
    assert [o.key for o in store.due(50, 10)] == ["b", "c", "a"]
    assert [o.key for o in store.due(50, 1)] == ["b"]
    assert store.due(9, 10) == []
    store.retry("b", "broker away", 60)
    store.retry("b", "broker still away", 40)
    store.done("c", 51)
    store.dead("a", "x" * 10_000)
    assert [o.key for o in store.due(98, 10)] == ["b"]
    found = {o.key: o for o in store.outbox("c1")}
    assert found["b"] == OutboxRow(
        key="b",
        case_id="c1",
        kind="command",
        payload=b"\x00x",
        due_ns=40,
        attempts=2,
        last_error="broker still away",
    )
    assert (found["c"].state, found["c"].ended_ns) == (OutboxState.DONE, 51)
    assert (found["a"].state, found["a"].attempts) == (OutboxState.DEAD, 1)
    assert found["a"].last_error == "x" * TEXT_MAX
    with pytest.raises(KeyError):
        store.done("never saved", 1)


def test_a_known_effect_stays_as_it_was(store: Store) -> None:
    store.save(case(), None, [], [effect("k", 5)])
    store.done("k", 6)
    store.save(case(version=2), 1, [], [effect("k", 7, payload=b"new"), effect("l", 7)])
    found = store.outbox("c1")
    assert [(o.key, o.payload, o.state) for o in found] == [
        ("k", b"\x00x", OutboxState.DONE),
        ("l", b"\x00x", OutboxState.PENDING),
    ]


def test_an_effect_or_line_without_its_case_is_refused(store: Store) -> None:
    with pytest.raises(Refused):
        store.save(case("c1"), None, [happened("x", case_id="c9")], [])
    with pytest.raises(Refused):
        store.save(case("c1"), None, [], [effect("k", case_id="c9")])
    assert store.case("c1") is None


def test_assets_are_replaced(store: Store) -> None:
    old = AssetRow(device="pump-1", site="north", machine_type="centrifugal_pump", serial="1")
    new = msgspec.structs.replace(old, site="south", title="Feed pump", tier="A")
    for row in (old, AssetRow(device="a", site="s", machine_type="chiller"), new):
        store.put_assets([row])
    assert [a.device for a in store.assets()] == ["a", "pump-1"]
    assert store.asset("pump-1") == new
    assert store.asset("nobody") is None


def test_a_ticket_never_changes(store: Store) -> None:
    store.put_ticket("c1", b"body \x00", 5)
    store.put_ticket("c1", b"body \x00", 9)
    with pytest.raises(Refused, match="c1"):
        store.put_ticket("c1", b"another", 9)
    store.put_ticket("c2", b"2", 8)
    assert store.ticket("c1") == TicketRow(key="c1", body=b"body \x00", opened_ns=5)
    assert store.ticket("c9") is None
    assert [t.key for t in store.tickets()] == ["c2", "c1"]
    assert [t.key for t in store.tickets(before_ns=8)] == ["c1"]


def test_quarantine_is_a_ring_that_counts(store: Store) -> None:
    store.quarantine("a/\0/\ud800" + "t" * 9999, b"p" * 99_999, "bad \0 reason", 3)
    [first] = store.quarantined()
    assert len(first.topic) == TEXT_MAX
    assert len(first.payload) == QUARANTINE_PAYLOAD_BYTES_MAX
    assert (first.reason, first.at_ns) == ("bad \ufffd reason", 3)


def test_quarantine_forgets_the_oldest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert QUARANTINE_MAX >= 100
    monkeypatch.setattr("cloud.adapters.store.QUARANTINE_MAX", 5)
    for i in range(12):
        store.quarantine("t", bytes([i]), "r", i)
    assert [q.at_ns for q in store.quarantined()] == [11, 10, 9, 8, 7]
    assert [q.id for q in store.quarantined(2)] == [12, 11]


def test_text_that_no_database_holds_is_malformed_or_kept(store: Store) -> None:
    # SQLite keeps a NUL in a text, PostgreSQL cannot; neither may corrupt what else is saved.
    try:
        store.save(case(), None, [happened("a\0b")], [])
    except Malformed:
        assert store.case("c1") is None
    else:
        assert store.timeline("c1")[0].text == "a\0b"


def test_everything_is_there_after_reopening(database_url: str) -> None:
    first = Store(database_url)
    first.save(case(), None, [happened("x")], [effect("k")])
    first.close()
    second = Store(database_url)
    assert second.case("c1") == case()
    assert len(second.due(0, 9)) == 1
    second.close()


def test_wrong_urls_are_explained() -> None:
    for url in ("nonsense", "mysql://localhost/x", ""):
        with pytest.raises(Malformed, match="database URL"):
            Store(url)


def test_a_database_that_is_away_is_unreachable(tmp_path: Path) -> None:
    port = peers.free_port()
    with pytest.raises(Unreachable):
        Store(f"postgresql://u:p@127.0.0.1:{port}/x")
    with pytest.raises(Unreachable):
        Store(f"sqlite:///{tmp_path}/no/such/directory/cases.db")


@pytest.mark.real
def test_a_database_that_goes_away_is_unreachable() -> None:
    with peers.postgres() as url:
        store = Store(url)
        assert store.open_cases() == []
    with pytest.raises(Unreachable):
        store.open_cases()
    with pytest.raises(Unreachable):
        store.save(case(), None, [], [])
    store.close()


def test_a_file_that_is_no_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    path.write_bytes(b"something else " * 1000)
    with pytest.raises(Refused, match="not a database"):
        Store(f"sqlite:///{path}")


def test_what_was_performed_long_ago_is_pruned_only_of_cases_that_are_over(store: Store) -> None:
    for name in ("old", "open"):
        effects = [effect(f"{name}/{i}", case_id=name) for i in range(4)]
        store.save(case(name, device=name), None, [happened("x", case_id=name)], effects)
        store.done(f"{name}/0", 50)
        store.done(f"{name}/1", 100)
        store.dead(f"{name}/2", "nobody took it")
    store.save(case("old", device="old", version=2, open=False), 1, [], [])
    assert store.prune(100) == 1
    assert [row.key for row in store.outbox("old")] == ["old/1", "old/2", "old/3"]
    assert len(store.outbox("open")) == 4
    assert len(store.timeline("old")) == 1
    assert store.prune(100) == 0


def test_one_pruning_is_bounded(store: Store) -> None:
    effects = [msgspec.structs.replace(effect(str(i)), state=OutboxState.DONE, ended_ns=1)
               for i in range(PRUNE_MAX + 5)]  # fmt: skip
    store.save(case(open=False), None, [], effects)
    assert [store.prune(2) for _ in range(3)] == [PRUNE_MAX, 5, 0]
