"""Every page of the console, looked at by axe: nothing in it keeps anybody out."""

from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from cloud.core.people import Role
from tests.web.fixture_browser import BAD, DESKTOP, LOOKS, PHONE, Visit
from tests.web.fixture_world import WorldDesk

pytestmark = pytest.mark.real

PAGES = (
    "/", "/?view=table", "/tickets", "/tickets/TICKET", "/cases/DONE", "/cases/TICKET",
    "/cases/ASKS", "/machines/pump-2", "/machines/pump-5", "/playbooks", "/rollouts",
    "/rollouts/3", "/rollouts/2", "/rollouts/new", "/releases", "/value", "/quarantine", "/audit",
    "/webhooks", "/customers", "/people",
)  # fmt: skip
Scheme = Literal["light", "dark"]
COLORS: dict[str, object] = {"runOnly": ["color-contrast"]}
"""All that another scheme can change."""
SCREENS: tuple[tuple[dict[str, int], Scheme, dict[str, object]], ...] = (
    (DESKTOP, "light", {}), (DESKTOP, "dark", COLORS), (PHONE, "light", {}),
)  # fmt: skip
SETTLED_MS = 900
"""After this long lists are filled and charts drawn."""
DONE = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
  .then(() => document.getAnimations().forEach(a => { try { a.finish() } catch {} }))"""
"""A page takes on another size or other colours at once; what turns for ever goes on."""


def wrongs(page: Page, options: dict[str, object] | None = None) -> list[str]:
    """What axe finds serious or critical, with the first place where it is so.

    Where a page is slow to take on its colours it looks again.
    """
    for look in range(LOOKS):
        page.wait_for_timeout(min(look, 1) * 1000)
        found = Axe().run(page, options=options).response["violations"]
        bad = [v for v in found if v["impact"] in BAD]
        if not bad:
            break
    return [f"{v['id']} ({len(v['nodes'])}x): {v['nodes'][0]['html'][:160]}" for v in bad]


def address_of(world: WorldDesk, path: str) -> str:
    cases = {"TICKET": "compressor-1", "DONE": "pump-2", "ASKS": "pump-3"}
    for word, device in cases.items():
        path = path.replace(word, world.store.cases(device=device)[-1].case_id)
    return path


@pytest.mark.parametrize("path", PAGES)
def test_no_page_keeps_anybody_out(visit: Visit, world: WorldDesk, path: str) -> None:
    page = visit.open(address_of(world, path))
    expect(page.get_by_role("heading").first).to_be_visible()
    page.wait_for_timeout(SETTLED_MS)
    for size, scheme, options in SCREENS:
        page.set_viewport_size(size)  # type: ignore[arg-type]  # as documented
        page.emulate_media(color_scheme=scheme)
        page.evaluate(DONE)
        assert wrongs(page, options) == [], (size, scheme)


@pytest.mark.parametrize("path", PAGES)
def test_nor_does_it_in_chinese(
    visit_as: Callable[[Role | None], Visit], world: WorldDesk, path: str
) -> None:
    visit = visit_as(Role.ENGINEER if path not in {"/webhooks", "/customers"} else Role.ADMIN)
    cookie = {"name": "farfix_language", "value": "zh", "url": visit.address}
    visit.page.context.add_cookies([cookie])  # type: ignore[list-item]  # as documented
    page = visit.open(address_of(world, path))
    expect(page.get_by_role("heading").first).to_be_visible()
    page.wait_for_timeout(SETTLED_MS)
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    assert wrongs(page) == []
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    page.evaluate(DONE)
    assert wrongs(page) == []
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= PHONE["width"], "nothing is cut off"


def test_nobody_signed_in_is_kept_out_by_the_sign_in_page_alone(
    visit_as: Callable[[Role | None], Visit],
) -> None:
    page = visit_as(None).open("/")
    assert page.get_by_role("heading").count() == 1
    assert wrongs(page) == []


def test_what_keeps_people_out_is_found(visit: Visit) -> None:
    page = visit.open("/quarantine")
    page.evaluate("document.querySelector('#main').insertAdjacentHTML('beforeend', '<input>')")
    assert any(wrong.startswith("label ") for wrong in wrongs(page))
    page.add_style_tag(content=".muted { color: #bbb }")
    assert [wrong.split()[0] for wrong in wrongs(page, COLORS)] == ["color-contrast"]
