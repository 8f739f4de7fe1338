"""What the service hands to the web: the stores, the live picture and the desk's decisions."""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from cloud.adapters.series import Readable
from cloud.adapters.store import Store
from contract.machines import MachineType
from contract.tickets import ClosingReport, Forecast
from contract.timescale import Timescale
from models.monitor import State

Action = Literal["approve", "reject", "escalate", "dismiss"]
"""What a person may decide about a case."""


class Live(Struct, frozen=True, kw_only=True):
    """The latest that is known of one device."""

    device: str
    online: bool
    """Whether the link to the device is up, as its agent says."""
    last_ns: int | None = None
    """Event time of the latest reading."""
    values: dict[str, float | None] = {}
    """Latest value of each signal, in its unit; ``None`` where it could not be read."""
    state: State | None = None
    """``None`` until the first reading was judged."""
    score: float | None = None
    """1.0 is the alarm level."""
    progress: float = 0.0
    """Of commissioning, 0 to 1."""
    scored: int = 0
    """Readings that its detector has seen, over all restarts."""
    firmware: str = ""
    mode: str = ""
    """Operating mode, in words."""


class Notice(Struct, frozen=True):
    """An early warning about a machine: worth a look at the next visit, no case yet."""

    signal: str
    text: str
    since_ns: int
    """The night in which it stood out first."""


class Desk(Protocol):
    """The service, as the web sees it. All times are plant time in ns since 1970 UTC."""

    @property
    def store(self) -> Store:
        """Cases, tickets, releases and what was quarantined."""

    @property
    def series(self) -> Readable:
        """Telemetry and scores."""

    @property
    def machines(self) -> Mapping[str, MachineType]:
        """Machine types by name."""

    @property
    def timescale(self) -> Timescale:
        """How fast plant time runs; speed 1 in service."""

    def now_ns(self) -> int:
        """Return the plant's time."""

    def live(self, device: str) -> Live | None:
        """Return the latest of a device, or None while nothing came in."""

    def forecast(self, device: str) -> Forecast | None:
        """Return until when a visit should be booked, or None where nothing can be said."""

    def notices(self, device: str) -> list[Notice]:
        """Return how a device stands out among its peers."""

    def unready(self) -> list[str]:
        """Say in sentences what keeps the gateway from its work; empty when it is ready."""

    def troubles(self) -> list[str]:
        """Say in sentences what people should know: full logs, floods, lost telemetry."""

    async def decide(self, case_id: str, action: Action, by: str, why: str) -> None:
        """Apply a person's decision to a case.

        Raises:
            Refused: the case is gone, or its phase leaves nothing to decide.
        """

    async def report(self, case_id: str, report: ClosingReport) -> None:
        """Close a case with the technician's report and keep it as a label.

        Raises:
            Refused: the case is gone, or no ticket of it is open.
        """
