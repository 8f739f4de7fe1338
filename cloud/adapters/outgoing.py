"""Requests to addresses that people enter: nothing inside the own network unless that is allowed.

The name is resolved here, before every request, and the vetted address is the one connected to;
so a name that changes what it points to gains nothing. Redirects are not followed, and no more of
an answer is read than is used.
"""

import asyncio
import email.utils
import ipaddress
import re
import socket
import ssl
from typing import Final

import httpx
from msgspec import Struct

from contract.errors import Refused, Unreachable

TIMEOUT_S = 20.0
"""Of one request from the look-up of the name to the last byte that is read."""
MAX_BODY_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024
SAID_MAX = 200
"""Characters of an answer that an error message quotes."""
MAX_URL_CHARS = 2000
ADDRESSES_MAX = 4
"""Of one name that are tried, where the first ones do not answer."""
PASSING: Final = (408, 425, 429)
_NUMBERS = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*\.?")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")


class Request(Struct, frozen=True, kw_only=True):
    """A request as it goes out."""

    url: str
    headers: dict[str, str]
    body: bytes = b""
    method: str = "POST"


class Answer(Struct, frozen=True, kw_only=True):
    """What came back; whatever its status."""

    status: int
    body: bytes
    retry_after_s: float | None
    """What the receiver asked for, in its seconds."""

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300

    @property
    def lasting(self) -> bool:
        """Whether the same request will not be taken later either."""
        return not self.taken and self.status < 500 and self.status not in PASSING

    def said(self, url: str) -> str:
        """Put the answer into a sentence; empty: the receiver has it."""
        if self.taken:
            return ""
        text = self.body[:SAID_MAX].decode(errors="replace").strip()
        said = f"{shown(url)} answered {self.status}" + (f": {text}" if text else "")
        if 300 <= self.status < 400:
            said += " (a redirect; give the final address instead)"
        return said


class Door:
    """Lets requests out; keeps one pool of connections for each host."""

    def __init__(self) -> None:
        # Pools tell connections apart by address: those of two names must not meet in one.
        self._pools: dict[str, httpx.AsyncClient] = {}
        self._context = ssl.create_default_context()

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()
        self._pools.clear()

    async def send(self, request: Request, *, allow_private: bool) -> Answer:
        """Make a request once.

        Args:
            request: what to send.
            allow_private: the operator allows targets inside the own network, and http to them.

        Raises:
            Unreachable: no answer in time.
            Refused: the target is not allowed, or the body is larger than `MAX_BODY_BYTES`.
        """
        if len(request.body) > MAX_BODY_BYTES:
            size = len(request.body)
            raise Refused(f"webhook body has {size} bytes, the limit is {MAX_BODY_BYTES}")
        url = request.url
        try:
            async with asyncio.timeout(TIMEOUT_S):
                addresses = await vetted(url, allow_private=allow_private)
                return await self._first(request, addresses)
        except TimeoutError as error:
            raise Unreachable(f"{shown(url)} did not answer within {TIMEOUT_S:g} s") from error
        except httpx.LocalProtocolError as error:
            raise Refused(f"{shown(url)}: the request cannot be written: {error}") from error
        except httpx.HTTPError as error:
            raise Unreachable(f"{shown(url)}: {error or type(error).__name__}") from error
        except (httpx.InvalidURL, ValueError) as error:
            raise Refused(f"{shown(url)}: the request cannot be written: {error}") from error

    async def _first(self, request: Request, addresses: list[str]) -> Answer:
        """Return the answer of the first address that can be connected to."""
        for address in addresses[:-1]:
            try:
                return await self._once(request, address)
            except httpx.ConnectError:
                continue
        return await self._once(request, addresses[-1])

    async def _once(self, request: Request, address: str) -> Answer:
        parsed = httpx.URL(request.url)
        pool = self._pool(parsed.netloc.decode())
        made = pool.build_request(
            request.method,
            parsed.copy_with(host=address),
            content=request.body or None,
            headers={"accept-encoding": "identity", "user-agent": "farfix"}
            | request.headers
            | {"host": parsed.netloc.decode()},
            extensions={"sni_hostname": parsed.host},
        )
        answer = await pool.send(made, stream=True, follow_redirects=False)
        try:
            body = await _beginning(answer)
        finally:
            await answer.aclose()
        return Answer(status=answer.status_code, body=body, retry_after_s=_retry_after_s(answer))

    def _pool(self, host: str) -> httpx.AsyncClient:
        if host not in self._pools:
            self._pools[host] = httpx.AsyncClient(
                trust_env=False,  # a proxy would undo the check of the address
                verify=self._context,
                timeout=TIMEOUT_S,
            )
        return self._pools[host]


