"""Every call of the API under fire: whatever is sent, the answer is one that OpenAPI announces.

Schemathesis makes valid and invalid requests from the schema; a third kind puts hostile texts into
valid ones. All are seeded, so a failure comes again; its request is printed as a curl command.
"""

import asyncio
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Err, Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from cloud.adapters.photo_store import PhotoRow
from cloud.config import Config
from cloud.core.people import Person, Role, may
from cloud.web.app import create_api
from cloud.web.faces import Faces
from cloud.web.hook_ports import EndpointOrder
from cloud.web.ports import Desk
from tests.adapters.test_photo_store import picture
from tests.web import fixture_rollouts, fixture_world
from tests.web.conftest import TOKEN, faces_over
from tests.web.fixture_centre import centre
from tests.web.fixture_world import HOSTILE, WorldDesk

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
HOSTILES = [
    HOSTILE,
    "x" * 5000,
    "nul\x00nul",
    "\x1b[2J\x07",
    "../../../../etc/passwd",
    "'; DROP TABLE cases; --",
    "{{ 7 * 7 }}{% for x in range(10**9) %}",
    "%00%0d%0aSet-Cookie: x=y",
    "\u202etxet desrever \U0001f4a5",
    "",
    " ",
    "http://127.0.0.1:1/",
    "http://169.254.169.254/latest/meta-data/",
    "https://user:secret@[::ffff:127.0.0.1]/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "99999999999999999999999999",
    "NaN",
]
BROKEN: list[str | bytes] = [
    "", "{", "[" * 100_000, "null", "NaN", "1e999", '"\\ud800"', b"\xff\xfe{}", '{"a":1,"a":2}',
    "{" + '"a":{' * 5000,
]  # fmt: skip
OUTSIDE = ("/test", "/readyz")
"""Calls that reach out, or tell that the broker is away, have tests of their own."""
Asked = Case[Any]
Operation = APIOperation[Any, Any, Any, Any]
Strategy = st.SearchStrategy[Asked]


