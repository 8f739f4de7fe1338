"""Playbooks: what is in force, and what each remedy has shown."""

import pytest
from playwright.sync_api import expect

from cloud.core.states import Mode
from cloud.web.playbook_views import PlaybookViews, Record
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_world import WorldDesk, _ended


def line(desk: WorldDesk, machine_type: str, fault: str) -> Record:
    (book,) = [b for b in PlaybookViews(desk).books() if b.machine_type == machine_type]
    (found,) = [f for f in book.faults if f.code == fault]
    return found.remedies[0].record


def test_remedies_that_were_proven_are_counted(desk: WorldDesk) -> None:
    desk.add_machine("pump-5", "centrifugal_pump", "", "south")
    assert line(desk, "chiller", "setpoint_drift") == Record()
    _ended(desk)
    assert line(desk, "chiller", "setpoint_drift") == Record(tried=1, verified=1)


def test_faults_without_a_remedy_are_listed_for_a_visit(desk: WorldDesk) -> None:
    for book in PlaybookViews(desk).books():
        machine = desk.machines[book.machine_type]
        assert {f.code for f in book.faults} >= {spec.code for spec in machine.faults}
        assert [bool(f.remedies) for f in book.faults] == sorted(
            (bool(f.remedies) for f in book.faults), reverse=True
        )
        assert book.mode is Mode.SUGGEST, "shipped playbooks propose, people decide"


@pytest.mark.real
def test_the_page_shows_what_is_in_force(visit: Visit) -> None:
    page = visit.open("/playbooks")
    expect(page.get_by_role("heading", name="Playbooks")).to_be_visible()
    expect(page.get_by_text("1. Open the suction valve fully")).to_be_visible()
    expect(page.get_by_text("tried 1, proven 1").first).to_be_visible()
    expect(page.get_by_role("cell", name="0.5 h")).to_be_visible()
    expect(page.get_by_text("Proof of recovery: healthy for")).to_be_visible()


@pytest.mark.real
def test_it_fits_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    page = visit.open("/playbooks")
    expect(page.get_by_text("1. Open the suction valve fully")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
