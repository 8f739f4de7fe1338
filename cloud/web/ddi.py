"""The DDI server of Eclipse hawkBit, for machines that fetch their releases themselves.

Nobody is registered by asking: a machine needs its own token, and an unknown machine gets the same
answer as a wrong token. Every request's body is read to its end before the answer, or the next
request on the connection would begin inside it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from cloud.core import ddi
from cloud.core.rollout_states import Report
from cloud.web import problems
from cloud.web.downloads import Artifact
from cloud.web.rollout_ports import DdiDesk, Offer, Standing
from contract import topics
from contract.errors import Malformed, Refused, Unreachable

TENANT = "DEFAULT"
"""In any case; links say it so, because Zephyr asks in small letters and looks for large ones."""
MAX_BODY_BYTES = 64 * 1024
"""Of what a client says; swupdate's largest reports have some kilobytes."""
MAX_DRAIN_BYTES = 1024 * 1024
"""So much more is read and thrown away before the connection is closed instead."""
BODY_S = 20.0
"""So long a body may take to come."""
MAX_TOKEN_CHARS = 256
_NAME = re.compile(topics.NAME_PATTERN)


class _Call(NamedTuple):
    """One request of an admitted machine."""

    desk: DdiDesk
    device: str
    home: str
    """The machine's own URL: all others lie below it."""
    sleep: str
    request: Request
    body: bytes


Answer = Callable[[_Call], Awaitable[Response]]


def routes(desk: DdiDesk, base_url: str, poll_s: float) -> APIRouter:
    """Return the routes of ``/{tenant}/controller/v1/{device}``.

    Args:
        desk: the service.
        base_url: as machines reach the gateway; their links begin with it.
        poll_s: how often machines shall ask.
    """
    router = APIRouter()
    sleep = ddi.sleep(poll_s)
    for method, path, answer in (
        ("GET", "", _poll),
        ("GET", "/deploymentBase/{action}", _deployment),
        ("POST", "/deploymentBase/{action}/feedback", _feedback),
        ("GET", "/cancelAction/{action}", _cancel),
        ("POST", "/cancelAction/{action}/feedback", _cancel_feedback),
        ("PUT", "/configData", _attributes),
        ("GET", "/softwaremodules/{action}/artifacts/{file}", _artifact),
    ):
        router.add_route(
            "/{tenant}/controller/v1/{device}" + path,
            _endpoint(answer, desk, base_url.rstrip("/"), sleep),
            methods=[method],
            include_in_schema=False,
        )
    return router


