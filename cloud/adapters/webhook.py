"""Tickets to on-site dispatch: CloudEvents 1.0 in JSON, signed by Standard Webhooks 1.0.

Whoever receives may get an event more than once, always with the same ``webhook-id``. Nothing but
an answer of 200 to 299 counts as delivered; redirects are not followed.

The target is resolved here and the vetted address is the one connected to, so a name that points
into the plant's own network reaches it only where the operator allowed that.
"""

import asyncio
import base64
import binascii
import email.utils
import hashlib
import hmac
import ipaddress
import secrets
import socket
from datetime import UTC, datetime
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from contract.errors import Malformed, Refused, Unreachable
from contract.tickets import Ticket

TIMEOUT_S = 20.0
MAX_BODY_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 4 * 1024
MAX_RETRY_AFTER_S = 86_400.0
RETRY_DELAYS_S: Final = (
    0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
)  # fmt: skip
"""The schedule that Standard Webhooks recommends: about three days."""
TICKET_OPENED = "farfix.ticket.opened"
_PREFIX = "whsec_"


class TryLater(Unreachable):
    """Not delivered, but it may be; ``retry_after_s`` is what the receiver asked for, if it did."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Delivered(Struct, frozen=True):
    """The receiver has it."""

    status: int


class Signed(Struct, frozen=True):
    """A request as it goes out."""

    headers: dict[str, str]
    body: bytes


def new_secret() -> str:
    """Generate a secret in the form that receivers take: ``whsec_`` and 32 bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def ticket_event(ticket: Ticket, source: str) -> bytes:
    """Return a ticket as a structured CloudEvent; same ticket, same bytes.

    Args:
        ticket: what to tell.
        source: who tells it, as a URI reference: the gateway's public address.
    """
    opened = datetime.fromtimestamp(ticket.opened_ns // 1_000_000_000, UTC)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": ticket.key,
            "source": source,
            "type": TICKET_OPENED,
            "subject": ticket.asset.device,
            "time": opened.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "datacontenttype": "application/json",
            "data": ticket,
        }
    )


def signed_request(secret: str, message_id: str, timestamp_s: int, body: bytes) -> Signed:
    """Sign a body by Standard Webhooks, version ``v1``.

    Args:
        secret: ``whsec_`` and 24 to 64 bytes in base64; shared with the receiver.
        message_id: the same over all attempts; the receiver drops what it knows.
        timestamp_s: wall clock time of this attempt, seconds since 1970. Receivers refuse what
            is more than a few minutes off, so plant time will not do.
        body: what is sent.

    Raises:
        Malformed: the secret is not of that form.
        Refused: the body is larger than `MAX_BODY_BYTES`.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Refused(f"webhook body has {len(body)} bytes, the limit is {MAX_BODY_BYTES}")
    content = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    digest = hmac.new(_key(secret), content, hashlib.sha256).digest()
    headers = {
        "content-type": "application/cloudevents+json; charset=utf-8",
        "user-agent": "farfix",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    return Signed(headers, body)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise Malformed(
            "the webhook secret is not 'whsec_' followed by 24 to 64 bytes in base64; "
            "make one with: farfix secrets FOLDER"
        )
    return key


def retry_delay_s(attempt: int, jitter: float) -> float | None:
    """Return how long to wait before an attempt, or ``None`` when it is time to call for help.

    Args:
        attempt: how many were made already; 0 before the first.
        jitter: 0 to 1, spreads the retries of many gateways over 20 percent.
    """
    if attempt >= len(RETRY_DELAYS_S):
        return None
    return RETRY_DELAYS_S[attempt] * (1 + 0.2 * jitter)


async def deliver(
    client: httpx.AsyncClient, url: str, signed: Signed, *, allow_private: bool = False
) -> Delivered:
    """Post a signed request once.

    Args:
        client: made with ``trust_env=False``, or a proxy would undo the check of the address.
        url: ``https``, or ``http`` where private targets are allowed.
        signed: from `signed_request`, made anew for every attempt.
        allow_private: the operator allows targets inside the own network.

    Raises:
        TryLater: no answer in time, or one that may change: 408, 429, 5xx.
        Refused: an answer that will not change, a redirect, or a target that is not allowed.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            target, host = await _vetted(url, allow_private=allow_private)
            request = client.build_request(
                "POST",
                target,
                content=signed.body,
                headers=signed.headers | {"host": host},
                extensions={"sni_hostname": httpx.URL(url).host},
            )
            answer = await client.send(request, stream=True, follow_redirects=False)
            try:
                text = await _beginning(answer)
            finally:
                await answer.aclose()
    except TimeoutError as error:
        raise TryLater(f"{url} did not answer within {TIMEOUT_S:g} s") from error
    except httpx.TransportError as error:
        raise TryLater(f"{url}: {error or type(error).__name__}") from error
    return _judge(url, answer, text)


async def _vetted(url: str, *, allow_private: bool) -> tuple[httpx.URL, str]:
    """Return the URL with a checked address in place of the name, and the name for the header."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Refused(f"webhook URL {url!r}: {error}") from error
    if parsed.scheme != "https" and not (allow_private and parsed.scheme == "http"):
        raise Refused(f"webhook URL {url!r} must be https (http only with allow_private = true)")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parsed.host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TryLater(f"{url}: cannot resolve {parsed.host}: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    forbidden = [a for a in addresses if not allow_private and not _public(a)]
    if forbidden:
        raise Refused(
            f"webhook URL {url!r} leads to {forbidden[0]}, which is no public address; "
            "set allow_private = true in [webhook] if that is meant"
        )
    return parsed.copy_with(host=addresses[0]), parsed.netloc.decode()


def _public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


async def _beginning(answer: httpx.Response) -> str:
    """Read no more of an answer than an error message needs."""
    data = b""
    async for chunk in answer.aiter_raw():
        data += chunk
        if len(data) >= MAX_ANSWER_BYTES:
            break
    return data[:200].decode(errors="replace")


def _judge(url: str, answer: httpx.Response, text: str) -> Delivered:
    status = answer.status_code
    if 200 <= status < 300:
        return Delivered(status)
    said = f"{url} answered {status}" + (f": {text}" if text else "")
    if status in (408, 429) or status >= 500:
        raise TryLater(said, _retry_after_s(answer))
    if 300 <= status < 400:
        raise Refused(f"{said} (a redirect; give the final address instead)")
    raise Refused(said)


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Read ``Retry-After``: seconds, or a date counted from the receiver's own ``Date``."""
    text = answer.headers.get("retry-after", "")
    if text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        until = email.utils.parsedate_to_datetime(text)
        now = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
        return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
    except (ValueError, TypeError):  # no date, or one with and one without a zone
        return None
