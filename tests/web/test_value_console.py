"""The console's page about value, in a real browser."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from cloud.core.ledger import EntryKind
from cloud.core.people import Role
from cloud.web.faces import Faces
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_world import WorldDesk
from tests.web.test_axe import wrongs
from tests.web.test_value import NOVEMBER, line, taken

pytestmark = pytest.mark.real
OCTOBER = int(datetime(2026, 10, 5, tzinfo=UTC).timestamp()) * 10**9
K = EntryKind


@pytest.fixture
def case_id(gateway_faces: Faces, world: WorldDesk) -> str:
    """Lines of two months, some of them about a real case."""
    found = world.store.cases(device="pump-2")[-1].case_id
    earlier = line("c-october", at_ns=OCTOBER)
    back = line(
        "c-october", K.REVERSED, count=-1.0, amount=-480.0, reverses=earlier.key,
        key=f"{earlier.key}/reversed", text="The fault returned.",
    )  # fmt: skip
    hours = {"count": 29.6, "amount": 5920.0, "at_ns": NOVEMBER + 2}
    cleared = line("c-self", K.SELF_CLEARED, amount=0.0, assumptions={})
    taken(
        gateway_faces, earlier, back, line(found, at_ns=NOVEMBER + 1), line("c-2"), line("c-3"),
        line(found, K.DOWNTIME_AVOIDED, **hours), line("c-4", K.FIRST_TIME_FIX, amount=None),
        cleared,
    )  # fmt: skip
    return found


def test_the_latest_month_is_summed_with_lines_that_lead_to_their_cases(
    visit: Visit, case_id: str
) -> None:
    page = visit.open("/value")
    tiles = page.locator(".tile")
    expect(tiles.filter(has_text="Visits avoided")).to_contain_text("2")
    expect(tiles.filter(has_text="Hours of downtime avoided")).to_contain_text("29.6")
    expect(tiles.filter(has_text="Lines taken back")).to_contain_text("1")
    expect(tiles.filter(has_text="EUR, as assumed")).to_contain_text("6,880")
    expect(page.get_by_text("<script>").first).to_be_visible()
    first = page.locator("table.grid tr").nth(1)
    expect(first).to_contain_text("29.6 h")
    expect(first).to_contain_text("Counted with visit 480")
    plot = page.locator("[role=img]")
    expect(plot).to_have_attribute(
        "aria-label",
        "2026-10: Visits avoided 1, First-time fixes 0; "
        "2026-11: Visits avoided 2, First-time fixes 1",
    )
    expect(page.get_by_text("not set: nothing is priced")).to_have_count(3)
    expect(page.get_by_text("docs/value.md")).to_be_visible()
    first.get_by_role("link").click()
    expect(page).to_have_url(f"{visit.address}/cases/{case_id}")


def test_another_month_is_chosen_with_the_keyboard(visit: Visit, case_id: str) -> None:
    assert case_id
    page = visit.open("/value")
    page.get_by_label("Month").focus()
    page.keyboard.press("Enter")
    page.get_by_role("option", name="2026-10").click()
    expect(page).to_have_url(f"{visit.address}/value?month=2026-10")
    expect(page.locator("table.grid tr")).to_have_count(2)
    expect(page.get_by_text("c-october")).to_be_visible()


@pytest.mark.parametrize("kind", ["csv", "pdf"])
def test_a_viewer_takes_the_month_away_as_a_file(
    visit_as: Callable[[Role | None], Visit], case_id: str, kind: str
) -> None:
    assert case_id
    page = visit_as(Role.VIEWER).open("/value?month=2026-11")
    with page.expect_download() as found:
        page.get_by_role("link", name=kind.upper(), exact=True).click()
    assert found.value.suggested_filename == f"farfix-value-2026-11.{kind}"
    content = found.value.path().read_bytes()
    assert case_id.encode() in content if kind == "csv" else content.startswith(b"%PDF-")


def test_a_month_without_lines_and_one_that_is_none_say_so(visit: Visit) -> None:
    page = visit.open("/value?month=2031-01")
    expect(page.get_by_text("Nothing was counted in this month.")).to_be_visible()
    page = visit.open("/value?month=never%3Cscript%3E")
    expect(page.get_by_role("heading", name="Not a month")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_keeps_nobody_out(visit: Visit, case_id: str, scheme: str) -> None:
    assert case_id
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of two
    page = visit.open("/value")
    expect(page.get_by_role("heading", name="How it is counted")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert wrongs(page) == []


def test_it_is_told_in_chinese(visit_as: Callable[[Role | None], Visit], case_id: str) -> None:
    assert case_id
    visit = visit_as(Role.ENGINEER)  # who has not chosen a language
    cookie = {"name": "farfix_language", "value": "zh", "url": visit.address}
    visit.page.context.add_cookies([cookie])  # type: ignore[list-item]  # as documented
    page = visit.open("/value")
    expect(page.get_by_role("heading", name="计算方法")).to_be_visible()
    expect(page.get_by_text("避免停机").first).to_be_visible()
