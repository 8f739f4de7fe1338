"""The gateway as a client sees it: what the demo and the replay ask of its API."""

import httpx
import msgspec
from msgspec import Struct

from contract.errors import Refused, Unreachable

TIMEOUT_S = 30.0


class Case(Struct, frozen=True):
    """One line about a case."""

    case_id: str
    device: str
    fault: str
    title: str
    phase: str
    phase_text: str
    open: bool
    opened_ns: int
    updated_ns: int


class Machine(Struct, frozen=True):
    """One machine and how it is."""

    device: str
    status: str
    status_text: str
    score: float | None
    progress: float
    mode: str
    firmware: str
    case: Case | None


class Fleet(Struct, frozen=True):
    """All machines."""

    now_ns: int
    machines: list[Machine]


class Hypothesis(Struct, frozen=True):
    """One explanation."""

    fault: str
    probability: float


class Deviation(Struct, frozen=True):
    """One signal's share in the alarm."""

    signal: str
    direction: str
    sigmas: float


class Attempt(Struct, frozen=True):
    """One remote attempt."""

    remedy: str
    result: str
    sent_ns: int
    ended_ns: int | None
    detail: str


class Entry(Struct, frozen=True):
    """One line of a case's timeline."""

    at_ns: int
    text: str


class Detail(Struct, frozen=True):
    """The story of a case."""

    case_id: str
    device: str
    phase: str
    open: bool
    opened_ns: int
    updated_ns: int
    hypotheses: list[Hypothesis]
    deviations: list[Deviation]
    attempts: list[Attempt]
    timeline: list[Entry]
    ticket_key: str | None


class Gateway:
    """The gateway's API; every call may raise `Unreachable` or `Refused`."""

    def __init__(self, base_url: str, token: str = "") -> None:
        self._client = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def healthy(self) -> bool:
        """Tell whether the gateway is ready for work."""
        try:
            return self._client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def fleet(self) -> Fleet:
        """Return all machines."""
        return msgspec.json.decode(self._get("/api/fleet"), type=Fleet)

    def cases(self) -> list[Case]:
        """Return all cases, open or not."""
        return msgspec.json.decode(self._get("/api/cases?limit=500"), type=list[Case])

    def case(self, case_id: str) -> Detail:
        """Return a case's story."""
        return msgspec.json.decode(self._get(f"/api/cases/{case_id}"), type=Detail)

    def metric(self, name: str) -> float:
        """Return one number of the gateway's metrics; 0 when it has not been counted yet."""
        for line in self._get("/metrics").decode().splitlines():
            key, _, value = line.rpartition(" ")
            if key == name:
                return float(value)
        return 0.0

    def upload(self, release: bytes) -> None:
        """Hand in a signed firmware release."""
        self._call("POST", "/api/releases", release)

    def _get(self, path: str) -> bytes:
        return self._call("GET", path, None)

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            answer = self._client.request(method, path, content=body, headers=headers)
        except httpx.TransportError as error:
            raise Unreachable(f"the gateway does not answer {method} {path}: {error}") from error
        if not answer.is_success:
            raise Refused(
                f"the gateway answered {answer.status_code} to {method} {path}: {answer.text[:500]}"
            )
        return answer.content
