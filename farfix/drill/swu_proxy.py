"""A proxy between swupdate and the gateway that knows HTTP: it refuses, forges, cuts, and listens.

Everybody's requests pass one port. Which computer asks stands in the path of every DDI request.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

TIMEOUT_S = 60.0
CHUNK_BYTES = 16 * 1024
STARTED_S = 60.0
_DDI = re.compile(r"/[^/]+/controller/v1/(?P<device>[^/]+)(?P<rest>/.*)?")
_FEEDBACK = re.compile(r"/(deploymentBase|cancelAction)/(\d+)/feedback")
_EXECUTION = re.compile(rb'"execution"\s*:\s*"(\w+)"')
_FINISHED = re.compile(rb'"finished"\s*:\s*"(\w+)"')
"""Of what swupdate says; its log lines, further on, need not be JSON."""
_FROM = re.compile(r"bytes=(\d+)-")
_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "date", "server"})


class Strike(Struct, frozen=True):
    """Something happens at a byte of a download."""

    at_byte: int
    cut: bool
    """The connection ends there."""
    hold_s: float = 0.0
    """So long nothing passes there; for whoever waits for `Wire.struck`."""


class Cut(Exception):
    """The connection ends here."""


class Wire:
    """One computer's way to the gateway: what is wrong with it, and what passed."""

    def __init__(self) -> None:
        self.refusals = 0
        """So many of the next requests are answered 503."""
        self.wrong_hash = False
        self.strikes: list[Strike] = []
        """In the order of their bytes; each happens once."""
        self.struck = asyncio.Event()
        self.counts: Counter[str] = Counter()
        """``refused``, ``forged``, ``cut``, ``struck``, ``denied``, ``ranges``, ``bytes``,
        ``cancels``."""
        self.offers: dict[int, str] = {}
        """Version by action, as the client was told."""
        self.word: dict[int, str] = {}
        """How the client said that an action has ended."""
        self.claimed = ""
        """Version of the last action that the client called a success."""

    def offered(self, body: bytes) -> bytes:
        """Note an offer; return it as the client shall see it."""
        offer = json.loads(body)
        chunk = offer["deployment"]["chunks"][0]
        self.offers[int(offer["id"])] = chunk["version"]
        if not self.wrong_hash:
            return body
        self.counts["forged"] += 1
        for artifact in chunk["artifacts"]:
            artifact["hashes"]["sha1"] = "0" * 40
        return json.dumps(offer).encode()

    def said(self, kind: str, action: int, body: bytes) -> None:
        """Note what the client says, if it is its last word about an action."""
        execution, finished = _EXECUTION.search(body), _FINISHED.search(body)
        if execution is None or finished is None or execution[1] != b"closed":
            return
        if kind == "cancelAction":
            self.counts["cancels"] += 1
            self.word[action] = "canceled"
            return
        self.word[action] = finished[1].decode()
        if finished[1] == b"success":
            self.claimed = self.offers.get(action, "")


class Proxy:
    """Passes requests on to the gateway."""

    def __init__(self, target: str) -> None:
        self.wires: dict[str, Wire] = {}
        """By computer; others are passed on unchanged."""
        self._client = httpx.AsyncClient(base_url=target, timeout=TIMEOUT_S, trust_env=False)

    async def serve(self, request: Request) -> Response:
        """Answer one request."""
        body = await request.body()
        found = _DDI.fullmatch(request.url.path)
        wire = self.wires.get(found["device"]) if found else None
        rest = (found["rest"] or "") if found else ""
        if wire is not None and wire.refusals > 0:
            wire.refusals -= 1
            wire.counts["refused"] += 1
            return Response(status_code=503)
        answer = await self._ask(request, body)
        headers = {k: v for k, v in answer.headers.items() if k not in _HOP}
        if wire is None or not _is_bundle(request.method, rest):
            content = b"".join([part async for part in answer.aiter_raw()])
            await answer.aclose()
            if wire is not None:
                content = _overheard(wire, rest, body, answer.status_code, content)
            headers["content-length"] = str(len(content))
            return Response(content, answer.status_code, headers)
        asked = _FROM.match(request.headers.get("range", ""))
        start = int(asked[1]) if asked and answer.status_code == 206 else 0
        wire.counts["ranges"] += start > 0
        return StreamingResponse(_stream(wire, answer, start), answer.status_code, headers)

    async def _ask(self, request: Request, body: bytes) -> httpx.Response:
        passed = {k: v for k, v in request.headers.items() if k not in _HOP}
        asked = self._client.build_request(
            request.method, request.url.path, params=request.query_params, headers=passed,
            content=body,
        )  # fmt: skip
        return await self._client.send(asked, stream=True)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


class _Server(uvicorn.Server):
    """Without signal handling of its own: the drill ends in its own order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def proxy(target: str, port: int) -> AsyncIterator[Proxy]:
    """Listen on a port of the loopback until the block ends."""
    made = Proxy(target)
    methods = ["GET", "POST", "PUT"]
    app = Starlette(routes=[Route("/{path:path}", made.serve, methods=methods)])
    config = uvicorn.Config(app, port=port, log_level="critical", lifespan="off")
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(STARTED_S):
            while not server.started:  # noqa: ASYNC110 - it has no event to wait for
                await asyncio.sleep(0.02)
        yield made
    finally:
        server.should_exit = server.force_exit = True
        await serving
        await made.close()


def _is_bundle(method: str, rest: str) -> bool:
    return method == "GET" and "/artifacts/" in rest and not rest.endswith(".MD5SUM")


def _overheard(wire: Wire, rest: str, asked: bytes, status: int, answer: bytes) -> bytes:
    wire.counts["denied"] += status == 401
    feedback = _FEEDBACK.fullmatch(rest)
    if feedback and status == 200:
        wire.said(feedback[1], int(feedback[2]), asked)
    if not feedback and rest.startswith("/deploymentBase/") and status == 200:
        return wire.offered(answer)
    return answer


async def _stream(wire: Wire, answer: httpx.Response, start: int) -> AsyncIterator[bytes]:
    """Pass a download on, from a byte of the bundle."""
    at = start
    try:
        async for part in answer.aiter_raw(CHUNK_BYTES):
            left = part
            while wire.strikes and wire.strikes[0].at_byte <= at + len(left):
                strike = wire.strikes.pop(0)
                head = max(0, strike.at_byte - at)
                yield left[:head]
                at, left = at + head, left[head:]
                wire.counts["struck"] += 1
                wire.struck.set()
                await asyncio.sleep(strike.hold_s)
                if strike.cut:
                    wire.counts["cut"] += 1
                    raise Cut
            at += len(left)
            wire.counts["bytes"] += len(part)
            yield left
    finally:
        await answer.aclose()
