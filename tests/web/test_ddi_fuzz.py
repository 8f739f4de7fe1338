"""The DDI server under nonsense, byte by byte over sockets: it stays up, and nobody is deceived."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.core import ddi
from cloud.web import ddi as web_ddi
from contract.errors import Malformed
from tests.web.fixture_ddi import MemoryDesk, application, home, served, token

MINE, THEIRS = "gate-1", "gate-2"
IMAGE, SECRET = b"mine " * 2000, b"theirs " * 2000
ACTION, FOREIGN, ENDED = 100_001, 100_002, 100_000


class Reply(NamedTuple):
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection, kept open."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._file = self._socket.makefile("rb")

    def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes = b"",
        declared: int | None = None,
    ) -> None:
        size = len(body) if declared is None else declared
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {size}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def receive(self, *, head: bool = False) -> Reply:
        status = int(self._file.readline().split()[1])
        if status == 100:
            self._file.readline()
            return self.receive(head=head)
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        size = 0 if head or status in (204, 304) else int(headers["content-length"])
        return Reply(status, headers, self._file.read(size))

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Reply:
        self.send(method, path, headers, body)
        return self.receive(head=method == "HEAD")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(scope="module", params=["httptools", "h11"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[MemoryDesk, str]]:
    desk = MemoryDesk(tmp_path_factory.mktemp("artifacts"), [MINE, THEIRS])
    desk.give(MINE, ENDED, "1.0.0", b"old")
    desk.end(MINE)
    desk.give(MINE, ACTION, "1.2.0", IMAGE)
    desk.give(THEIRS, FOREIGN, "6.6.6", SECRET)
    kind: Literal["httptools", "h11"] = request.param
    with served(lambda url: application(desk, url), kind) as url:
        yield desk, url


MY = {"Authorization": f"TargetToken {token(MINE)}"}
_PLAIN = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=" #?")
_part = st.one_of(
    st.sampled_from(
        [
            "deploymentBase", "cancelAction", "feedback", "configData", "softwaremodules",
            "artifacts", "installedBase", str(ACTION), str(FOREIGN), str(ENDED), "0", "-1",
            "9" * 30, "edge_computer-1.2.0.swu", "edge_computer-6.6.6.swu", "..", "%2e%2e%2f", "",
            "%00", "%ff", "%e2%80%ae",
        ]
    ),
    st.text(_PLAIN, max_size=20),
)  # fmt: skip
_path = st.one_of(
    st.lists(_part, max_size=5).map(lambda parts: "/".join([home(MINE), *parts])),
    st.sampled_from(
        [
            home(MINE),
            f"{home(MINE)}/deploymentBase/{ACTION}",
            f"{home(MINE)}/deploymentBase/{ACTION}/feedback",
            f"{home(MINE)}/deploymentBase/{ENDED}/feedback",
            f"{home(MINE)}/deploymentBase/{FOREIGN}/feedback",
            f"{home(MINE)}/configData",
            f"{home(MINE)}/softwaremodules/{ACTION}/artifacts/edge_computer-1.2.0.swu",
            home(THEIRS),
            f"{home(THEIRS)}/deploymentBase/{FOREIGN}",
            f"{home(THEIRS)}/deploymentBase/{FOREIGN}/feedback",
            f"{home(THEIRS)}/softwaremodules/{FOREIGN}/artifacts/edge_computer-6.6.6.swu",
        ]
    ),
)
_value = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"))
_ranges = st.builds("bytes={}-{}".format, st.integers(-9, 20_000), st.integers(-9, 10**30) | _value)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "Range": _ranges | _value,
        "If-Match": _value,
        "If-None-Match": _value,
        "If-Range": _value,
        "Content-Type": _value,
        "Expect": st.just("100-continue"),
        "X-Controller-Id": st.just(THEIRS),
    },
)
_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_status = st.fixed_dictionaries(
    {
        "execution": st.sampled_from(["closed", "proceeding", "canceled", "rejected"]) | _json,
        "result": st.fixed_dictionaries({"finished": st.sampled_from(["success", "none"]) | _json}),
    },
    optional={"details": _json, "code": _json},
)
_body = st.one_of(
    st.binary(max_size=300),
    _json.map(lambda value: json.dumps(value).encode()),
    _status.map(lambda status: json.dumps({"status": status}).encode()),
    st.dictionaries(st.text(), _json, max_size=3).map(
        lambda data: json.dumps({"data": data}).encode()
    ),
    st.sampled_from([b"[" * 60_000, b" " * 70_000, b"\xff" * 1000]),
)
_wrong = _value | st.builds(
    "{} {}".format, st.sampled_from(["TargetToken", "GatewayToken"]), _value
)
_method = st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS"])
FUZZ = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _is_verdict(body: bytes) -> bool:
    try:
        ddi.feedback(body)
    except Malformed:
        return False
    return True


def tells_of_them(desk: MemoryDesk, reply: Reply) -> bool:
    sha256 = desk.offers[THEIRS].release.sha256.encode()
    return any(secret in reply.body for secret in (sha256, SECRET[:30], token(THEIRS).encode()))


@FUZZ
@given(method=_method, path=_path, headers=_headers, body=_body)
def test_nonsense_with_a_good_token(
    world: tuple[MemoryDesk, str], method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    desk, url = world
    before = len(desk.reports)
    line = Line(url)
    try:
        reply = line.ask(method, path, headers | MY, body)
        assert reply.status < 500, reply
        assert not tells_of_them(desk, reply)
        for device, action, _, details in desk.reports[before:]:
            assert (device, method) == (MINE, "POST")
            assert action in (ACTION, ENDED)
            assert path == f"{home(MINE)}/deploymentBase/{action}/feedback"
            assert _is_verdict(body)
            assert all(part.isprintable() for part in details.split("\n"))
        assert THEIRS not in desk.attributes
        assert {device for device, _ in desk.fetches} <= {MINE}
        if reply.headers.get("connection") != "close":
            assert line.ask("GET", home(MINE), MY).status == 200, "the connection is out of step"
    finally:
        line.close()
        desk.denials.clear()


@FUZZ
@given(asked=st.tuples(_method, _path), headers=_headers, authorization=_wrong, body=_body)
def test_nonsense_without_a_good_token(
    world: tuple[MemoryDesk, str],
    asked: tuple[str, str],
    headers: dict[str, str],
    authorization: str,
    body: bytes,
) -> None:
    (desk, url), (method, path) = world, asked
    line = Line(url)
    state = (len(desk.reports), len(desk.fetches), dict(desk.attributes), len(desk.polls))
    try:
        reply = line.ask(method, path, headers | {"Authorization": authorization}, body)
        assert 400 <= reply.status < 500 or reply.status == 307
        assert not tells_of_them(desk, reply)
        assert state == (
            len(desk.reports), len(desk.fetches), desk.attributes, len(desk.polls)
        )  # fmt: skip
        if reply.headers.get("connection") != "close":
            assert line.ask("GET", home(MINE), MY).status == 200, "the connection is out of step"
    finally:
        line.close()
        desk.denials.clear()


@pytest.mark.parametrize("size", [0, 1, 5_000, 300_000])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_a_refused_body_is_read_before_the_next_request(
    world: tuple[MemoryDesk, str], method: str, size: int
) -> None:
    path = f"{home(MINE)}/configData" if method == "PUT" else home(MINE)
    trick = b"GET /DEFAULT/controller/v1/gate-1 HTTP/1.1\r\n\r\n"
    body = (trick * (size // len(trick) + 1))[:size]
    line = Line(world[1])
    try:
        for _ in range(3):
            refused = line.ask(method, path, {"Authorization": "TargetToken wrong"}, body)
            assert refused.status == (401 if method != "POST" else 405)
        assert line.ask("GET", home(MINE), MY).status == 200
    finally:
        line.close()


def test_a_client_that_waits_to_send_its_body_is_told_to(world: tuple[MemoryDesk, str]) -> None:
    line = Line(world[1])
    body = b'{"data":{}}'
    try:
        wrong = {"Authorization": "TargetToken wrong", "Expect": "100-continue"}
        assert line.ask("PUT", f"{home(MINE)}/configData", wrong, body).status == 401
        right = MY | {"Expect": "100-continue"}
        assert line.ask("PUT", f"{home(MINE)}/configData", right, body).status == 200
    finally:
        line.close()


def test_a_client_that_goes_away_changes_nothing(world: tuple[MemoryDesk, str]) -> None:
    desk, url = world
    before = len(desk.reports)
    gone = Line(url)
    path = f"{home(MINE)}/deploymentBase/{ACTION}/feedback"
    whole = b'{"status":{"execution":"closed","result":{"finished":"success"}}}'
    gone.send("POST", path, MY, whole, declared=len(whole) + 1)
    gone.close()
    line = Line(url)
    try:
        assert line.ask("GET", home(MINE), MY).status == 200
    finally:
        line.close()
    assert len(desk.reports) == before


def test_no_file_but_the_artifact_leaves_the_folder(
    world: tuple[MemoryDesk, str], tmp_path: Path
) -> None:
    desk, url = world
    (desk.folder / "secret").write_bytes(SECRET)
    line = Line(url)
    try:
        for name in ("secret", "../secret", "..%2fsecret", "%2e%2e/secret", f"../{desk.folder}"):
            path = f"{home(MINE)}/softwaremodules/{ACTION}/artifacts/{name}"
            assert line.ask("GET", path, MY).status == 404
    finally:
        line.close()


def test_a_body_that_never_comes_holds_no_connection(
    world: tuple[MemoryDesk, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_ddi, "BODY_S", 0.2)
    for headers, status in ((MY, 408), ({"Authorization": "TargetToken wrong"}, 401)):
        line = Line(world[1])
        try:
            line.send("PUT", f"{home(MINE)}/configData", headers, declared=10)
            reply = line.receive()
            assert (reply.status, reply.headers["connection"]) == (status, "close")
        finally:
            line.close()
