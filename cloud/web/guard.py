"""Who may change something over the API, and how much may be sent to it."""

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.core.people import Person, Role
from cloud.web import problems
from cloud.web.people_ports import People

MAX_BODY_BYTES = 256 * 1024
"""Of one API request."""
REPOSITORY = "/api/repository"
"""What is put here or below is read by its route, with bounds of its own."""

_bearer = HTTPBearer(
    auto_error=False, description="The gateway's API token (setting ``api_token_file``)."
)


def bearer(token: str) -> Callable[..., None]:
    """Return the dependency that asks for the token."""
    expected = token.encode()

    def check(
        given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected):
            raise HTTPException(
                401,
                "This call changes something and needs the gateway's token: "
                "send 'Authorization: Bearer TOKEN'.",
            )

    return check


class Doors:
    """Who may call what: the API's dependencies ask here."""

    def __init__(self, people: People, token: str) -> None:
        """Take people and their tokens, and the gateway's own token, which opens all doors."""
        self._people, self._token = people, token.encode()

    def needs(self, role: Role) -> Callable[..., Person]:
        """Return the dependency that lets in whoever has a role, and says who it is."""

        def check(
            given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
        ) -> Person:
            if given is None or not hmac.compare_digest(given.credentials.encode(), self._token):
                raise HTTPException(401, f"This call needs the role {role.value}: send a token.")
            return Person("api", Role.ADMIN)

        return check


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
        if scope["type"] != "http" or not scope["path"].startswith("/api/") or _streamed(scope):
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


def _streamed(scope: Scope) -> bool:
    """Tell a body that is read only after the token was looked at, piece by piece."""
    path: str = scope["path"]
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
