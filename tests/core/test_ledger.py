"""The rule of ``docs/value.md``: every bold sentence there is a test of the same words here."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from cloud.core import case as life
from cloud.core import ledger
from cloud.core.events import Dismissed, EscalationAsked, ReportReceived
from cloud.core.ledger import Entry, EntryKind, Prices
from cloud.core.states import Case, Phase, Proof
from contract.commands import AnswerStatus
from contract.faults import Severity
from contract.tickets import ClosingReport
from tests.core.scenes import HOUR_S, Scene, diagnosed, fixing, ns, planned, verifying

RULE = Path(__file__).resolve().parents[2] / "docs" / "value.md"
PRICES = Prices(visit=480.0, downtime_per_hour=200.0, downtime_h_per_visit=30.0)
IN_DOLLARS = Prices(visit=1.0, currency="USD")
K = EntryKind


class Books:
    """The lines of one case, kept like the ledger keeps them."""

    def __init__(self) -> None:
        self.lines: list[Entry] = []

    def take(self, before: Case | None, after: Case, prices: Prices = PRICES) -> list[Entry]:
        made = ledger.entries(before, after, "A", prices)
        self.lines += made
        return made

    def kinds(self) -> list[EntryKind]:
        return [line.kind for line in self.lines]

    def sums(self) -> tuple[dict[str, float], dict[str, float]]:
        return ledger.totals(self.lines, "EUR")


def ended(scene: Scene, prices: Prices = PRICES, **changes: object) -> Books:
    """Return what the end of a scene's case is worth."""
    assert not scene.case.open
    after = structs.replace(scene.case, **changes)
    books = Books()
    books.take(structs.replace(after, phase=Phase.VERIFYING), after, prices)
    return books


def cured() -> Scene:
    scene = verifying("prime")
    scene.sick(125)
    scene.healthy(200, 500)
    assert (scene.phase(), scene.case.credited) == (Phase.RECOVERED, True)
    return scene


def recovered_unproven() -> Scene:
    scene = fixing("prime")
    scene.answer(130, AnswerStatus.FAILED, "no answer from the drive")
    scene.healthy(200, 500)
    assert (scene.phase(), scene.case.credited) == (Phase.RECOVERED, False)
    return scene


def visited(report: ClosingReport, **changes: object) -> Books:
    scene = Scene(plan=planned())
    scene.feed(EscalationAsked("Ada"), 100)
    scene.feed(ReportReceived(report), 5 * HOUR_S)
    assert scene.phase() is Phase.CLOSED
    return ended(scene, PRICES, **changes)


def returned(scene: Scene) -> Case:
    """Return the case after its fault came back."""
    at_ns = (scene.case.ended_ns or 0) + ns(HOUR_S) - ns(0)
    return life.reopen(scene.case, diagnosed(), planned("restart"), at_ns)[0]


REPAIRED = ClosingReport(finding="bearing_wear")


def life_escalation() -> object:
    scene = Scene(plan=planned())
    scene.feed(EscalationAsked("Ada"), 100)
    return scene.case.escalation


def self_cleared() -> Scene:
    scene = Scene("prime")
    scene.healthy(10, 300)
    assert scene.phase() is Phase.SELF_CLEARED
    return scene


def wrong_alarm() -> Scene:
    scene = Scene("prime")
    scene.feed(Dismissed("Ada"), 10)
    return scene


def no_credit(books: Books, kind: EntryKind) -> bool:
    return (
        books.kinds() == [kind]
        and not ledger.credit(books.lines[0])
        and not any(books.sums()[1].values())
    )


def after_return(scene: Scene) -> list[EntryKind]:
    """Return what a return took back; all of it, so that nothing is left."""
    books = ended(scene)
    for line in books.take(scene.case, returned(scene)):
        assert line.reverses in {known.key for known in books.lines}
    counts, amounts = books.sums()
    taken = [ledger.kind_of(line) for line in books.lines if line.kind is K.REVERSED]
    assert all(counts[kind.value] == amounts[kind.value] == 0 for kind in taken)
    return taken


def once_only() -> bool:
    scene = cured()
    books, back = ended(scene), returned(scene)
    taken = books.take(scene.case, back)
    again = structs.replace(back, changes=back.changes + 1)
    return (
        taken != []
        and books.take(back, again) == []
        and ledger.entries(scene.case, back, "A", PRICES) == taken
    )


