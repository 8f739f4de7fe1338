"""People, sessions and tokens on both databases, and the audit log's chain under many writers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from cloud.adapters.people_store import PersonRow, SessionRow, TokenRow
from cloud.adapters.rollout_store import Line
from cloud.adapters.store import Store
from cloud.core.people import Role
from contract.errors import Refused

ANNA = PersonRow(name="anna", role=Role.ADMIN, password_hash="x", language="zh")
TOKEN = TokenRow(name="erp", role=Role.DISPATCH, hash="h1", made_ns=5)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = Store(database_url)
    yield made
    made.close()


def test_people_sessions_and_tokens_come_back_as_they_went(store: Store) -> None:
    people = store.people
    people.put_person(ANNA, end_sessions=False)
    people.put_session(SessionRow(hash="s2", name="anna", made_ns=1, seen_ns=9))
    people.put_session(SessionRow(hash="s1", name="anna", made_ns=1, seen_ns=3))
    people.put_token(TOKEN)
    people.seen({"s1": 7, "gone": 1}, {"anna": 8}, {"erp": 9})
    assert people.people() == [replace(ANNA, last_ns=8)]
    assert [(s.hash, s.seen_ns) for s in people.sessions()] == [("s1", 7), ("s2", 9)]
    assert people.tokens() == [replace(TOKEN, last_ns=9)]
    people.end_sessions(["s1", "gone"])
    assert [s.hash for s in people.sessions()] == ["s2"]
    people.put_person(replace(ANNA, disabled=True), end_sessions=True)
    assert people.sessions() == []
    people.delete_token("erp")
    people.delete_token("erp")
    assert people.tokens() == []


def test_a_session_needs_its_person_and_a_token_its_name(store: Store) -> None:
    with pytest.raises(Refused):
        store.people.put_session(SessionRow(hash="s", name="nobody", made_ns=1, seen_ns=1))
    store.people.put_token(TOKEN)
    with pytest.raises(Refused):
        store.people.put_token(replace(TOKEN, hash="h2"))
    with pytest.raises(Refused):
        store.people.put_token(replace(TOKEN, name="other"))


def test_the_audit_log_stays_one_chain_under_many_writers(store: Store) -> None:
    def write(i: int) -> None:
        lines = [Line(at_ns=i, by="x\0", what="test", text=f"{i}.{j} \ud800") for j in range(3)]
        store.updates.save(None, lines=lines)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    chain = store.updates.audit_chain()
    assert (chain.lines, chain.broken_at) == (120, None)
    assert len(chain.hash) == 64
    with store.engine.begin() as connection:
        connection.execute(sa.text("UPDATE audit SET at_ns = at_ns + 1 WHERE text LIKE '7.1%'"))
    broken_at = store.updates.audit_chain().broken_at
    assert broken_at is not None
    (row,) = [row for row in store.updates.audit(limit=200) if row.text.startswith("7.1")]
    assert row.id == broken_at


def test_lines_from_before_the_chain_are_left_alone(store: Store) -> None:
    old = "INSERT INTO audit (at_ns, by, what, text, device, rollout) VALUES (1,'x','y','z','',0)"
    with store.engine.begin() as connection:
        connection.execute(sa.text(old))
    store.updates.save(None, lines=[Line(at_ns=2, by="x", what="y", text="z")])
    assert store.updates.audit_chain().lines == 2
    with store.engine.begin() as connection:
        connection.execute(sa.text(old))
    assert store.updates.audit_chain().broken_at is not None, "no line may come in beside it"
