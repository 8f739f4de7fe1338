"""The value ledger on a real database: lines stay, are added up by month, and become files."""

import csv
import io
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from msgspec import structs

from cloud.adapters.store import CaseRow, OutboxRow, Store
from cloud.config import Config
from cloud.core import ledger
from cloud.core.ledger import Entry, EntryKind
from cloud.service.value import Value
from contract.commands import AnswerStatus
from contract.errors import Malformed, Unreachable
from tests.service.test_desk import alarm, answer, desk_of, parts, pass_minutes, shown

PRICES = {"visit": 480.0, "downtime_per_hour": 200.0, "downtime_h_per_visit": 30.0}
NOVEMBER = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9
DECEMBER = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)], ids=lambda kind: kind
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A ledger on each of the two databases."""
    if request.param == "postgresql":
        made = Store(request.getfixturevalue("postgres_url"))
        with made.engine.begin() as connection:  # the server is other tests' too
            connection.execute(sa.text("TRUNCATE ledger, cases CASCADE"))
    else:
        made = Store(f"sqlite:///{tmp_path / 'cases.db'}")
    yield made
    made.close()


def value(store: Store, **prices: object) -> Value:
    return Value(store, Config.model_validate({"prices": {**PRICES, **prices}}))


def entry(case_id: str = "pump-1-a", at_ns: int = NOVEMBER, **changes: object) -> Entry:
    made = Entry(
        key=f"{case_id}/0/visit_avoided",
        case_id=case_id,
        device="pump-1",
        site="north",
        machine_type="centrifugal_pump",
        tier="A",
        at_ns=at_ns,
        kind=EntryKind.VISIT_AVOIDED,
        count=1.0,
        amount=480.0,
        currency="EUR",
        assumptions={"visit": 480.0},
        text="'Restart controller' worked.",
    )
    return structs.replace(made, **changes)


def reversal(of: Entry, at_ns: int = DECEMBER, amount: float | None = -900.0) -> Entry:
    """Return what a return of the fault writes, at the prices of then."""
    return structs.replace(
        of,
        key=f"{of.key}/reversed",
        kind=EntryKind.REVERSED,
        at_ns=at_ns,
        count=-1.0,
        amount=amount,
        reverses=of.key,
    )


def pending(store: Store, entries: list[Entry]) -> None:
    """Leave lines of a case in the outbox."""
    case_id = entries[0].case_id
    case = CaseRow(
        case_id=case_id, device="pump-1", phase="recovered", open=False, opened_ns=1,
        updated_ns=NOVEMBER, version=1, data=b"{}",
    )  # fmt: skip
    payload = msgspec.json.encode(entries)
    row = OutboxRow(
        key=f"{case_id}/ledger/3", case_id=case_id, kind="ledger", payload=payload, due_ns=0
    )
    store.save(case, None, [], [row])


def test_a_line_is_kept_once_and_never_changed(store: Store) -> None:
    books = value(store)
    books.take([entry()])
    books.take([entry(amount=999.0, text="Told otherwise.")])
    assert books.case_entries("pump-1-a") == [entry()]
    assert books.case_entries("pump-2") == []


def test_lines_add_up_by_month_in_utc(store: Store) -> None:
    books = value(store)
    books.take([entry("a"), entry("b", DECEMBER - 1)])
    books.take([entry("c", DECEMBER)])
    assert [(m.month, m.counts, m.amounts) for m in books.months()] == [
        ("2026-12", {"visit_avoided": 1.0}, {"visit_avoided": 480.0}),
        ("2026-11", {"visit_avoided": 2.0}, {"visit_avoided": 960.0}),
    ]
    found = books.report("2026-11")
    assert [e.case_id for e in found.entries] == ["a", "b"]
    assert found.prices.visit == 480.0
    assert books.report("2025-01").entries == []


def test_cases_that_ended_in_the_month_are_counted(store: Store) -> None:
    pending(store, [entry()])
    assert value(store).report("2026-11").cases == 1
    assert value(store).report("2026-12").cases == 0


def test_a_return_takes_back_what_was_written_then(store: Store) -> None:
    books = value(store, visit=900.0)
    books.take([entry()])
    books.take([reversal(entry())])
    assert books.report("2026-12").amounts == {"visit_avoided": -480.0}
    assert books.report("2026-12").counts == {"visit_avoided": -1.0, "reversed": 1.0}
    books.take([reversal(entry())])
    assert len(books.case_entries("pump-1-a")) == 2
    counts, amounts = ledger.totals(books.case_entries("pump-1-a"), "EUR")
    assert (counts["visit_avoided"], amounts["visit_avoided"]) == (0.0, 0.0)


def test_a_line_and_its_reversal_may_come_together(store: Store) -> None:
    books = value(store)
    books.take([entry(), reversal(entry())])
    assert [e.count for e in books.case_entries("pump-1-a")] == [1.0, -1.0]


def test_what_takes_back_waits_for_what_is_still_on_its_way(store: Store) -> None:
    books = value(store)
    pending(store, [entry()])
    with pytest.raises(Unreachable, match="not written yet"):
        books.take([reversal(entry())])
    assert books.case_entries("pump-1-a") == []
    books.take([entry()])
    books.take([reversal(entry())])
    assert len(books.case_entries("pump-1-a")) == 2


def test_what_was_never_written_is_not_taken_back(store: Store) -> None:
    books = value(store)
    pending(store, [entry("another")])
    books.take([reversal(entry())])
    assert books.case_entries("pump-1-a") == []
    books.take([entry()])
    downtime = entry(key="pump-1-a/0/downtime_avoided", kind=EntryKind.DOWNTIME_AVOIDED)
    books.take([reversal(entry()), reversal(downtime)])
    assert [e.kind for e in books.case_entries("pump-1-a")] == [K.VISIT_AVOIDED, K.REVERSED]


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-00", "0000-01", "2026-1", "x" * 99,
                                   "2026-11\n", "\uff12026-11"])  # fmt: skip
def test_what_is_no_month_is_named(store: Store, month: str) -> None:
    for read in (value(store).report, value(store).csv, value(store).pdf):
        with pytest.raises(Malformed, match="is not a month: write year and month"):
            read(month)


K = EntryKind
HOSTILE = '=HYPERLINK("http://example.com";"pay")'


def test_no_cell_of_the_csv_is_a_formula(store: Store) -> None:
    books = value(store)
    texts = [HOSTILE, "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "fine", 'a "quoted", line']
    books.take([entry(f"c{i}", text=text, site=text) for i, text in enumerate(texts)])
    books.take([reversal(entry("c0"), NOVEMBER)])
    rows = list(csv.DictReader(io.StringIO(books.csv("2026-11").decode("utf-8-sig"))))
    assert len(rows) == len(texts) + 1
    for row in rows:
        for name, cell in row.items():
            if name not in ("count", "amount"):
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), cell
    told = {row["case"]: row["text"] for row in rows if row["kind"] == "visit_avoided"}
    assert told["c0"] == f"'{HOSTILE}"
    assert told["c8"] == 'a "quoted", line'
    assert {row["amount"] for row in rows} == {"480.00", "-480.00"}, "figures stay figures"


def pdf_text(content: bytes) -> str:
    """Return the words of a PDF in one line."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", content, re.DOTALL)
    drawn = b"".join(zlib.decompress(stream) for stream in streams if stream[:1] == b"x")
    words = re.findall(rb"\((.*?)(?<!\\)\) Tj", drawn, re.DOTALL)
    return re.sub(r"\\(.)", r"\1", b" ".join(words).decode("latin-1"))


