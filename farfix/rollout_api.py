"""Rollouts over the gateway's API, as a client sees them."""

from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct
from pydantic import BaseModel, TypeAdapter, ValidationError

from cloud.core.rollout_states import Order, UpdatePhase
from cloud.web.rollout_ports import RolloutAction
from cloud.web.rollout_schemas import (
    PreviewView,
    RolloutBrief,
    RolloutView,
    TokenView,
    UpdatePage,
)
from contract.errors import Malformed, Refused, Unreachable

TIMEOUT_S = 30.0
V = TypeVar("V", bound=BaseModel)
_briefs = TypeAdapter(list[RolloutBrief])


class _Problem(Struct, frozen=True):
    """What the gateway answers when it says no (RFC 9457)."""

    detail: str


class RolloutApi:
    """Calls may raise `Unreachable`, `Refused` by the gateway, or `Malformed` for a wrong order."""

    def __init__(self, base_url: str, token: str = "") -> None:
        """Connect to a gateway.

        Raises:
            Malformed: the URL is none.
        """
        try:
            self._client = httpx.Client(
                base_url=base_url,
                headers={"authorization": f"Bearer {token}"} if token else {},
                timeout=TIMEOUT_S,
                trust_env=False,
            )
        except httpx.InvalidURL as error:
            raise Malformed(f"--gateway {base_url!r} is no URL: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def preview(self, order: Order) -> PreviewView:
        """Return what a rollout would do."""
        return _read(PreviewView, self._call("POST", "/api/rollouts/preview", order))

    def start(self, order: Order, by: str) -> RolloutView:
        """Begin a rollout."""
        body = {"by": by, "order": order}
        return _read(RolloutView, self._call("POST", "/api/rollouts", body))

    def list(self, limit: int) -> list[RolloutBrief]:
        """Return rollouts, newest first."""
        answer = self._call("GET", f"/api/rollouts?limit={limit}")
        try:
            return _briefs.validate_json(answer)
        except ValidationError as error:
            raise _strange(error) from error

    def one(self, number: int) -> RolloutView:
        """Return a rollout with its stages."""
        return _read(RolloutView, self._call("GET", f"/api/rollouts/{number}"))

    def updates(self, number: int, phase: UpdatePhase, limit: int) -> UpdatePage:
        """Return machines of a rollout in a phase."""
        query = f"phase={phase.value}&limit={limit}"
        return _read(UpdatePage, self._call("GET", f"/api/rollouts/{number}/updates?{query}"))

    def decide(self, number: int, action: RolloutAction, by: str, why: str) -> RolloutView:
        """Approve, pause, resume, cancel or stop."""
        body = {"by": by, "why": why}
        return _read(RolloutView, self._call("POST", f"/api/rollouts/{number}/{action}", body))

    def issue_token(self, device: str, by: str) -> TokenView:
        """Make a machine's DDI token, in place of an older one."""
        path = f"/api/devices/{quote(device, safe='')}/token"
        return _read(TokenView, self._call("POST", path, {"by": by}))

    def _call(self, method: str, path: str, body: object = None) -> bytes:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            answer = self._client.request(method, path, content=content, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(f"the gateway does not answer {method} {path}: {error}") from error
        if answer.is_success:
            return answer.content
        said = _said(answer)
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise Malformed(said)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise Refused(f"{said} Name its file with --token-file.")
        raise Refused(said)


def _said(answer: httpx.Response) -> str:
    """Return what the gateway says of a call that failed."""
    try:
        return msgspec.json.decode(answer.content, type=_Problem).detail
    except msgspec.DecodeError:  # not from the gateway itself: a proxy's page, for example
        return f"the answer to {answer.request.url} was {answer.status_code}: {answer.text[:300]}"


def _read(kind: type[V], answer: bytes) -> V:
    try:
        return kind.model_validate_json(answer)
    except ValidationError as error:
        raise _strange(error) from error


def _strange(error: ValidationError) -> Refused:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return Refused(
        f"the gateway answered what this version does not understand ({where}: {first['msg']}): "
        "use the 'farfix' of the gateway's version"
    )
