"""The pictures of the documentation, made anew by ``make pictures``; here, that they can be made.

The Chinese one needs a Chinese font (on Debian: fonts-wqy-microhei).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from cloud.web.people_ports import COOKIE
from tests.web.fixture_browser import PHONE
from tests.web.fixture_gateway import Gateway, serving

pytestmark = pytest.mark.real

WIDE = {"width": 1280, "height": 960}
DRAWN_MS = 2500
"""After this long charts have been drawn."""
PICTURES = {
    "fleet": ("/", "en", WIDE, "Booster pump"),
    "fleet-phone": ("/", "en", PHONE, "Booster pump"),
    "case": ("/cases/chiller-1", "en", WIDE, "What happened"),
    "tickets": ("/tickets", "en", WIDE, "Intake filter clogged"),
    "ticket": ("/tickets/compressor-1", "en", WIDE, "Compressor, workshop"),
    "value": ("/value", "en", WIDE, "480"),
    "machine-zh": ("/machines/pump-2", "zh", WIDE, "固件"),
    "thousand": ("/", "en", WIDE, "1000 of 1000 machines"),
}
"""Address, language, screen, and what must be seen; a case is named by its machine."""
CASES = {"chiller-1": "chiller-1-1795325900", "compressor-1": "compressor-1-1795328100"}


@pytest.fixture(scope="module")
def gateways() -> Iterator[dict[str, Gateway]]:
    with serving("lively") as lively, serving("thousand") as thousand:
        yield {"lively": lively, "thousand": thousand}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_can_be_made(
    browser: Browser, gateways: dict[str, Gateway], name: str, tmp_path: Path
) -> None:
    path, language, screen, seen = PICTURES[name]
    gateway = gateways.get(name, gateways["lively"])
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    context = browser.new_context(viewport=screen, reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(90_000)
    cookies = {COOKIE: gateway.session, "farfix_language": language}
    for key, value in cookies.items():
        context.add_cookies([{"name": key, "value": value, "url": gateway.address}])
    page = context.new_page()
    for device, case_id in CASES.items():
        path = path.replace(device, case_id)
    page.goto(gateway.address + path)
    expect(page.get_by_text(seen).first).to_be_visible()
    page.wait_for_timeout(DRAWN_MS)
    made = folder / f"{name}.png"
    page.screenshot(path=made)
    context.close()
    assert made.stat().st_size > 20_000, "there is next to nothing in the picture"