def test_a_pdf_holds_names_that_its_font_cannot_draw(store: Store) -> None:
    books = value(store)
    books.take([entry("c1", text="\u6cf5 'K\u00fchler' ok\x00\x1b[2J"), entry("c2", text="(well)")])
    said = pdf_text(books.pdf("2026-11"))
    assert "c1: ? 'K\u00fchler' ok" in said
    assert "c2: (well)" in said
    assert "? stands for a character that this font cannot draw" in said


def test_a_pdf_says_sums_assumptions_and_the_rule(store: Store) -> None:
    books = value(store)
    books.take([entry("c1"), entry("c2")])
    said = pdf_text(books.pdf("2026-11"))
    for words in ("Value report 2026-11", "Visits avoided 2 960.00", "One avoided visit 480 EUR"):
        assert words in said
    assert "no visit was ordered" in said
    assert "? stands for" not in said
    alone = value(store, visit=None, downtime_per_hour=None, downtime_h_per_visit=None)
    said = pdf_text(alone.pdf("2030-01"))
    assert "not set: nothing is priced" in said
    assert "Nothing was counted in this month." in said


def test_a_pdf_of_a_busy_month_stays_small(store: Store) -> None:
    books = value(store)
    books.take([entry(f"c{i}", NOVEMBER + i) for i in range(2000)])
    assert len(books.pdf("2026-11")) < 300_000
    assert books.csv("2026-11").count(b"\n") == 2001


def written(store: Store, books: Value) -> list[EntryKind]:
    """Hand on what a desk has left in the outbox, and return all lines in their order."""
    for case in store.cases():
        for row in store.outbox(case.case_id):
            if row.kind == "ledger":
                books.take(msgspec.json.decode(row.payload, type=list[Entry]))
    return [line.kind for case in store.cases() for line in books.case_entries(case.case_id)]


def test_what_a_desk_repairs_is_credited_and_taken_back_when_the_fault_returns(
    tmp_path: Path,
) -> None:
    with parts(tmp_path, prices=PRICES) as made:
        desk, books = desk_of(made), Value(made.store, made.config)
        alarm(desk)
        pass_minutes(desk, 4, healthy=False)
        shown(desk, healthy=False)
        answer(desk, made, AnswerStatus.DONE)
        pass_minutes(desk, 2, healthy=False)
        pass_minutes(desk, 4, healthy=True)
        assert written(made.store, books) == [K.DOWNTIME_AVOIDED, K.VISIT_AVOIDED]
        before = {line.key: line for line in books.case_entries(made.store.cases()[0].case_id)}
        alarm(desk)
        after = written(made.store, books)
        assert sorted(after) == sorted([*[K.REVERSED] * 2, K.DOWNTIME_AVOIDED, K.VISIT_AVOIDED])
        for line in books.case_entries(made.store.cases()[0].case_id):
            if line.reverses:
                original = before[line.reverses]
                assert (line.count, line.amount) == (-original.count, -(original.amount or 0))
        assert sum(books.months()[0].amounts.values()) == 0.0
