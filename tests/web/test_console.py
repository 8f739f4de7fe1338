"""The console in a real browser: what people see, and that nothing in it is foreign or unsafe."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from cloud.core.events import Evidence
from cloud.core.states import Mode, Phase
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_world import HOSTILE, S, WorldDesk

pytestmark = pytest.mark.real


def case_of(world: WorldDesk, device: str) -> str:
    return world.store.cases(device=device)[0].case_id


def test_machine_shows_charts_registers_and_cases(visit: Visit) -> None:
    page = visit.open("/machines/pump-2")
    expect(page.get_by_role("heading", name="Circulation pump 2")).to_be_visible()
    expect(page.locator(".chart canvas")).to_have_count(15, timeout=15_000)
    expect(page.get_by_text("m³/h").first).to_be_visible()
    page.get_by_text("Register map").click()
    expect(page.get_by_text("input 13, FLOAT32, CDAB")).to_be_visible()
    page.get_by_role("button", name="6 h").click()
    page.locator(".case-row a").click()
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()


def test_case_tells_the_story_and_hostile_text_stays_text(visit: Visit, world: WorldDesk) -> None:
    page = visit.open(f"/cases/{case_of(world, 'pump-2')}")
    expect(page.get_by_text("Fault detected: Cavitation")).to_be_visible()
    expect(page.get_by_text("Evidence of recovery")).to_be_visible()
    expect(page.get_by_text("82 %")).to_be_visible()
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    expect(page.locator(".case-chart canvas")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


def test_quarantine_shows_hostile_payloads_as_text(visit: Visit) -> None:
    page = visit.open("/quarantine")
    expect(page.locator(".payload", has_text=HOSTILE)).to_have_count(3)


def test_a_person_approves_by_two_clicks(visit: Visit, world: WorldDesk) -> None:
    case_id = case_of(world, "pump-3")
    page = visit.open(f"/cases/{case_id}")
    page.get_by_role("button", name="Approve").click()
    confirm = page.get_by_role("button", name="Yes, approve")
    confirm.click()
    expect(page.get_by_text("Please give your name")).to_be_visible()
    assert world.case(case_id).phase is Phase.AWAITING_APPROVAL
    page.get_by_label("Your name").fill("J. Doe <b>lead</b>")
    confirm.click()
    expect(page.get_by_text("Applying a remedy")).to_be_visible(timeout=5000)
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.get_by_text("J. Doe <b>lead</b>").first).to_be_visible()
    assert world.case(case_id).phase is Phase.FIXING


def test_a_decision_that_comes_too_late_is_told(visit: Visit, world: WorldDesk) -> None:
    case_id = world.open("compressor-2", "oil_overheating", world.now_ns(), Mode.SUGGEST)
    page = visit.open(f"/cases/{case_id}")
    page.get_by_role("button", name="Wrong alarm").click()
    for i in range(40):
        at_ns = world.now_ns() + i * 10 * S
        world.move(case_id, Evidence(at_ns, healthy=True), at_ns)
    assert world.case(case_id).phase is Phase.SELF_CLEARED
    page.get_by_label("Your name").fill("J. Doe")
    page.get_by_label("Reason").fill("looks fine")
    page.get_by_role("button", name="Yes, wrong alarm").click()
    expect(page.get_by_text("Not done: there is nothing to decide")).to_be_visible()


def test_the_closing_report_ends_the_case(visit: Visit, world: WorldDesk) -> None:
    case_id = case_of(world, "compressor-1")
    page = visit.open("/tickets")
    expect(page.get_by_text("Nothing remote can cure this")).to_be_visible()
    page.get_by_role("button", name="Write the closing report").click()
    page.get_by_label("Parts replaced").click()
    page.get_by_role("option", name="Intake filter").click()
    page.keyboard.press("Escape")
    page.get_by_label("What was done").fill("New element.")
    page.get_by_label("Technician").fill("J. Doe")
    page.get_by_role("button", name="Close the case").click()
    expect(page.get_by_text("Closed by report")).to_be_visible(timeout=8000)
    assert world.case(case_id).phase is Phase.CLOSED
    (label,) = [label for label in world.store.memory.labels() if label.case == case_id]
    assert label.fault == "clogged_intake_filter"
    assert [part.name for part in label.parts_used] == ["Intake filter element, 37 kW"]


def test_a_machine_tells_until_when_to_book_a_visit(visit: Visit) -> None:
    page = visit.open("/machines/pump-5")
    expect(page.get_by_text("Book a visit before 2026-12-03")).to_be_visible()
    expect(page.get_by_text("2.3 A above its 6 peers")).to_be_visible()
    page = visit.open("/machines/pump-1")
    expect(page.get_by_role("heading", name="Circulation pump 1")).to_be_visible()
    expect(page.get_by_text("Early warning")).to_have_count(0)
    expect(page.get_by_text("Remaining life")).to_have_count(0)


@pytest.mark.parametrize("path", ["/machines/pump-9", "/cases/none"])
def test_wrong_addresses_are_answered_kindly(visit: Visit, path: str) -> None:
    page = visit.open(path)
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    page.get_by_text("Back to the fleet").click()
    expect(page.locator(".machine").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(
    browser: Browser, address: str, world: WorldDesk, tmp_path: Path, scheme: str
) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=scheme)  # type: ignore[arg-type]
    visit = Visit(context.new_page(), address)
    case = f"/cases/{case_of(world, 'pump-2')}"
    for name, path in {
        "fleet": "/",
        "machine": "/machines/pump-2",
        "case": case,
        "tickets": "/tickets",
        "quarantine": "/quarantine",
    }.items():
        page = visit.open(path)
        page.wait_for_load_state("networkidle")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], f"{path} is {wide} px wide"
        page.screenshot(path=str(tmp_path / f"{name}-{scheme}.png"), full_page=True)
        assert (tmp_path / f"{name}-{scheme}.png").stat().st_size > 5000
    visit.check()
    context.close()
