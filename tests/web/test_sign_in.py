"""Signing in and out in a real browser, and what pages show to whom."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from playwright.sync_api import Page, expect

from cloud.core.people import Role
from cloud.service.people import People
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_people import PASSWORD, Crowd
from tests.web.test_axe import wrongs

pytestmark = pytest.mark.real
VisitAs = Callable[[Role | None], Visit]


def at_once(call: Callable[[], object]) -> None:
    """Run a coroutine function beside Playwright's own loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(call())).result()  # type: ignore[arg-type]


def known(crowd: Crowd) -> str:
    crowd.session(Role.OPERATOR)
    return Role.OPERATOR.value


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def test_whoever_is_not_signed_in_is_led_to_the_door_and_back(
    visit_as: VisitAs, crowd: Crowd
) -> None:
    visit = visit_as(None)
    page = visit.open("/tickets?x=1")
    expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Ftickets%3Fx%3D1$"))
    sign_in(page, known(crowd), "wrong")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    expect(page.get_by_label("Name")).to_have_value("operator")
    visit.wrong.clear()  # the browser notes the answer 401
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/tickets\?x=1$"))
    expect(page.get_by_role("heading", name="Tickets").first).to_be_visible()
    (cookie,) = [c for c in page.context.cookies() if c["name"] == "farfix_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")


def test_signing_out_shuts_every_page_of_the_browser(visit_as: VisitAs, crowd: Crowd) -> None:
    visit = visit_as(None)
    page = visit.open("/")
    sign_in(page, known(crowd), PASSWORD)
    other = page.context.new_page()
    other.goto(visit.address + "/tickets")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/sign-in$"))
    expect(other).to_have_url(re.compile("/sign-in"))
    page.goto(visit.address + "/audit")
    expect(page).to_have_url(re.compile("/sign-in"))


def test_the_door_speaks_chinese_and_works_without_scripts(visit_as: VisitAs, crowd: Crowd) -> None:
    visit = visit_as(None)
    context = visit.page.context.browser.new_context(java_script_enabled=False, viewport=PHONE)  # type: ignore[union-attr,arg-type]
    page = context.new_page()
    page.goto(visit.address + "/sign-in?next=/tickets")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    page.get_by_label("用户名").fill(known(crowd))
    page.get_by_label("密码").fill("错误的密码")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("alert")).to_have_text("用户名或密码错误。")
    page.get_by_label("密码").fill(PASSWORD)
    page.get_by_role("button", name="登录").click()
    expect(page).to_have_url(re.compile("/tickets$"))
    context.close()


def test_a_form_from_another_site_signs_nobody_in(address: str, crowd: Crowd) -> None:
    form = {"name": known(crowd), "password": PASSWORD}
    for headers in ({"Origin": "https://example.com"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/sign-in", "/sign-out", "/language"):
            answer = httpx.post(address + path, data=form, headers=headers)
            assert answer.status_code == 403
    assert httpx.post(f"{address}/sign-in", content=b"\xff\xff").status_code == 422
    assert httpx.post(f"{address}/sign-in", content=b"x" * 300_000).status_code == 413
    assert httpx.post(f"{address}/language", data={"language": "xx"}).status_code == 422


def test_hostile_names_stay_text_at_the_door(visit_as: VisitAs) -> None:
    visit = visit_as(None)
    page = visit.open("/sign-in?next=%22%3E%3Cscript%3Ewindow.hacked%3D1%3C/script%3E")
    sign_in(page, '"><script>window.hacked=1</script>', "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    visit.wrong.clear()  # the browser notes the answer 401


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ENGINEER])
def test_only_admins_see_people(visit_as: VisitAs, role: Role) -> None:
    page = visit_as(role).open("/people")
    expect(page.get_by_text("Ask an admin if you need somebody added here.")).to_be_visible()
    expect(page.get_by_role("button", name="Add somebody")).to_have_count(0)


def test_an_admin_adds_somebody_who_signs_in_and_is_locked_out(
    visit: Visit, visit_as: VisitAs
) -> None:
    page = visit.open("/people")
    page.get_by_role("button", name="Add somebody").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("nina")
    dialog.get_by_label("Password").fill("short")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Not done: a password has 12")).to_be_visible()
    dialog.get_by_label("Password").fill("a green valve at noon")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="nina")).to_be_visible()
    other = visit_as(None)
    hers = other.open("/tickets")
    sign_in(hers, "nina", "a green valve at noon")
    expect(hers.get_by_role("heading", name="Tickets").first).to_be_visible()
    page.get_by_role("button", name="Lock out: nina").click()
    page.get_by_role("dialog").get_by_role("button", name="Lock out").click()
    expect(page.get_by_text("Locked out", exact=True)).to_be_visible()
    expect(hers).to_have_url(re.compile("/sign-in"))


def test_a_token_is_shown_once_and_can_be_withdrawn(visit: Visit, crowd: Crowd) -> None:
    page = visit.open("/people")
    page.get_by_role("button", name="Issue a token").click()
    page.get_by_role("dialog").get_by_label("Name").fill("field-service")
    page.get_by_role("button", name="Issue", exact=True).click()
    shown = page.locator(".token")
    expect(shown).to_have_text(re.compile("^ffx_"))
    token = shown.inner_text()
    person = crowd.people.by_token(token)
    assert person is not None
    assert (person.name, person.role) == ("field-service", Role.DISPATCH)
    page.get_by_role("button", name="Saved").click()
    expect(shown).to_have_count(0)
    assert token not in page.content()
    page.get_by_role("button", name="Withdraw: field-service").click()
    page.get_by_role("dialog").get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("heading", name="field-service")).to_have_count(0)
    assert crowd.people.by_token(token) is None


def test_an_admin_who_is_none_any_more_cannot_act_on_an_open_page(
    visit_as: VisitAs, crowd: Crowd
) -> None:
    people = crowd.people
    assert isinstance(people, People)
    crowd.session(Role.ADMIN)
    at_once(lambda: people.put_account("temp", Role.ADMIN, PASSWORD, "test"))
    visit = visit_as(None)
    page = visit.open("/people")
    sign_in(page, "temp", PASSWORD)
    page.get_by_role("button", name="Issue a token").click()
    page.get_by_role("dialog").get_by_label("Name").fill("sneaky")
    at_once(lambda: people.put_account("temp", Role.VIEWER, None, "test"))
    page.evaluate(  # at once, before the page is led to the door
        "[...document.querySelectorAll('button')].find(b => b.innerText.trim() == 'Issue')?.click()"
    )
    expect(page).to_have_url(re.compile("/sign-in"))
    assert all(token.name != "sneaky" for token in people.tokens())


def test_the_language_is_remembered_with_the_person(visit: Visit, visit_as: VisitAs) -> None:
    page = visit.open("/people")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="人员与令牌")).to_be_visible()
    elsewhere = visit_as(Role.ADMIN).open("/people")
    expect(elsewhere.get_by_role("heading", name="人员与令牌")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="People and tokens")).to_be_visible()


@pytest.mark.parametrize("path", ["/sign-in", "/people"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_serious_violation_on_desktop_or_phone(
    visit: Visit, visit_as: VisitAs, path: str, language: str
) -> None:
    chosen = visit_as(None) if path == "/sign-in" else visit
    chosen.page.context.add_cookies(
        [{"name": "farfix_language", "value": language, "url": chosen.address}]
    )
    for size in (None, PHONE):
        if size:
            chosen.page.set_viewport_size(size)  # type: ignore[arg-type]  # as documented
        page = chosen.open(path)
        expect(page.get_by_role("heading").first).to_be_visible()
        assert wrongs(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
