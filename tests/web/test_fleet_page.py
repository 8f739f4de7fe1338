"""The fleet page in a real browser: what is urgent, found, followed, bookmarked and typed."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from cloud.core.people import Role
from cloud.web.ports import Live
from models.monitor import State
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_world import HOSTILE, WorldDesk

pytestmark = pytest.mark.real


def names(page: Page) -> list[str]:
    return page.locator(".machine-name").all_inner_texts()


def test_machines_are_shown_urgent_first(visit: Visit) -> None:
    page = visit.open("/")
    expect(page.locator(".machine")).to_have_count(12)
    expect(page.get_by_text("Simulated time: 10x")).to_be_visible()
    shown = names(page)
    assert shown.index("Compressor, workshop") < shown.index("Transfer pump")
    assert shown.index("Transfer pump") < shown.index("Circulation pump 1")
    expect(page.get_by_text("Learning healthy running: 62 %")).to_be_visible()
    expect(page.locator(".spark path[d^=M]").first).to_be_attached()


def test_what_machines_are_called_stays_text(visit: Visit) -> None:
    page = visit.open("/")
    expect(page.locator(".machine-name", has_text=HOSTILE)).to_be_visible()
    page = visit.open("/?view=table&q=%3Cscript%3Ewindow.hacked=1%3C/script%3E")
    expect(page.locator(".machine-link", has_text=HOSTILE)).to_be_visible()


def test_filters_and_search_find_machines_or_say_that_none_fits(visit: Visit) -> None:
    page = visit.open("/")
    page.get_by_role("button", name="Healthy").click()
    expect(page.locator(".pill", has_text="Healthy").first).to_be_visible()
    expect(page.locator(".machine", has_text="Feed pump east")).to_have_count(0)
    search = page.get_by_role("searchbox")
    search.fill("no such machine")
    expect(page.get_by_text("No machine matches")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.locator(".machine")).to_have_count(12)
    expect(search).to_be_focused()
    search.fill("Chiller cold")
    expect(page.locator(".machine")).to_have_count(1)
    search.fill("intake filter")  # a fault finds its machine
    expect(page.locator(".machine-name")).to_have_text(["Compressor, workshop"])
    search.fill("")
    page.get_by_label("All sites").select_option("lab")
    expect(page.get_by_text("1 of 12 machines")).to_be_visible()
    expect(page.locator(".machine-name")).to_have_text(["Test rig"])


def test_what_is_asked_for_stands_in_the_address(visit: Visit) -> None:
    page = visit.open("/")
    page.get_by_role("button", name="Needs people").click()
    page.get_by_label("All sites").select_option("north")
    page.get_by_role("searchbox").fill("compressor")
    expect(page.locator(".machine")).to_have_count(1)
    asked = "/?q=compressor&show=people&site=north"
    expect(page).to_have_url(visit.address + asked)
    page = visit.open(asked)
    expect(page.locator(".machine-name")).to_have_text(["Compressor, workshop"])
    expect(page.get_by_role("button", name="Needs people")).to_have_attribute(
        "aria-pressed", "true"
    )


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit.open("/")
    expect(page.locator(".machine")).to_have_count(12)
    page.keyboard.press("/")
    page.keyboard.type("pump")
    expect(page.locator(".machine")).to_have_count(7)
    shown = names(page)
    page.locator(".machine-name").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == shown[1]
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == shown[4], "three to a row"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=shown[0])).to_be_visible()


def test_rows_tell_the_same_as_cards(visit: Visit) -> None:
    page = visit.open("/")
    page.get_by_role("button", name="Table").click()
    row = page.locator(".machine-row", has_text="Compressor, workshop")
    expect(row).to_contain_text("On-site visit")
    row.get_by_role("link", name="Intake filter clogged").click()
    expect(page).to_have_url(re.compile("/cases/compressor-1"))


def test_a_card_follows_without_being_rebuilt(visit: Visit, world: WorldDesk) -> None:
    page = visit.open("/")
    card = page.locator(".machine", has_text="Circulation pump 1")
    expect(card.get_by_text("Healthy")).to_be_visible()
    card.evaluate("element => { element.kept = true }")
    before = world.lives["pump-1"]
    world.lives["pump-1"] = Live(
        device="pump-1", online=True, state=State.ALARM, score=3.21, progress=1.0, mode="run"
    )
    try:
        expect(card.get_by_text("Deviation 3.21")).to_be_visible()
        expect(card.get_by_text("Deviating")).to_be_visible()
        assert card.evaluate("element => element.kept"), "the card was rebuilt: it flickers"
    finally:
        world.lives["pump-1"] = before


def test_the_frame_leads_everywhere_and_shows_admins_more(
    visit_as: Callable[[Role | None], Visit],
) -> None:
    page = visit_as(Role.VIEWER).open("/")
    places = page.get_by_role("navigation").get_by_role("link")
    expect(places.filter(has_text="Tickets")).to_be_visible()
    expect(page.get_by_role("link", name="Webhooks")).to_have_count(0)
    expect(page.get_by_text("Viewer", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page = visit_as(Role.ADMIN).open("/")
    expect(page.get_by_role("link", name="Webhooks")).to_be_visible()


def test_the_language_changes_and_stays(visit_as: Callable[[Role | None], Visit]) -> None:
    page = visit_as(Role.VIEWER).open("/?site=lab")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="设备总览")).to_be_attached()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator(".machine", has_text="水循环试验台")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/\?site=lab$"))
    expect(page.locator("#popup")).to_contain_text("连接丢失")  # shown when the link breaks
    page.get_by_role("link", name="隔离区").click()
    expect(page.get_by_role("heading", name="隔离区")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Quarantine")).to_be_visible()


def test_on_a_phone_the_menu_opens_and_closes(visit: Visit) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    page = visit.open("/")
    tickets = page.get_by_role("link", name="Tickets")
    expect(tickets).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(tickets).to_be_visible()
    page.keyboard.press("Escape")
    expect(tickets).to_be_hidden()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]
