"""A customer's signed link: rate once, or end all messages; nothing else, and no script needed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from cloud.config import Config, Customer
from cloud.core.asset import AssetRow
from cloud.service.customers import Customers
from cloud.web import feedback
from tests.web.conftest import TOKEN
from tests.web.fixture_browser import PHONE
from tests.web.fixture_world import HOSTILE, START_NS, WorldDesk


class Phone:
    """Somebody without sign-in, who asks the pages one thing after the other."""

    def __init__(self, customers: Customers) -> None:
        self._app = FastAPI()
        self._app.include_router(feedback.routes(customers))

    def request(self, method: str, path: str, **sent: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://g") as client:
                return await client.request(method, path, **sent)

        with ThreadPoolExecutor(1) as apart:  # the browser keeps a loop in this thread
            return apart.submit(lambda: asyncio.run(ask())).result()

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **sent: Any) -> httpx.Response:
        return self.request("POST", path, **sent)


@pytest.fixture
def customers(desk: WorldDesk, config: Config) -> Customers:
    asset = desk.store.asset("pump-1")
    assert asset is not None
    changed = AssetRow(
        device="pump-1", site="north", machine_type=asset.machine_type, title=HOSTILE,
        customer="c-1",
    )  # fmt: skip
    desk.store.put_assets([changed])
    known = config.model_copy(update={"customers": [Customer(name="c-1", language="zh")]})
    return Customers(desk.store, known, desk.now_ns, TOKEN)


@pytest.fixture
def phone(customers: Customers) -> "Phone":
    """Somebody without sign-in."""
    return Phone(customers)


@pytest.fixture
def link(desk: WorldDesk, customers: Customers) -> str:
    case_id = desk.open("pump-1", "cavitation", START_NS)
    return f"/feedback/{customers._links.dumps([case_id, 'c-1'])}"


def test_a_rating_is_taken_once(phone: Phone, link: str, customers: Customers) -> None:
    page = phone.get(link)
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert "本次服务您满意吗" in page.text
    assert (phone.post(link, data={"text": "no stars"})).status_code == 422
    assert (phone.post(link, data={"stars": "9"})).status_code == 422
    given = phone.post(link, data={"stars": "4", "text": HOSTILE})
    assert "已收到" in given.text
    assert (phone.post(link, data={"stars": "1"})).status_code == 409
    (rating,) = customers.ratings()
    assert (rating.stars, rating.text) == (4, HOSTILE)


def test_messages_can_be_ended(phone: Phone, link: str, customers: Customers) -> None:
    assert (phone.get(f"{link}/stop")).status_code == 200
    assert not customers.customers()[0].opted_out  # a mail scanner opens links, it sends no form
    assert (phone.post(f"{link}/stop")).status_code == 200
    assert customers.customers()[0].opted_out


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("path", ["/feedback/x", "/feedback/x/stop", "/feedback/" + "a" * 300])
def test_forged_links_open_nothing(phone: Phone, method: str, path: str) -> None:
    answer = phone.request(method, path)
    assert answer.status_code == 404
    assert "This link does not work" in answer.text


def test_an_endless_form_is_refused(phone: Phone, link: str) -> None:
    answer = phone.post(link, content=b"stars=5&text=" + b"x" * 2**20)
    assert answer.status_code == 422


@pytest.mark.real
def test_the_page_can_be_read_and_filled_in_on_a_phone_without_script(
    phone: Phone, link: str, browser: Browser
) -> None:
    html = (phone.get(link)).text
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_content(html)
    page.get_by_text("★").nth(1).click()
    expect(page.locator("input[name=stars]:checked")).to_have_attribute("value", "4")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    context.close()
