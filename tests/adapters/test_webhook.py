"""Delivery to a real HTTP server, checked by the independent `standardwebhooks` package."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cloud.adapters import webhook
from contract.errors import Malformed, Refused, Unreachable
from contract.faults import Severity
from contract.tickets import Asset, EscalationReason, Ticket

SECRET = webhook.new_secret()
BODY = b'{"specversion":"1.0"}'
Answer = tuple[int, dict[str, str], bytes]


class Receiver:
    """An HTTP server that answers what a test tells it to and keeps what it got."""

    def __init__(self) -> None:
        self.answer: Callable[[], Answer] = lambda: (204, {}, b"")
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, text = receiver.answer()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(text)
                except BrokenPipeError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Keep the test's output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://localhost:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    it = Receiver()
    yield it
    it.server.shutdown()
    it.server.server_close()


async def send(url: str, *, allow_private: bool = True) -> webhook.Delivered:
    signed = webhook.signed_request(SECRET, "case-1", int(time.monotonic()), BODY)
    async with httpx.AsyncClient(trust_env=False) as client:
        return await webhook.deliver(client, url, signed, allow_private=allow_private)


def ticket(**changes: object) -> Ticket:
    fields: dict[str, object] = {
        "key": "case-1",
        "title": "Bearing wear on Pump 1",
        "description": "",
        "severity": Severity.HIGH,
        "reason": EscalationReason.NOT_REMOTABLE,
        "reason_detail": "no remedy",
        "asset": Asset(device="pump-1", machine_type="centrifugal_pump", title="P", site="north"),
        "fault": "bearing_wear",
        "hypotheses": [],
        "first_seen_ns": 1,
        "seen": [],
        "tried": [],
        "parts": [],
        "skills": [],
        "safety_notes": [],
        "opened_ns": 1_795_330_800_000_000_000,
        "due_ns": 2,
    }
    return Ticket(**(fields | changes))  # type: ignore[arg-type]


async def test_a_delivery_passes_an_independent_verifier(receiver: Receiver) -> None:
    body = webhook.ticket_event(ticket(), "https://farfix.example")
    signed = webhook.signed_request(SECRET, "case-1", int(wall_s()), body)
    async with httpx.AsyncClient(trust_env=False) as client:
        done = await webhook.deliver(client, receiver.url, signed, allow_private=True)
    assert done == webhook.Delivered(204)
    headers, got = receiver.got[0]
    assert headers["webhook-id"] == "case-1"
    assert headers["host"] == receiver.url.split("/")[2]
    assert headers["content-type"].startswith("application/cloudevents+json")
    event = Webhook(SECRET).verify(got, headers)
    assert event["data"]["asset"]["device"] == "pump-1"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.new_secret()).verify(got, headers)


def wall_s() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)


def test_the_event_has_what_cloudevents_requires() -> None:
    event = json.loads(webhook.ticket_event(ticket(), "https://farfix.example"))
    assert event["specversion"] == "1.0"
    assert (event["id"], event["subject"]) == ("case-1", "pump-1")
    assert event["type"] == "farfix.ticket.opened"
    assert event["time"] == "2026-11-22T07:00:00Z"
    assert event["data"]["reason"] == "not_remotable"


@given(st.text(min_size=1, max_size=80), st.integers(0, 2**36), st.binary(max_size=200))
def test_signature_is_the_one_the_independent_package_makes(
    key: str, at_s: int, body: bytes
) -> None:
    text = body.hex()
    ours = webhook.signed_request(SECRET, key, at_s, text.encode()).headers["webhook-signature"]
    theirs = Webhook(SECRET).sign(key, datetime.fromtimestamp(at_s, UTC), text)
    assert ours == theirs


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_passing_failure_is_for_later(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda: (status, {}, b"busy")
    with pytest.raises(webhook.TryLater, match=f"answered {status}: busy") as caught:
        await send(receiver.url)
    assert caught.value.retry_after_s is None
    assert isinstance(caught.value, Unreachable)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
async def test_a_lasting_failure_is_refused(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda: (status, {}, b"no")
    with pytest.raises(Refused, match=f"answered {status}: no"):
        await send(receiver.url)


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        ("120", 120.0),
        ("999999999", webhook.MAX_RETRY_AFTER_S),
        ("soon", None),
        (formatdate(0, usegmt=True), 0.0),
        (formatdate(2**31, usegmt=True), webhook.MAX_RETRY_AFTER_S),
    ],
)
async def test_retry_after_is_honoured(
    receiver: Receiver, header: str, expected_s: float | None
) -> None:
    receiver.answer = lambda: (429, {"retry-after": header}, b"")
    with pytest.raises(webhook.TryLater) as caught:
        await send(receiver.url)
    assert caught.value.retry_after_s == expected_s


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda: (302, {"location": receiver.url}, b"")
    with pytest.raises(Refused, match="redirect"):
        await send(receiver.url)
    assert len(receiver.got) == 1


async def test_silence_is_for_later(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.2)
    over = threading.Event()

    def wait() -> Answer:
        over.wait(5)
        return (200, {}, b"")

    receiver.answer = wait
    with pytest.raises(webhook.TryLater, match="did not answer within"):
        await send(receiver.url)
    over.set()


async def test_nobody_there_is_for_later() -> None:
    with pytest.raises(webhook.TryLater):
        await send("http://127.0.0.1:1/hook")
    with pytest.raises(webhook.TryLater, match="cannot resolve"):
        await send("https://nowhere.invalid/hook")


async def test_only_the_beginning_of_an_answer_is_read(receiver: Receiver) -> None:
    receiver.answer = lambda: (500, {}, b"x" * 50_000_000)
    with pytest.raises(webhook.TryLater) as caught:
        await send(receiver.url)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
    ],
)
async def test_targets_inside_the_network_need_permission(url: str) -> None:
    with pytest.raises(Refused, match="allow_private"):
        await send(url, allow_private=False)


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://example.com/", "example.com", "h:x"])
async def test_only_https_goes_out_into_the_world(url: str) -> None:
    with pytest.raises(Refused, match=r"https|URL"):
        await send(url, allow_private=False)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "c2hvcnQ=" * 9])
def test_a_bad_secret_says_how_to_make_one(secret: str) -> None:
    with pytest.raises(Malformed, match="farfix secret"):
        webhook.signed_request(secret, "case-1", 1, BODY)


def test_a_gigantic_body_is_refused() -> None:
    with pytest.raises(Refused, match="limit"):
        webhook.signed_request(SECRET, "case-1", 1, b"x" * (webhook.MAX_BODY_BYTES + 1))


@given(st.integers(0, 30), st.floats(0, 1))
def test_retries_spread_and_end(attempt: int, jitter: float) -> None:
    delay_s = webhook.retry_delay_s(attempt, jitter)
    if attempt >= len(webhook.RETRY_DELAYS_S):
        assert delay_s is None
    else:
        base_s = webhook.RETRY_DELAYS_S[attempt]
        assert delay_s is not None
        assert base_s <= delay_s <= 1.2 * base_s
