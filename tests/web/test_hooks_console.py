"""Webhooks at the console: made, seen, tested and deleted in a real browser."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from playwright.sync_api import expect

from cloud.core.people import Role
from cloud.core.telling import EventType, Telling
from cloud.service.hooks import Hooks
from cloud.web.faces import Faces
from cloud.web.hook_ports import EndpointOrder
from tests.adapters import hook_receiver
from tests.adapters.hook_receiver import Receiver
from tests.web.fixture_browser import PHONE, Visit

pytestmark = pytest.mark.real
HOSTILE = '<img src=x onerror="window.hacked=1">'


def done(work: Coroutine[Any, Any, object]) -> None:
    """Wait for something in a thread of its own: the browser has a loop in this one."""
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, work).result()


@pytest.fixture
def receiver(gateway_faces: Faces) -> Iterator[Receiver]:
    """A receiver; the console's own hooks are left empty."""
    with hook_receiver.receiving() as it:
        yield it
    hooks = gateway_faces.hooks
    for endpoint in hooks.endpoints():
        done(hooks.delete(endpoint.id, "test"))


def waiting(hooks: Hooks, receiver: Receiver) -> None:
    """Let an event wait whose texts are hostile."""
    order = EndpointOrder(name=HOSTILE, url=receiver.url, allow_private=True)
    done(hooks.create(order, "admin"))
    event = Telling(
        id="t/1",
        type=EventType.TICKET_OPENED,
        subject=HOSTILE,
        device=HOSTILE,
        at_ns=1,
        data=msgspec.Raw(b"{}"),
    )
    hooks.tell(event)


def test_an_endpoint_is_made_and_its_secret_shown_once(visit: Visit, receiver: Receiver) -> None:
    page = visit.open("/webhooks")
    expect(page.get_by_text("Nobody is told yet")).to_be_visible()
    page.get_by_role("button", name="New endpoint").click()
    page.get_by_label("Name of the endpoint").fill("Dispatch")
    page.get_by_label("URL").fill("https://127.0.0.1/")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("no public address")).to_be_visible()
    page.get_by_label("URL").fill(receiver.url)
    page.get_by_role("switch", name="It may lie inside our own network").click()
    page.get_by_role("button", name="Add", exact=True).click()
    secret = page.locator(".token")
    expect(secret).to_contain_text("whsec_")
    text = secret.inner_text()
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("heading", name="Dispatch")).to_be_visible()
    expect(page.locator(".token")).to_have_count(0)  # the dialog fades out
    assert text not in page.content()
    page.get_by_role("button", name="New secret: Dispatch").click()
    page.get_by_role("button", name="Make a new one").click()
    expect(page.locator(".token")).to_contain_text("whsec_")
    assert page.locator(".token").inner_text() != text
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Disable: Dispatch").click()
    expect(page.get_by_text("Disabled by")).to_be_visible()
    page.get_by_role("button", name="Delete: Dispatch").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Nobody is told yet")).to_be_visible()


def test_formats_ask_for_their_settings(visit: Visit) -> None:
    page = visit.open("/webhooks")
    page.get_by_role("button", name="New endpoint").click()
    page.get_by_label("Format").click()
    page.get_by_role("option", name="PagerDuty Events v2").click()
    field = page.get_by_label("Integration key of the service")
    expect(field).to_be_visible()
    assert field.get_attribute("type") == "password"
    expect(page.get_by_label("Signed by")).to_be_hidden()


def test_what_waits_is_seen_and_hostile_text_stays_text(
    visit: Visit, receiver: Receiver, gateway_faces: Faces
) -> None:
    hooks = gateway_faces.hooks
    assert isinstance(hooks, Hooks)
    waiting(hooks, receiver)
    page = visit.open("/webhooks")
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    expect(page.get_by_text("On its way").last).to_be_visible()
    page.get_by_role("button", name="Attempts: 0").click()
    expect(page.get_by_text("msg_")).to_be_visible()
    page.get_by_role("button", name="Back").click()
    page.get_by_label("Ticket or case").fill("nobody")
    expect(page.get_by_text("Nothing was sent that fits.")).to_be_visible()


def test_it_fits_a_phone(visit: Visit, receiver: Receiver, gateway_faces: Faces) -> None:
    assert isinstance(gateway_faces.hooks, Hooks)
    waiting(gateway_faces.hooks, receiver)
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    page = visit.open("/webhooks")
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_only_admins_see_it(visit_as: Callable[[Role | None], Visit]) -> None:
    page = visit_as(Role.ENGINEER).open("/webhooks")
    expect(page.get_by_text("For admins")).to_be_visible()
    expect(page.get_by_role("button", name="New endpoint")).to_have_count(0)
