"""Who may come in at which door, and how much may be sent to it."""

import asyncio
import hmac
import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.core.people import BY_TOKEN, GATEWAY, Person, Role, may
from cloud.web import problems
from cloud.web.people_ports import COOKIE, People
from contract.errors import Malformed

MAX_BODY_BYTES = 256 * 1024
"""Of one API request."""
BY_MAX = 60
"""Longest name that whoever holds the gateway's own token may decide in."""
REPOSITORY = "/api/repository"
"""What is put here or below is read by its route, with bounds of its own."""
PHOTOS = re.compile(r"/api/dispatch/tickets/[^/]+/photos")
"""What is posted here as well."""
OPEN = (
    "/api/", "/assets/", "/_nicegui/", "/_nicegui_ws/", "/feedback/", "/repository/", "/sign-in/",
)  # fmt: skip
"""Below these nobody need be signed in at the console: they have doors of their own, or none."""
OPEN_PATHS = (
    "/sign-in", "/sign-out", "/language", "/healthz", "/readyz", "/metrics", "/openapi.json",
    "/favicon.ico",
)  # fmt: skip
_DDI = re.compile(r"/[^/]+/controller/v1/")
READS = ("GET", "HEAD")

_bearer = HTTPBearer(
    auto_error=False,
    description="The gateway's own token (setting ``api_token_file``), which opens every door, or "
    "the token of another system, which has one role.",
)
_session = APIKeyCookie(
    name=COOKIE,
    scheme_name="Session",
    auto_error=False,
    description="A browser in which somebody is signed in at the console. It may read; what "
    "changes something needs a token, so that no other site can act through a browser.",
)


class Doors:
    """Who may call what: the API's dependencies ask here."""

    def __init__(self, people: People, token: str) -> None:
        """Take people and their tokens, and the gateway's own token, which opens all doors."""
        self._people, self._token = people, token.encode()

    def needs(self, *roles: Role) -> Callable[..., Any]:
        """Return the dependency that lets in whoever has one of these roles, and says who it is.

        It raises HTTPException: 401 for nobody we know, 403 for somebody who may not.
        """
        words = [role.value for role in roles]  # OpenAPI tells them beside the scheme

        async def check(
            request: Request,
            given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer, scopes=words)],
            session: Annotated[str | None, Security(_session, scopes=words)],
        ) -> Person:
            person = await self._known(request, given, session, " or ".join(words))
            if not any(may(person, role) for role in roles):
                why = (
                    f"{person.name} has the role {person.role.value}; "
                    f"this needs {' or '.join(words)}."
                )
                await self._note(request, person.name, why)
                raise HTTPException(403, why)
            return person

        return check

    async def _known(
        self,
        request: Request,
        given: HTTPAuthorizationCredentials | None,
        session: str | None,
        words: str,
    ) -> Person:
        if given is not None:
            person = self._by_token(given.credentials)
            why = "This token is not known here."
            if person is None:
                await self._note(request, "", why)
        elif session and request.method in READS:
            person = self._people.by_session(session)
            why = "Nobody is signed in in this browser any more."
        else:
            person = None
            why = f"This call needs the role {words}, by the token of who has it."
        if person is None:
            raise HTTPException(401, f"{why} Send 'Authorization: Bearer TOKEN'.")
        return person

    def _by_token(self, token: str) -> Person | None:
        if hmac.compare_digest(token.encode(errors="surrogatepass"), self._token):
            return GATEWAY
        return self._people.by_token(token)

    async def _note(self, request: Request, who: str, why: str) -> None:
        call = f"{request.method} {request.url.path}"[:200]
        text = f"{call}, from {address(request)}: {why}"
        await asyncio.to_thread(self._people.refused, who, text)


def decides(person: Person, named: str) -> str:
    """Return in whose name something is decided.

    Args:
        person: who asks.
        named: whom the body names. Only the gateway's own token may name anybody: whoever holds
            it works at the gateway itself, as its commands do.

    Raises:
        Malformed: somebody speaks in another's name.
    """
    if person == GATEWAY:
        return named.strip() + BY_TOKEN if named.strip() else GATEWAY.name
    if named.strip():
        raise Malformed(f"leave 'by' out: with this token {person.name} decides")
    return person.name


def address(request: Request) -> str:
    """Return where a request comes from."""
    return request.client.host if request.client is not None else "nowhere"


class SignedIn:
    """Sends whoever is not signed in from the console's pages to the page where they can."""

    def __init__(self, app: ASGIApp, people: People) -> None:
        self._app, self._people = app, people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through who is known, and whatever needs nobody."""
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if self._people.by_session(request.cookies.get(COOKIE, "")) is not None:
            await self._app(scope, receive, send)
            return
        query = f"?{request.url.query}" if request.url.query else ""
        target = quote(f"{request.url.path}{query}"[:500], safe="")
        answer = RedirectResponse(f"/sign-in?next={target}", 303, {"Cache-Control": "no-store"})
        await answer(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN) or _DDI.match(path) is not None


def tell(app: FastAPI) -> None:
    """Let the application's OpenAPI say what doors answer, and that sessions only read."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for item in plain()["paths"].values():
                for method, call in item.items():
                    if "security" in call:
                        _tell(call, method.upper())
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _tell(call: dict[str, Any], method: str) -> None:
    roles = next(iter(call["security"][0].values()))
    if method not in READS:
        call["security"] = [way for way in call["security"] if "Session" not in way]
    needs = f"Needs the role {' or '.join(roles)}."
    call["description"] = f"{call.get('description', '')}\n\n{needs}".strip()
    schema = {"$ref": "#/components/schemas/Problem"}
    for status, why in (("401", "Nobody we know."), ("403", "Somebody who may not.")):
        call["responses"][status] = {
            "description": why, "content": {problems.MEDIA_TYPE: {"schema": schema}},
        }  # fmt: skip


async def limited_body(request: Request) -> bytes:
    """Return the request's body; `BodyLimit` has bounded it."""
    return await request.body()


RequestBody = Annotated[bytes, Depends(limited_body)]


class BodyLimit:
    """Answers 413 to an API request whose body exceeds `MAX_BODY_BYTES`, declared or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body of an API request ahead, within bounds."""
        if scope["type"] != "http" or not _bounded(scope["path"]) or _streamed(scope):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            answer = problems.response(
                413, f"The body exceeds {MAX_BODY_BYTES} bytes.", scope["path"]
            )
            await answer(scope, receive, send)
            return
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


def _bounded(path: str) -> bool:
    return path.startswith("/api/") or path in OPEN_PATHS


def _streamed(scope: Scope) -> bool:
    """Tell a body that is read only after the token was looked at, piece by piece."""
    path: str = scope["path"]
    if scope["method"] == "POST":
        return PHOTOS.fullmatch(path) is not None
    return scope["method"] == "PUT" and f"{path}/".startswith(f"{REPOSITORY}/")


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, or None as soon as it is too long or the client has gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body
