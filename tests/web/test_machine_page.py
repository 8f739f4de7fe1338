"""A machine's page in a real browser: charts, registers, cases, and commands by hand."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from cloud.core.people import Role
from contract.commands import AnswerStatus
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_world import WorldDesk

pytestmark = pytest.mark.real

As = Callable[[Role | None], Visit]


def test_it_shows_charts_registers_and_cases(visit: Visit) -> None:
    page = visit.open("/machines/pump-2")
    expect(page.get_by_role("heading", name="Circulation pump 2")).to_be_visible()
    expect(page.locator(".chart canvas")).to_have_count(15)
    expect(page.get_by_text("m³/h").first).to_be_visible()
    page.get_by_text("Register map").click()
    expect(page.get_by_text("input 13, FLOAT32, CDAB")).to_be_visible()
    page.get_by_role("button", name="6 h").click()
    expect(page.get_by_role("button", name="6 h")).to_have_attribute("aria-pressed", "true")
    page.locator(".case-row a").click()
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()


def test_it_tells_until_when_to_book_a_visit(visit: Visit) -> None:
    page = visit.open("/machines/pump-5")
    expect(page.get_by_text("Book a visit before 2026-12-03")).to_be_visible()
    expect(page.get_by_text("2.3 A above its 6 peers")).to_be_visible()
    page = visit.open("/machines/pump-1")
    expect(page.get_by_role("heading", name="Circulation pump 1")).to_be_visible()
    expect(page.get_by_text("Early warning")).to_have_count(0)
    expect(page.get_by_text("Remaining life")).to_have_count(0)


def test_an_engineer_sends_a_command_and_sees_the_answer(visit_as: As, world: WorldDesk) -> None:
    page = visit_as(Role.ENGINEER).open("/machines/pump-1")
    expect(page.get_by_text("Install a firmware release")).to_have_count(0)
    page.get_by_role("button", name="Send: Set the suction valve").click()
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_text("Please give a value within the range.")).to_be_visible()
    page.get_by_label("Value, 20 to 100 %").fill("150")
    page.get_by_role("button", name="Send it now").click()
    sent = set(world.sent)
    page.get_by_label("Value, 20 to 100 %").fill("85")
    expect(page.get_by_text("set_suction_valve 85 % is sent to pump-1 at north.")).to_be_visible()
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_text("Done, and read back as it should")).to_be_visible()
    expect(page.get_by_text("as engineer said")).to_be_visible()
    (new,) = set(world.sent) - sent
    assert world.sent[new].status is AnswerStatus.DONE


def test_commands_are_for_engineers(visit_as: As) -> None:
    page = visit_as(Role.OPERATOR).open("/machines/pump-1")
    expect(page.get_by_role("heading", name="Circulation pump 1")).to_be_visible()
    expect(page.get_by_role("heading", name="Cases", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Commands")).to_be_hidden()
    expect(page.get_by_role("button", name="Send: Set the suction valve")).to_be_hidden()


def test_nothing_is_sent_by_hand_while_a_case_is_open(visit: Visit) -> None:
    page = visit.open("/machines/pump-2")
    expect(page.get_by_text("A case is open: its remedies go first")).to_be_visible()
    button = page.get_by_role("button", name="Send: Restart the pump controller")
    expect(button).to_be_disabled()


def test_a_silent_machine_and_one_without_data_are_shown(visit: Visit) -> None:
    page = visit.open("/machines/rig-1")
    expect(page.get_by_text("Waiting for data")).to_be_visible()
    expect(page.get_by_text("none yet")).to_be_visible()
    page = visit.open("/machines/pump-4")
    expect(page.get_by_text("Silent").first).to_be_visible()


def test_it_fits_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    page = visit.open("/machines/pump-2")
    expect(page.get_by_role("heading", name="Commands")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_wrong_address_is_answered_kindly(visit: Visit) -> None:
    page = visit.open("/machines/pump-9999")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    page.get_by_text("Back to the fleet").click()
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
