"""The console in a real browser: what holds for its pages together."""

import pytest
from playwright.sync_api import expect

from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_world import HOSTILE

pytestmark = pytest.mark.real


def test_quarantine_shows_hostile_payloads_as_text(visit: Visit) -> None:
    page = visit.open("/quarantine")
    expect(page.locator(".payload", has_text=HOSTILE)).to_have_count(3)


@pytest.mark.parametrize("path", ["/machines/pump-9", "/cases/none", "/tickets/none"])
def test_wrong_addresses_are_answered_kindly(visit: Visit, path: str) -> None:
    page = visit.open(path)
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    page.get_by_text("Back to the fleet").click()
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/quarantine", "/audit"])
def test_pages_fit_a_phone(visit: Visit, path: str, scheme: str) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of two
    page = visit.open(path)
    expect(page.get_by_role("heading").first).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"], f"{path} is {wide} px wide"
