"""Tickets in a real browser: one click to the evidence, one page to print, one report to close."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from cloud.core.events import Evidence
from cloud.core.states import Mode, Phase
from cloud.web.console.tickets import Pick
from cloud.web.views import Views
from contract.tickets import TicketState
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_world import DAY, S, WorldDesk

pytestmark = pytest.mark.real


def case_of(world: WorldDesk, device: str) -> str:
    return world.store.cases(device=device)[0].case_id


def dispatched(world: WorldDesk, device: str) -> str:
    """A fresh case whose fault needs a visit, on a machine of its own site."""
    world.add_machine(device, "air_compressor", f"Compressor {device}", "ticket tests")
    began_ns = world.now_ns() - 1200 * S
    case_id = world.open(device, "clogged_intake_filter", began_ns, Mode.AUTO)
    world.observed(case_id)
    assert world.case(case_id).phase is Phase.DISPATCHED
    return case_id


def test_from_a_ticket_to_its_evidence_is_one_click(visit: Visit, world: WorldDesk) -> None:
    dispatched(world, "compressor-t1")
    page = visit.open("/tickets?site=ticket+tests")
    row = page.locator(".ticket-row", has_text="Compressor compressor-t1")
    expect(row.get_by_text("Nothing remote can cure this")).to_be_visible()
    row.get_by_role("link", name="Evidence of").click()
    head = page.get_by_role("heading", name="Leading signals around the fault")
    expect(head).to_be_in_viewport()
    expect(head).to_be_focused()
    page.wait_for_function("e => e.getBoundingClientRect().y < 300", arg=head.element_handle())


def test_filters_stay_in_the_address(visit: Visit, world: WorldDesk) -> None:
    dispatched(world, "compressor-t2")
    page = visit.open("/tickets")
    page.get_by_label("Site").click()
    page.get_by_role("option", name="ticket tests").click()
    expect(page).to_have_url(re.compile("site=ticket"))
    rows = page.locator(".ticket-row")
    expect(rows.first).to_be_visible()
    expect(rows.filter(has_not_text="ticket tests")).to_have_count(0)
    page.get_by_role("button", name="Withdrawn").click()
    expect(page.get_by_text("No ticket fits")).to_be_visible()
    page.reload()
    expect(page.get_by_text("No ticket fits")).to_be_visible()
    expect(page.get_by_role("button", name="Withdrawn")).to_have_attribute("aria-pressed", "true")


def test_the_most_urgent_comes_first(world: WorldDesk) -> None:
    later, sooner = dispatched(world, "compressor-t3"), dispatched(world, "compressor-t4")
    found = {one.key: one for one in Views(world).tickets()}
    assert found[later].due_ns <= found[sooner].due_ns
    assert all(found[key].state is TicketState.OPEN for key in (later, sooner))
    assert Pick(state="open", site="ticket tests").fits(found[later])
    assert not Pick(state="late").fits(found[later])
    assert not Pick(state="all", site="north").fits(found[later])


def test_a_ticket_is_late_after_its_time(world: WorldDesk) -> None:
    world.add_machine("compressor-t5", "air_compressor", "Old", "late tests")
    began_ns = world.now_ns() - 30 * DAY
    world.observed(world.open("compressor-t5", "clogged_intake_filter", began_ns, Mode.AUTO))
    (found,) = [one for one in Views(world).tickets() if one.device == "compressor-t5"]
    assert found.late
    assert Pick(state="late").fits(found)


def test_a_ticket_is_withdrawn_when_the_machine_is_well_again(
    visit: Visit, world: WorldDesk
) -> None:
    case_id = dispatched(world, "compressor-t6")
    page = visit.open(f"/tickets/{case_id}")
    expect(page.get_by_text("Open", exact=True)).to_be_visible()
    now_ns = world.now_ns()
    for i in range(130):
        at_ns = now_ns + i * 20 * S
        world.move(case_id, Evidence(at_ns, healthy=True, score=0.3), at_ns)
    assert world.case(case_id).phase is Phase.WITHDRAWN
    expect(page.get_by_text("Withdrawn", exact=True)).to_be_visible()
    expect(page.get_by_text("Called off: healthy again")).to_be_visible()
    expect(page.get_by_role("button", name="Write the closing report")).to_have_count(0)


def test_a_work_order_prints_on_one_page(visit: Visit, world: WorldDesk, tmp_path: Path) -> None:
    page = visit.open(f"/tickets/{case_of(world, 'compressor-1')}")
    for text in ("Safety first", "What to bring", "Likely causes, and what to do", "Hall 3, row B"):
        expect(page.get_by_text(text, exact=True)).to_be_visible()
    page.emulate_media(media="print")
    assert page.locator(".sheet").evaluate("e => e.clientWidth") > 900, "not the whole page"
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    expect(page.get_by_role("navigation").first).to_be_hidden()
    printed = tmp_path / "ticket.pdf"
    page.pdf(path=str(printed), prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed.read_bytes())) == 1


def test_the_closing_report_ends_the_case(visit: Visit, world: WorldDesk) -> None:
    case_id = dispatched(world, "compressor-t7")
    page = visit.open(f"/tickets/{case_id}")
    page.get_by_role("button", name="Write the closing report").click()
    page.get_by_label("Parts replaced").click()
    page.get_by_role("option", name="Intake filter").click()
    page.keyboard.press("Escape")
    page.get_by_role("checkbox", name="Replace the filter element").click()
    page.get_by_label("What was done").fill("New element.")
    page.get_by_role("button", name="Close the case").click()
    expect(page.get_by_text("Closed", exact=True)).to_be_visible()
    expect(page.get_by_text("New element.")).to_be_visible()
    report = world.case(case_id).report
    assert report is not None
    assert report.technician == "admin", "nobody types a name"
    assert report.checklist[0].answer == "yes"
    (label,) = [label for label in world.store.memory.labels() if label.case == case_id]
    assert label.fault == "clogged_intake_filter"
    assert [part.name for part in label.parts_used] == ["Intake filter element, 37 kW"]


@pytest.mark.parametrize("path", ["/tickets", "/tickets/"])
def test_tickets_fit_a_phone(visit: Visit, world: WorldDesk, path: str) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    address = path if path == "/tickets" else path + case_of(world, "compressor-1")
    page = visit.open(address)
    expect(page.get_by_text("Nothing remote can cure this").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_wrong_key_is_answered_kindly(visit: Visit) -> None:
    page = visit.open("/tickets/none")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