def _endpoint(
    answer: Answer, desk: DdiDesk, base_url: str, sleep: str
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        body, whole = await _read(request)
        tenant, device = request.path_params["tenant"], request.path_params["device"]
        if tenant.upper() != TENANT:
            response = _problem(404, f"The only tenant here is {TENANT}.")
        elif not _admitted(desk, device, request.headers.get("authorization", "")):
            response = _problem(401, "This machine or this token is not known here.")
        elif len(body) > MAX_BODY_BYTES:
            response = _problem(413, f"A body may have at most {MAX_BODY_BYTES} bytes.")
        elif not whole:
            response = _problem(408, f"The body did not come within {BODY_S:.0f} s.")
        else:
            home = f"{base_url}/{TENANT}/controller/v1/{device}"
            response = await _answered(answer, _Call(desk, device, home, sleep, request, body))
        if not whole:
            response.headers["Connection"] = "close"
        return response

    return handle


async def _answered(answer: Answer, call: _Call) -> Response:
    try:
        return await answer(call)
    except (Malformed, Refused) as error:
        return _problem(400, str(error))
    except Unreachable as error:
        return _problem(503, str(error))


async def _read(request: Request) -> tuple[bytes, bool]:
    """Return the body as far as it is kept, and whether the request has been read to its end."""
    body, read = b"", 0
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk[: MAX_BODY_BYTES + 1 - len(body)]
                read += len(chunk)
                if read > MAX_DRAIN_BYTES:
                    return body, False
    except (TimeoutError, ClientDisconnect):
        return body, False
    return body, True


def _admitted(desk: DdiDesk, device: str, authorization: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    kind = scheme.lower()
    if not _NAME.fullmatch(device):
        why = "no machine can have this name"
    elif kind not in ("targettoken", "gatewaytoken"):
        why = "no token"
    elif not (token.isascii() and token.isprintable() and 0 < len(token) <= MAX_TOKEN_CHARS):
        why = "a token as none is given out"
    elif desk.admitted(device, token) if kind == "targettoken" else desk.gateway_admitted(token):
        return True
    else:
        why = "not known, or a wrong token"
    desk.denied(ddi.harmless(device[:64]), why)
    return False


async def _poll(call: _Call) -> Response:
    """Tell what there is to do.

    Outside its maintenance window a machine is told of no update, although DDI has words for it
    ("skip", "unavailable"): swupdate reports a skipped update as done, Zephyr installs it.
    """
    call.desk.polled(call.device)
    offer = call.desk.offer(call.device)
    deployment = cancel = ""
    if offer is not None and offer.cancelling:
        cancel = f"{call.home}/cancelAction/{offer.action}"  # clients append "/feedback"
    elif offer is not None and offer.window_open:
        changes = int(offer.release.sha256[:7], 16)
        deployment = f"{call.home}/deploymentBase/{offer.action}?c={changes}"
    config = f"{call.home}/configData" if call.desk.wants_attributes(call.device) else ""
    body = ddi.poll_body(call.sleep, deployment=deployment, cancel=cancel, config=config)
    return _json(call, body)


async def _deployment(call: _Call) -> Response:
    offer = _offer(call)
    if offer is None or offer.cancelling or not offer.window_open:
        return _not_open(call)
    name = ddi.filename(offer.release)
    href = f"{call.home}/softwaremodules/{offer.action}/artifacts/{name}"
    hashes = msgspec.structs.asdict(offer.digests)
    return _json(call, ddi.deployment_body(offer.action, offer.release, hashes, href))


async def _cancel(call: _Call) -> Response:
    offer = _offer(call)
    if offer is None or not offer.cancelling:
        return _not_open(call)
    return _json(call, ddi.cancel_body(offer.action))


async def _feedback(call: _Call) -> Response:
    return await _reported(call, ddi.update_report, ("open", "cancelling"))


async def _cancel_feedback(call: _Call) -> Response:
    return await _reported(call, ddi.cancel_report, ("cancelling",))


async def _reported(
    call: _Call, meaning: Callable[[ddi.Feedback], Report], standings: tuple[Standing, ...]
) -> Response:
    """Hand a client's word to the desk, for the action that the client names and no other."""
    number = _action(call)
    standing = "foreign" if number is None else call.desk.standing(call.device, number)
    if number is None or standing not in (*standings, "ended"):
        return _not_open(call)
    said = ddi.feedback(call.body)
    await call.desk.reported(call.device, number, meaning(said), said.details)
    if standing == "ended":
        return _problem(410, f"Action {number} has ended.")
    return Response(status_code=200)


async def _attributes(call: _Call) -> Response:
    said = ddi.attributes(call.body)
    await call.desk.set_attributes(call.device, said.data, said.mode)
    return Response(status_code=200)


async def _artifact(call: _Call) -> Response:
    """Give out the artifact of the open action, whole or in ranges.

    Also outside the maintenance window and while it is called back: half an image helps nobody.
    """
    offer = _offer(call)
    if offer is None:
        return _not_open(call)
    name, asked = ddi.filename(offer.release), call.request.path_params["file"]
    if asked == f"{name}.MD5SUM":
        return PlainTextResponse(f"{offer.digests.md5}  {name}\n")
    if asked != name:
        return _problem(404, f"The action's only artifact is {name}.")
    wanted = call.request.headers.get("if-match", "*")
    if wanted.strip() != "*" and offer.digests.sha1 not in re.findall(r"[0-9a-f]{40}", wanted):
        return _problem(412, f"The artifact's SHA-1 is {offer.digests.sha1}.")
    path = call.desk.artifact_path(offer.release)
    if path is None or not path.is_file():
        raise Unreachable(f"{name} is not here now; ask again later")
    if call.request.method == "GET":
        await call.desk.fetched(call.device, offer.action)
    return Artifact(path, offer.digests.sha1, cache="no-store")


def _action(call: _Call) -> int | None:
    return ddi.action(call.request.path_params["action"])


def _offer(call: _Call) -> Offer | None:
    """Return the machine's open action if it is the one of the path."""
    offer = call.desk.offer(call.device)
    return offer if offer is not None and offer.action == _action(call) else None


def _not_open(call: _Call) -> Response:
    """Answer 404, and tell the desk if the action was never the machine's own."""
    number = _action(call)
    if number is None or call.desk.standing(call.device, number) == "foreign":
        named = ddi.harmless(call.request.path_params["action"][:20])
        call.desk.denied(call.device, f"asked about action {named}, which it never had")
    return _problem(404, "This action is not open in this way.")


def _json(call: _Call, data: dict[str, Any]) -> Response:
    body = msgspec.json.encode(data)
    etag = f'"{blake2b(body, digest_size=8).hexdigest()}"'
    if call.request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(body, media_type="application/json", headers={"ETag": etag})


def _problem(status: int, detail: str) -> Response:
    """Return a problem that says nothing of the path, so that all of one kind are alike."""
    body = msgspec.json.encode({"status": status, "detail": detail})
    headers = {"WWW-Authenticate": "TargetToken"} if status == 401 else None
    return Response(body, status, headers, problems.MEDIA_TYPE)
