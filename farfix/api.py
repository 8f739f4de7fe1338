"""The gateway as a client sees it: what commands, the demo and the replay ask of its API."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from contract import codec
from contract.errors import Malformed, Refused, Unreachable
from contract.tickets import ClosingReport, VisitUpdate
from farfix import publishing
from farfix.repository import Room

TIMEOUT_S = 30.0
UPLOAD_TIMEOUT_S = 300.0
"""For the gateway's answer to a large file, which it has to read again."""
CHUNK_BYTES = 256 * 1024
Progress = Callable[[str, int, int], None]
"""Told while a file is handed in: its path, bytes sent, bytes in all."""


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


class _Token(Struct, frozen=True):
    """The answer that shows a token."""

    token: str


class _Problem(Struct, frozen=True):
    """What the gateway answers when it says no (RFC 9457)."""

    detail: str


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

    def issue_token(self, name: str, role: str) -> str:
        """Return a token for another system, with one role."""
        made = self._call("POST", f"/api/tokens/{name}", msgspec.json.encode({"role": role}))
        return msgspec.json.decode(made, type=_Token).token

    def visit(self, key: str, update: VisitUpdate) -> None:
        """Say how the visit of a ticket stands."""
        self._call("PUT", f"/api/dispatch/tickets/{key}/visit", codec.encode(update))

    def report(self, key: str, report: ClosingReport) -> None:
        """Hand in the closing report of a ticket."""
        self._call("PUT", f"/api/dispatch/tickets/{key}/report", codec.encode(report))

    def metric(self, name: str) -> float:
        """Return one number of the gateway's metrics; 0 when it has not been counted yet."""
        for line in self._get("/metrics").decode().splitlines():
            key, _, value = line.rpartition(" ")
            if key == name:
                return float(value)
        return 0.0

    def publish(self, room: Room, tell: Progress = lambda *_: None) -> int:
        """Hand in the images that the gateway lacks, then the metadata; return how many images.

        Raises:
            Malformed: the room was not published, or cannot be read.
        """
        sent = 0
        for path in publishing.image_paths(room):
            file = room.targets / path
            if not self._has(path, file):
                self._upload(path, file, tell)
                sent += 1
        body = msgspec.json.encode({"metadata": publishing.metadata_texts(room)})
        self._call("PUT", "/api/repository", body)
        return sent

    def _has(self, path: str, file: Path) -> bool:
        try:
            answer = self._client.head(f"/api/repository/targets/{path}")
        except httpx.TransportError as error:
            raise Unreachable(f"the gateway does not answer: {error}") from error
        length = answer.headers.get("content-length")
        return answer.status_code == httpx.codes.OK and length == str(file.stat().st_size)

    def _upload(self, path: str, file: Path, tell: Progress) -> None:
        size_bytes = file.stat().st_size
        self._call(
            "PUT",
            f"/api/repository/targets/{path}",
            _read(path, file, size_bytes, tell),
            {"content-type": "application/octet-stream", "content-length": str(size_bytes)},
        )

    def _get(self, path: str) -> bytes:
        return self._call("GET", path, None)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        given = headers or ({} if body is None else {"content-type": "application/json"})
        timeout_s = TIMEOUT_S if body is None else UPLOAD_TIMEOUT_S
        try:
            answer = self._client.request(
                method, path, content=body, headers=given, timeout=timeout_s
            )
        except httpx.TransportError as error:
            raise Unreachable(f"the gateway does not answer {method} {path}: {error}") from error
        if not answer.is_success:
            raise Refused(
                f"the gateway answered {answer.status_code} to {method} {path}: {_reason(answer)}"
            )
        return answer.content


def _reason(answer: httpx.Response) -> str:
    """Return what a problem document says, or the text as it is."""
    try:
        return msgspec.json.decode(answer.content, type=_Problem).detail
    except msgspec.DecodeError:
        return answer.text[:500]


def _read(path: str, file: Path, size_bytes: int, tell: Progress) -> Iterator[bytes]:
    sent = 0
    try:
        with file.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):
                yield chunk
                sent += len(chunk)
                tell(path, sent, size_bytes)
    except OSError as error:
        raise Malformed(f"cannot read {file}: {error.strerror}") from error
