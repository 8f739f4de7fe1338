"""Doors: who comes in where, and what is said to whoever does not."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from cloud.config import Config
from cloud.core.people import Person, Role
from cloud.core.states import Mode, Phase
from cloud.service.people import People
from cloud.web.app import create_api
from cloud.web.console.sign_in import local
from cloud.web.faces import Faces
from cloud.web.people_ports import COOKIE
from tests.web.fixture_people import PASSWORD, Crowd
from tests.web.fixture_world import START_NS, S, WorldDesk

Client = httpx.AsyncClient
ApiAs = Callable[[Role], Awaitable[Client]]
ORDER = {"order": {"machine_type": "centrifugal_pump", "version": "9.9.9"}}
LEAST = {
    ("GET", "/api/fleet"): Role.VIEWER,
    ("GET", "/api/cases"): Role.VIEWER,
    ("GET", "/api/audit"): Role.VIEWER,
    ("GET", "/api/rollouts"): Role.VIEWER,
    ("GET", "/api/releases"): Role.VIEWER,
    ("POST", "/api/cases/none/approve"): Role.OPERATOR,
    ("POST", "/api/cases/none/report"): Role.OPERATOR,
    ("POST", "/api/cases/none/try"): Role.ENGINEER,
    ("POST", "/api/rollouts"): Role.ENGINEER,
    ("PUT", "/api/repository"): Role.ENGINEER,
    ("GET", "/api/people"): Role.ADMIN,
    ("PUT", "/api/people/olga"): Role.ADMIN,
    ("POST", "/api/tokens/erp"): Role.ADMIN,
    ("POST", "/api/devices/pump-1/token"): Role.ADMIN,
}
LADDER = [Role.VIEWER, Role.OPERATOR, Role.ENGINEER, Role.ADMIN]


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def audited(desk: WorldDesk) -> list[tuple[str, str, str]]:
    return [(row.by, row.what, row.text) for row in desk.store.updates.audit()]


@pytest.mark.parametrize("role", list(Role))
async def test_a_token_opens_the_doors_of_its_role_and_no_other(
    api_as: ApiAs, desk: WorldDesk, role: Role
) -> None:
    client = await api_as(role)
    for (method, path), least in LEAST.items():
        answer = await client.request(method, path, json={})
        opens = role in LADDER and LADDER.index(role) >= LADDER.index(least)
        if opens:
            assert answer.status_code not in (401, 403), (path, answer.text)
        else:
            why = f"{role.value}-system has the role {role.value}; this needs {least.value}."
            assert problem(answer, 403) == why
    refused = [text for _, what, text in audited(desk) if what == "refused"]
    assert any("GET /api/people" in text for text in refused) == (role is not Role.ADMIN)


async def test_nobody_reads_without_a_token(faces: Faces, config: Config) -> None:
    transport = httpx.ASGITransport(create_api(faces, "token", config))
    async with Client(transport=transport, base_url="http://gateway") as stranger:
        for (method, path), least in LEAST.items():
            said = problem(await stranger.request(method, path, json={}), 401)
            assert least.value in said
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert (await stranger.get(path)).status_code == 200


async def test_a_guessed_token_is_told_and_noted(api: Client, desk: WorldDesk) -> None:
    for guess in ("guess", "ffx_guess", "ä", "x" * 5000):
        answer = await api.get("/api/fleet", headers={b"Authorization": f"Bearer {guess}".encode()})
        assert "not known here" in problem(answer, 401)
    (line,) = {text for _, what, text in audited(desk) if what == "refused"}
    assert "GET /api/fleet" in line
    assert "guess" not in line


async def test_a_signed_in_browser_reads_and_changes_nothing(
    faces: Faces, config: Config, desk: WorldDesk
) -> None:
    assert isinstance(faces.people, People)
    await faces.people.put_account("admin", Role.ADMIN, PASSWORD, "test")
    cookie = {COOKIE: await faces.people.open("admin", "in a test")}
    transport = httpx.ASGITransport(create_api(faces, "token", config))
    async with Client(transport=transport, base_url="http://gateway", cookies=cookie) as browser:
        assert (await browser.get("/api/me")).json() == {"name": "admin", "role": "admin"}
        assert (await browser.get("/api/fleet")).status_code == 200
        for path in ("/api/tokens/evil", "/api/cases/none/approve"):
            problem(await browser.post(path, json={"role": "admin"}), 401)
        await faces.people.sign_out(cookie[COOKIE])
        assert "any more" in problem(await browser.get("/api/fleet"), 401)
    assert faces.people.tokens() == []


async def test_who_decides_is_whose_token_it_is(api_as: ApiAs, desk: WorldDesk) -> None:
    case = desk.open("pump-1", "cavitation", START_NS - 600 * S, Mode.SUGGEST)
    desk.observed(case)
    client = await api_as(Role.OPERATOR)
    forged = await client.post(f"/api/cases/{case}/approve", json={"by": "somebody else"})
    assert "leave 'by' out: with this token operator-system decides" in problem(forged, 422)
    assert desk.case(case).phase is Phase.AWAITING_APPROVAL
    answer = await client.post(f"/api/cases/{case}/approve", json={})
    assert any("operator-system" in entry["text"] for entry in answer.json()["timeline"])


async def test_the_gateways_own_token_may_name_who_decides(api: Client, desk: WorldDesk) -> None:
    case = desk.open("pump-1", "cavitation", START_NS - 600 * S, Mode.SUGGEST)
    desk.observed(case)
    answer = await api.post(f"/api/cases/{case}/approve", json={"by": "J. Doe"})
    assert any("J. Doe (by api token)" in e["text"] for e in answer.json()["timeline"])


async def test_people_and_tokens_are_managed(api: Client, faces: Faces, desk: WorldDesk) -> None:
    made = await api.put("/api/people/olga", json={"role": "admin", "password": PASSWORD})
    assert made.json() | {"last_ns": 0} == {
        "name": "olga", "role": "admin", "disabled": False, "local": True, "last_ns": 0,
    }  # fmt: skip
    assert "password" in problem(await api.put("/api/people/new", json={"role": "viewer"}), 422)
    weak = {"role": "viewer", "password": "passwordpassword"}
    assert "easy to guess" in problem(await api.put("/api/people/new", json=weak), 409)
    for role in ("dispatch", "king"):
        odd = await api.put("/api/people/new", json={"role": role, "password": PASSWORD})
        assert odd.status_code in (409, 422)
    lost = await api.put("/api/people/olga", json={"role": "admin", "disabled": True})
    assert "must remain admin" in problem(lost, 409)
    token = (await api.post("/api/tokens/erp", json={"role": "dispatch"})).json()["token"]
    assert faces.people.by_token(token) == Person("erp", Role.DISPATCH)
    (listed,) = (await api.get("/api/tokens")).json()
    assert (listed["name"], listed["role"]) == ("erp", "dispatch")
    assert token not in str(listed)
    assert problem(await api.post("/api/tokens/erp", json={"role": "dispatch"}), 409)
    assert (await api.delete("/api/tokens/erp")).status_code == 204
    assert faces.people.by_token(token) is None
    said = [text for by, _, text in audited(desk) if by == "api"]
    assert said == [
        "api revokes the token erp.", "api issues the token erp, dispatch.",
        "api adds olga, admin.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "target",
    [
        "", "cases", "//example.com", "https://example.com", "/\\example.com", "\\\\example.com",
        "javascript:alert(1)", "/a\nSet-Cookie: x=1", "/\t/example.com", "/x" * 400, "/sign-out",
        "http:example.com", "///example.com", "/sign-in",
    ],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(target: str) -> None:
    assert local(target) == "/"


@pytest.mark.parametrize("target", ["/", "/cases/a-1?x=1&y=/2", "/?q=泵", "/sign-in?next=%2Fa"])
def test_signing_in_leads_back(target: str) -> None:
    assert local(target) == target


def test_each_person_of_the_crowd_has_a_session(faces: Faces) -> None:
    assert isinstance(faces.people, People)
    crowd = Crowd(faces.people)
    for role in LADDER:
        assert faces.people.by_session(crowd.session(role)) == Person(role.value, role)