def shown(url: str) -> str:
    """Return a URL without what may be secret in it."""
    return url.partition("?")[0].partition("#")[0][:200]


async def vetted(url: str, *, allow_private: bool) -> list[str]:
    """Return the addresses behind a URL, all of them allowed.

    Raises:
        Refused: the URL is no address that may be sent to.
        Unreachable: its name cannot be resolved.
    """
    parsed = _parsed(url, allow_private=allow_private)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        found = await resolve(parsed.host, port)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{shown(url)}: cannot resolve {parsed.host}: {error}") from error
    for address in found:
        why = _forbidden(address, allow_private=allow_private)
        if why:
            raise Refused(f"webhook URL {shown(url)!r} leads to {address}, {why}")
    if not found:
        raise Unreachable(f"{shown(url)}: {parsed.host} has no address")
    return found[:ADDRESSES_MAX]


async def resolve(host: str, port: int) -> list[str]:
    """Ask for the addresses of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _parsed(url: str, *, allow_private: bool) -> httpx.URL:
    if len(url) > MAX_URL_CHARS:
        raise Refused(f"the webhook URL is longer than {MAX_URL_CHARS} characters")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode()
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Refused(f"webhook URL {shown(url)!r}: {error}") from error
    if parsed.scheme != "https" and not (allow_private and parsed.scheme == "http"):
        raise Refused(
            f"webhook URL {shown(url)!r} must be https (http only with allow_private = true)"
        )
    if parsed.userinfo:
        raise Refused("the webhook URL holds a name or password: take it out of the URL")
    if not _usual(host):
        raise Refused(f"webhook URL {shown(url)!r}: {host[:80]!r} is no host name or address")
    return parsed


def _usual(host: str) -> bool:
    """Tell a name or an address as people write it from disguises such as ``0x7f.1``."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST.fullmatch(host)) and not _NUMBERS.fullmatch(host)
    return True


def _forbidden(address: str, *, allow_private: bool) -> str:
    """Say why an address may not be sent to; empty: it may."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:  # its last four bytes are the address that it leads to (RFC 6052)
            ip = ipaddress.IPv4Address(ip.packed[-4:])
        else:
            ip = ip.ipv4_mapped or ip.sixtofour or ip
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA:
        return "where no receiver can be"
    if ip.is_loopback:
        public = False
    elif ip.is_reserved:
        return "where no receiver can be"
    else:
        public = ip.is_global
    if public or allow_private:
        return ""
    return "which is no public address; set allow_private if that is meant"


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = (ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200"))
"""Where clouds tell a machine its credentials, beside the link-local address."""


async def _beginning(answer: httpx.Response) -> bytes:
    data = b""
    async for chunk in answer.aiter_raw():
        data += chunk
        if len(data) >= MAX_ANSWER_BYTES:
            break
    return data[:MAX_ANSWER_BYTES]


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Read ``Retry-After``: seconds, or a date counted from the receiver's own ``Date``."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        until = email.utils.parsedate_to_datetime(text)
        now = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError):  # no date, or one with and one without a zone
        return None