def next_life() -> bool:
    scene = cured()
    books, back = ended(scene), returned(scene)
    books.take(scene.case, back)
    well = structs.replace(
        back,
        phase=Phase.RECOVERED,
        credited=True,
        attempts=scene.case.attempts,
        ended_ns=back.opened_ns,
    )
    books.take(back, well)
    return books.sums()[0]["visit_avoided"] == 1 and len({e.key for e in books.lines}) == 6


SENTENCES: dict[str, Callable[[], bool]] = {
    "A visit is avoided if the case ended recovered, by a remedy that is credited, and no visit "
    "was ordered in this life of the case.": lambda: (
        ended(cured()).kinds() == [K.VISIT_AVOIDED, K.DOWNTIME_AVOIDED]
        and ended(cured(), escalation=life_escalation()).kinds() == [K.UNCREDITED]
    ),
    "A machine that recovered after a remedy, without proof that the remedy did it, is no credit.":
        lambda: no_credit(ended(recovered_unproven()), K.UNCREDITED),
    "A fault that cleared by itself is written down without credit.":
        lambda: no_credit(ended(self_cleared()), K.SELF_CLEARED),
    "A visit that was called off because the machine recovered by itself is written down without "
    "credit.": lambda: no_credit(
        ended(cured(), phase=Phase.WITHDRAWN, credited=False), K.VISIT_WITHDRAWN
    ),
    "A visit that was called off because a credited remedy worked before anyone left counts as a "
    "visit.": lambda: (
        ended(cured(), phase=Phase.WITHDRAWN).sums()
        == ({"visit_withdrawn": 1.0}, {"visit_withdrawn": 480.0})
    ),
    "A wrong alarm is worth nothing.": lambda: ended(wrong_alarm()).lines == [],
    "Downtime is avoided only together with an avoided visit.": lambda: all(
        K.DOWNTIME_AVOIDED not in books.kinds()
        for books in (
            ended(recovered_unproven()),
            ended(self_cleared()),
            ended(cured(), phase=Phase.WITHDRAWN),
            visited(REPAIRED),
        )
    ),
    "It is the hours that a visit is assumed to take, less the hours that the case took; it is "
    "never negative.": lambda: (
        ended(cured(), ended_ns=ns(6 * HOUR_S)).sums()[0]["downtime_avoided"] == 24.0
        and ended(cured(), ended_ns=ns(31 * HOUR_S)).kinds() == [K.VISIT_AVOIDED]
    ),
    "It is counted only if the operator has set how long a visit is assumed to take.": lambda: (
        ended(cured(), Prices(downtime_per_hour=200.0)).kinds() == [K.VISIT_AVOIDED]
    ),
    "It is counted only for faults of severity high or critical: with a lesser fault the machine "
    "is taken to run on.": lambda: [
        K.DOWNTIME_AVOIDED in ended(cured(), severity=severity).kinds() for severity in Severity
    ]
    == [False, False, True, True],
    "The first visit of a case that repaired the machine is a first-time fix.":
        lambda: visited(REPAIRED).kinds() == [K.FIRST_TIME_FIX],
    "A visit that found no fault is not a first-time fix.":
        lambda: visited(ClosingReport(finding="no_fault_found")).lines == [],
    "A visit that did not repair the machine is not a first-time fix.":
        lambda: visited(ClosingReport(finding="bearing_wear", resolved=False)).lines == [],
    "A second visit is not a first-time fix.": lambda: visited(REPAIRED, tickets=2).lines == [],
    "A case that comes back takes back every credit of its life before, exactly as it was "
    "written.": lambda: after_return(cured()) == [K.VISIT_AVOIDED, K.DOWNTIME_AVOIDED],
    "Lines without credit are not taken back.": lambda: after_return(recovered_unproven()) == [],
    "What was taken back is taken back once.": once_only,
    "The next life may earn again.": next_life,
    "Nothing has a price unless the operator has set one.": lambda: (
        ended(cured(), Prices()).sums() == ({"visit_avoided": 1.0}, {})
    ),
    "Lines in another currency than the one that is set now are not added to its sums.": lambda: (
        ledger.totals([*ended(cured()).lines, *ended(cured(), IN_DOLLARS).lines], "USD")[1]
        == {"visit_avoided": 1.0}
    ),
    "The prices and assumptions that a line was counted with stand in the line.": lambda: [
        line.assumptions for line in ended(cured()).lines
    ]
    == [{"visit": 480.0}, {"downtime_h_per_visit": 30.0, "downtime_per_hour": 200.0}],
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_rule(sentence: str) -> None:
    assert SENTENCES[sentence]()


def test_every_sentence_of_the_published_rule_is_a_test() -> None:
    bold = re.findall(r"(?:^- |^)\*\*(.+?)\*\*", RULE.read_text(), re.MULTILINE | re.DOTALL)
    published = {" ".join(text.split()) for text in bold}
    assert published == set(SENTENCES)


# Any life.

STEPS = ("sick", "healthy", "tick", "done", "failed", "cure", "visit", "dismiss", "close", "return")


@settings(deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=60),
    prices=st.builds(
        Prices,
        visit=st.one_of(st.none(), st.floats(0, 1000)),
        downtime_per_hour=st.one_of(st.none(), st.floats(0, 1000)),
        downtime_h_per_visit=st.one_of(st.none(), st.floats(0, 100)),
    ),
)
def test_no_life_earns_more_than_the_rule_allows(steps: list[str], prices: Prices) -> None:
    scene, books, at_s = Scene("prime", "restart"), Books(), 0.0
    for name in steps:
        at_s += 130
        before = scene.case
        if name == "return" and not before.open and before.phase in (Phase.RECOVERED, Phase.CLOSED):
            back = diagnosed(), planned("restart"), ns(at_s)
            scene.case = life.reopen(before, *back)[0]
        else:
            _do(scene, name, at_s)
        books.take(before, scene.case, prices)
        at_s += 600 if name in ("healthy", "cure") else 0
        _lawful(books, scene.case, prices)


