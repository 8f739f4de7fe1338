"""Signing in at an OpenID provider, through the door's own addresses."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cloud.adapters.store import Store
from cloud.config import Config, Oidc
from cloud.core.people import Person, Role
from cloud.service.people import People
from cloud.web.console import sign_in, viewer
from cloud.web.people_ports import COOKIE
from tests.service import fixture_oidc
from tests.service.fixture_oidc import Provider
from tests.web.fixture_people import PASSWORD


@pytest.fixture
def provider() -> Iterator[Provider]:
    with fixture_oidc.provider() as made:
        yield made


@pytest.fixture
async def people(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[People]:
    store = Store(f"sqlite:///{tmp_path / 'cases.db'}")
    oidc = Oidc(issuer=provider.issuer, client_id=fixture_oidc.CLIENT)
    made = People(store, Config(data_dir=tmp_path, oidc=oidc))
    await made.put_account("admin", Role.ADMIN, PASSWORD, "test")
    monkeypatch.setattr(viewer, "_people", made)
    yield made
    store.close()


@pytest.fixture
async def browser(people: People) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(sign_in.routes(people, Config(public_url="http://gateway")))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def at_the_provider(url: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(url)).headers["location"]


async def test_the_door_leads_to_the_provider_and_back(
    browser: httpx.AsyncClient, people: People
) -> None:
    page = await browser.get("/sign-in", params={"next": "/tickets"})
    assert "Sign in with 127.0.0.1" in page.text
    begun = await browser.get("/sign-in/oidc", params={"next": "/tickets"})
    asked = httpx.URL(begun.headers["location"]).params
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    back = await browser.get(await at_the_provider(begun.headers["location"]))
    assert (back.status_code, back.headers["location"]) == (303, "/tickets")
    session = browser.cookies[COOKIE]
    assert people.by_session(session) == Person("dana", Role.OPERATOR)
    assert "farfix_oidc" not in browser.cookies
    assert (await browser.get("/sign-in")).headers["location"] == "/", "already in"


async def test_a_sign_in_that_another_browser_began_is_refused(
    browser: httpx.AsyncClient, people: People
) -> None:
    begun = await browser.get("/sign-in/oidc")
    back = await at_the_provider(begun.headers["location"])
    for cookies in ({}, {"farfix_oidc": "zz"}, {"farfix_oidc": b"[]".hex()}):
        browser.cookies = httpx.Cookies(cookies)
        answer = await browser.get(back)
        assert (answer.status_code, COOKIE in browser.cookies) == (401, False)
        assert "not begun in this browser" in answer.text
    assert all(account.person.name != "dana" for account in people.accounts())


async def test_who_has_no_role_here_is_told_why(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    provider.claims = {"farfix_role": "<b>king</b>", "preferred_username": "dana"}
    begun = await browser.get("/sign-in/oidc")
    answer = await browser.get(await at_the_provider(begun.headers["location"]))
    assert answer.status_code == 401
    assert "gives dana no role here" in answer.text
    assert "<b>" not in answer.text


async def test_a_silent_provider_leaves_local_people_their_way(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    provider.issuer = "http://127.0.0.1:1"  # its document now speaks for another
    answer = await browser.get("/sign-in/oidc")
    assert "correct oidc.issuer" in answer.text
    form = {"name": "admin", "password": PASSWORD, "next": "/audit"}
    welcome = await browser.post("/sign-in", data=form)
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/audit")
