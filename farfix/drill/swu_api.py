"""What the drill asks of the gateway's API, as any client may."""

import httpx
import msgspec
from msgspec import Struct

from cloud.core.rollout_states import Order, UpdatePhase
from contract.errors import Refused, Unreachable
from farfix.api import Case

TIMEOUT_S = 30.0
BY = "drill"


class Machine(Struct, frozen=True):
    """One machine, as the gateway sees it."""

    firmware: str
    case: Case | None


class Update(Struct, frozen=True):
    """One machine's part in a rollout."""

    phase: UpdatePhase
    entered_ns: int
    detail: str
    report: str
    version: str


class _Page(Struct, frozen=True):
    updates: list[Update]


class _Token(Struct, frozen=True):
    token: str


class Rollout(Struct, frozen=True):
    """A rollout, in short."""

    number: int
    open: bool
    """Something can still happen in it."""


class Api:
    """The gateway; every call may raise `Unreachable` or `Refused`."""

    def __init__(self, base_url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def machine(self, device: str) -> Machine:
        """Return a machine as it is now."""
        return msgspec.json.decode(await self._call("GET", f"machines/{device}"), type=Machine)

    async def issue_token(self, device: str) -> str:
        """Return a new DDI token of a machine."""
        answer = await self._call("POST", f"devices/{device}/token", {"by": BY, "why": "drill"})
        return msgspec.json.decode(answer, type=_Token).token

    async def begin(self, order: Order) -> int:
        """Begin a rollout; return its number."""
        body = {"by": BY, "order": msgspec.to_builtins(order)}
        return msgspec.json.decode(await self._call("POST", "rollouts", body), type=Rollout).number

    async def decide(self, number: int, action: str) -> None:
        """Pause, resume, cancel or stop a rollout."""
        await self._call("POST", f"rollouts/{number}/{action}", {"by": BY, "why": "drill"})

    async def rollout(self, number: int) -> Rollout:
        """Return a rollout as it is now."""
        return msgspec.json.decode(await self._call("GET", f"rollouts/{number}"), type=Rollout)

    async def update(self, number: int) -> Update:
        """Return the update of a rollout's only machine."""
        answer = await self._call("GET", f"rollouts/{number}/updates")
        (update,) = msgspec.json.decode(answer, type=_Page).updates
        return update

    async def _call(self, method: str, path: str, body: object = None) -> bytes:
        try:
            answer = await self._client.request(method, f"/api/{path}", json=body)
        except httpx.TransportError as error:
            raise Unreachable(f"the gateway does not answer {method} {path}: {error}") from error
        if not answer.is_success:
            raise Refused(
                f"the gateway answered {answer.status_code} to {method} {path}: {answer.text[:500]}"
            )
        return answer.content