def _do(scene: Scene, name: str, at_s: float) -> None:
    match name:
        case "sick":
            scene.sick(at_s)
        case "healthy":
            scene.healthy(at_s, at_s + 400)
        case "cure":
            for part in ("sick", "tick", "sick", "done"):
                _do(scene, part, at_s)
                at_s += 20
            scene.healthy(at_s + 100, at_s + 400)
        case "done" | "failed" if scene.case.attempts:
            scene.answer(at_s, AnswerStatus(name))
        case "visit":
            scene.feed(EscalationAsked("Ada"), at_s)
        case "dismiss":
            scene.feed(Dismissed("Ada"), at_s)
        case "close":
            scene.feed(ReportReceived(REPAIRED), at_s)
        case _:
            scene.tick(at_s)


def _lawful(books: Books, case: Case, prices: Prices) -> None:
    keys = [line.key for line in books.lines]
    assert len(set(keys)) == len(keys), "every line once"
    taken = [line.reverses for line in books.lines if line.reverses]
    assert len(set(taken)) == len(taken), "nothing is taken back twice"
    for i, line in enumerate(books.lines):
        if line.reverses:
            assert line.reverses in keys[:i], "what is taken back was there before"
    counts, amounts = books.sums()
    standing = not case.open and case.phase in (Phase.RECOVERED, Phase.WITHDRAWN, Phase.CLOSED)
    for kind in (K.VISIT_AVOIDED, K.FIRST_TIME_FIX, K.VISIT_WITHDRAWN):
        assert 0 <= counts.get(kind, 0) <= standing, "one credit, and only while it stands"
    assert 0 <= counts.get(K.DOWNTIME_AVOIDED, 0) <= (prices.downtime_h_per_visit or 0) * standing
    most = (prices.visit or 0) + (prices.downtime_h_per_visit or 0) * (
        prices.downtime_per_hour or 0
    )
    assert -1e-6 <= sum(amounts.values()) <= most + 1e-6
    assert case.attempts == [] or case.attempts[-1].proof in Proof


def test_a_reversal_takes_back_what_was_written_whatever_prices_are_now() -> None:
    scene = cured()
    original = ended(scene).lines[0]
    later = ledger.entries(scene.case, returned(scene), "A", Prices(visit=900.0, currency="USD"))
    taken = ledger.taken_back(later[0], original)
    assert (taken.amount, taken.currency, taken.count) == (-480.0, "EUR", -1.0)
    assert taken.text == "The fault returned, so 'visit avoided' is taken back."