class _AnyOne(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "1"


class World:
    """The application over a lively world, and its operations."""

    def __init__(self, app: FastAPI, faces: Faces, known: dict[str, Any]) -> None:
        self.app, self.people, self.known = app, faces.people, known
        self.bodies = good(faces.desk, known["case_id"])
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        found = list(schema.get_all_operations())
        broken = [result.err() for result in found if isinstance(result, Err)]
        assert not broken, f"the schema itself is wrong: {broken}"
        operations = [result.ok() for result in found if isinstance(result, Ok)]
        outside = OUTSIDE if isinstance(faces.desk, WorldDesk) else (*OUTSIDE, "/commands")
        ours = [each for each in operations if not each.path.endswith(outside)]
        self.operations = sorted(ours, key=_ends)

    def path(self, operation: Operation) -> str:
        """Return an operation's path about what is there."""
        return str(operation.path).format_map(_AnyOne(self.known))

    def known_for(self, operation: Operation) -> dict[str, Any]:
        """Return names of what is there, for the parts of an operation's path."""
        names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
        return {name: self.known[name] for name in names if name in self.known}


def _ends(operation: Operation) -> bool:
    """Tell calls after which there is less to ask for: they come last."""
    return bool(operation.method.upper() == "DELETE" or operation.path.endswith("/report"))


def good(desk: Desk, case_id: str) -> dict[str, Any]:
    """Return bodies that do something, for calls that seldom take what is made up."""
    now_ns = desk.now_ns()
    tried = [{"remedy": step.remedy} for step in desk.remedies(case_id)]
    order = {"name": "a crm", "url": "https://127.0.0.1:1/x", "allow_private": True}
    labels = {"device": "pump-3", "alertname": "OilLow", "severity": "warning"}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "Oil low"},
        "startsAt": "2026-11-22T00:00:00Z",
        "fingerprint": "a",
    }
    report = {
        "finding": "other",
        "notes": "dry",
        "photos": ["a.jpg"],
        "parts_used": [{"number": "1", "name": "seal", "quantity": 1}],
        "checklist": [{"question": "Leaks?", "answer": "none"}],
    }
    command = {"id": "1", "name": "set_suction_valve", "argument": 80}
    visit = {
        "id": "1", "state": "scheduled", "at_ns": now_ns, "expected_ns": now_ns + 1,
        "technician": "J. Doe", "note": "tomorrow",
    }  # fmt: skip
    return {
        "POST /api/machines/{device}/commands": command,
        "POST /api/cases/{case_id}/try": tried[0] if tried else {},
        "POST /api/cases/{case_id}/pause": {"why": "asked", "until_ns": now_ns + 3600 * 10**9},
        "POST /api/cases/{case_id}/report": report | {"photos": []},
        "PUT /api/dispatch/tickets/{key}/visit": visit,
        "PUT /api/dispatch/tickets/{key}/report": report,
        "POST /api/dispatch/tickets/{key}/photos": picture("PNG"),
        "POST /api/alerts": {"status": "firing", "alerts": [alert]},
        "POST /api/webhooks": order,
        "PUT /api/webhooks/{endpoint}": order,
    }


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[World]:
    """Open a fleet in which something of everything is going on, or the real desk with less."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        if kind == "stores":
            desk = fixture_world.build(folder)
            stack.callback(desk.close)
            (ticket, *_), case_ = desk.store.tickets(), desk.store.open_case("pump-3")
            assert case_ is not None
            known: dict[str, Any] = {
                "device": "pump-1", "case_id": case_.case_id, "key": ticket.key,
            }  # fmt: skip
            faces, store = faces_over(desk, fixture_rollouts.build(), folder), desk.store
        else:
            made = stack.enter_context(centre(folder))
            case = made.alarm("pump-1")
            key = asyncio.run(made.ticket("pump-2"))
            made.perform()
            known = {"device": "pump-3", "case_id": case.case_id, "key": key}
            faces, store = made.faces, made.parts.store
        store.photos.put(PhotoRow(ticket=known["key"], name="a.jpg", at_ns=1, by="x", data=b"x"))
        order = EndpointOrder(name="crm", url="http://127.0.0.1:1/", allow_private=True)
        endpoint, _ = asyncio.run(faces.hooks.create(order, "test"))
        known |= {"name": "a.jpg", "number": 1, "month": "2026-11", "endpoint": endpoint.id}
        app = create_api(faces, TOKEN, Config(data_dir=folder))
        yield World(app, faces, known)


@pytest.fixture(scope="module", params=["stores", "desk"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with opened(request.param, tmp_path_factory.mktemp("world")) as made:
        yield made


def valid(operation: Operation, world: World) -> Strategy:
    made = operation.as_strategy(path_parameters=world.known_for(operation))
    return st.one_of(made, useful(operation, world))


def useful(operation: Operation, world: World) -> Strategy:
    """Requests that do something, as far as that is known."""
    known = world.known_for(operation)
    body = world.bodies.get(operation.label)
    if body is None:
        return operation.as_strategy(path_parameters=known)
    kind = "image/png" if isinstance(body, bytes) else "application/json"
    return operation.as_strategy(path_parameters=known, body=body, media_type=kind)


def valid_about_anything(operation: Operation, _: World) -> Strategy:
    return operation.as_strategy()


def invalid(operation: Operation, world: World) -> Strategy:
    known = world.known_for(operation)
    return operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=known)


def hostile(operation: Operation, world: World) -> Strategy:
    """Valid requests with a hostile text in place of some of theirs."""

    def spoilt(case: Asked, number: int) -> Asked:
        luck = random.Random(number)
        case.body = _spoilt(case.body, luck)
        if case.query:
            case.query = _spoilt(dict(case.query), luck)
        return case

    return st.builds(spoilt, useful(operation, world), st.integers(0, 2**32))


def _spoilt(node: Any, luck: random.Random, texts: list[str] = HOSTILES) -> Any:
    if isinstance(node, dict):
        return {name: _spoilt(value, luck, texts) for name, value in node.items()}
    if isinstance(node, list):
        return [_spoilt(value, luck, texts) for value in node]
    return luck.choice(texts) if isinstance(node, str) and luck.random() < 0.4 else node


@pytest.mark.parametrize(
    ("kind", "examples"),
    [(valid, 4), (valid_about_anything, 2), (invalid, 4), (hostile, 6)],
)
def test_no_request_is_answered_by_a_server_error_or_by_what_is_not_announced(
    world: World,
    kind: Callable[[Operation, World], Strategy],
    examples: int,
) -> None:
    found = {
        operation.label: _fired_at(operation.label, kind(operation, world), examples)
        for operation in world.operations
        if kind is not invalid or _takes_something(operation)
    }
    failures = {label: said for label, said in found.items() if said}
    assert not failures, "\n\n".join(f"{label}: {said}" for label, said in failures.items())


def _takes_something(operation: Operation) -> bool:
    return bool(list(operation.query) or list(operation.headers) or list(operation.body))


def _fired_at(label: str, requests: Strategy, examples: int) -> str:
    """Send requests to one operation; return the first trouble, empty if there was none."""
    troubles: list[str] = []

    @seed(zlib.crc32(label.encode()))
    @given(case=requests)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def fire(case: Asked) -> None:
        if not troubles:
            troubles.extend(filter(None, [_trouble(case)]))

    fire()
    return troubles[0] if troubles else ""


def _trouble(case: Asked) -> str:
    """Send a request; say what is wrong with the answer, empty if nothing is."""
    try:
        answer = case.call(headers=HEADERS)
        case.validate_response(answer, checks=CHECKS)
    except (Failure, FailureGroup) as error:
        parts = error.exceptions if isinstance(error, FailureGroup) else [error]
        said = "; ".join(str(part)[:600] for part in parts)
        return f"{said}\n  {case.as_curl_command(headers=HEADERS)[:1500]}\n  {answer.text[:300]}"
    except Exception as error:  # noqa: BLE001 - a bug of the application comes out here
        return f"{error!r}\n  {case.as_curl_command(headers=HEADERS)[:1500]}"
    return ""


def test_most_valid_requests_about_what_is_there_are_granted(tmp_path: Path) -> None:
    """Without this the other tests might be shooting at a closed door."""
    granted, known = set(), set()
    for kind in ("stores", "desk"):
        with opened(kind, tmp_path / kind) as world:
            for operation in world.operations:
                known.add(operation.label)
                for case in _examples(useful(operation, world), operation.label):
                    if case.call(headers=HEADERS).status_code < 400:
                        granted.add(operation.label)
    assert len(known - granted) < len(known) / 3, "\n".join(sorted(known - granted))


def test_half_characters_and_broken_bodies_are_refused(world: World) -> None:
    client = TestClient(world.app, headers=HEADERS, raise_server_exceptions=False)
    for operation in world.operations:
        if not list(operation.body):
            continue
        (case, *_) = _examples(useful(operation, world), operation.label)
        halves = json.dumps(_spoilt(_plain(case.body), random.Random(1), ["\ud800"]))
        for body in [halves, *BROKEN]:
            answer = client.request(
                operation.method,
                world.path(operation),
                content=body,
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code < 500, f"{operation.label} {body[:200]!r}: {answer.text}"


def _plain(body: Any) -> Any:
    return body if isinstance(body, dict | list | str) else {}


def _examples(requests: Strategy, label: str) -> list[Asked]:
    """Return the same few requests at each run."""
    found: list[Asked] = []

    @seed(zlib.crc32(label.encode()))
    @given(case=requests)
    @settings(
        max_examples=2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def collect(case: Asked) -> None:
        found.append(case)

    collect()
    return found


def test_every_reference_leads_to_something(world: World) -> None:
    document = world.app.openapi()
    references = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)))
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references
    assert references <= known, references - known


def test_every_call_that_needs_a_role_is_closed_to_all_others(world: World) -> None:
    client = TestClient(world.app, raise_server_exceptions=False)
    calls = 0
    for operation in world.operations:
        needed = operation.definition.raw.get("security")
        if not needed:
            continue
        calls += 1
        path = world.path(operation)
        nobody = client.request(operation.method, path)
        assert nobody.status_code == 401, f"{operation.method} {path}: {nobody.text}"
        wrong = client.request(operation.method, path, headers={"Authorization": "Bearer ffx_no"})
        assert wrong.status_code == 401, f"{operation.method} {path}: {wrong.text}"
    assert calls > 40


def test_calls_without_a_door_are_the_few_that_need_none(world: World) -> None:
    open_ = {
        operation.path
        for operation in world.operations
        if not operation.definition.raw.get("security")
    }
    assert open_ <= {
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/alerts/signed",
        "/repository/metadata/{name}",
        "/repository/targets/{path}",
    }, open_


@pytest.mark.parametrize("role", list(Role))
def test_a_role_opens_its_own_doors_only(world: World, role: Role) -> None:
    token = asyncio.run(world.people.issue_token(f"a-{role.value}", role, "test"))
    client = TestClient(world.app, headers={"Authorization": f"Bearer {token}"})
    closed = 0
    for operation in world.operations:
        said = re.search(r"Needs the role (\w+)\.", operation.definition.raw.get("description", ""))
        if said is not None and not may(Person("x", role), Role(said[1])):
            closed += 1
            answer = client.request(operation.method, world.path(operation))
            assert answer.status_code == 403, f"{operation.label}: {answer.text}"
            assert said[1] in answer.json()["detail"]
    assert bool(closed) is (role is not Role.ADMIN)
