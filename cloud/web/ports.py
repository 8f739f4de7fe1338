"""What the service hands to the web: the stores, the live picture and the desk's decisions."""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from cloud.adapters.series import Readable
from cloud.adapters.store import Store
from cloud.core.playbook import Playbooks
from cloud.core.states import Step
from contract.commands import Answer
from contract.faults import Severity
from contract.machines import MachineType
from contract.tickets import ClosingReport, Forecast, VisitUpdate
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


class Alert(Struct, frozen=True, kw_only=True):
    """An alert of another system about one machine."""

    id: str
    """The same from its beginning to its end."""
    device: str
    ended: bool
    title: str
    detail: str
    severity: Severity
    at_ns: int
    fault: str = ""
    """Code of the machine type's fault table, where the alert names one."""


class HandOrder(Struct, frozen=True, kw_only=True):
    """A command that a person sends to a machine by hand."""

    id: str
    """Of the sender's making. The same order again sends nothing."""
    device: str
    name: str
    """Of the command, in its machine type."""
    argument: float | None = None
    """In the unit of the machine type; None where it takes none."""


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
    def playbooks(self) -> Playbooks:
        """What is tried for which fault, as it is in force."""

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

    def remedies(self, case_id: str) -> list[Step]:
        """Return the remedies of the machine's type that a person may have tried next."""

    async def attempt(self, case_id: str, remedy: str, by: str) -> None:
        """Try a remedy next; whoever asks for it agrees to it.

        Raises:
            Refused: the case is gone, the remedy is unknown, or a command is out.
        """

    async def pause(self, case_id: str, by: str, why: str, until_ns: int) -> None:
        """Let the promise's clock stand still, because the customer asked to wait.

        Raises:
            Refused: the case is gone or paused, its service level allows no such wait (see
                `Plan.terms`), or the time is not ahead.
        """

    async def resume(self, case_id: str, by: str) -> None:
        """Let the promise's clock run again.

        Raises:
            Refused: the case is gone, or not paused.
        """

    async def command(self, order: HandOrder, by: str) -> None:
        """Send a command to a machine by hand; it is audited. The same again sends nothing.

        Raises:
            Refused: the machine has an open case, or takes no such command or argument; or the
                id was another order's.
            Unreachable: the broker did not take it; it was not sent.
        """

    def answer(self, order_id: str) -> Answer | None:
        """Return what came back for a command that was sent by hand; None: nothing yet."""

    async def alerted(self, alert: Alert) -> str:
        """Take another system's alert: open a case, or end the one it opened; return its id.

        An open case of the machine stays as it is and is told about it. Empty: nothing to do.

        Raises:
            Refused: no such machine.
        """

    async def visited(self, key: str, update: VisitUpdate) -> None:
        """Take what dispatch says about the visit of a ticket; the same again changes nothing.

        Raises:
            Refused: there is no such ticket, or its visit is over and somebody must be told so.
        """

    async def report(self, case_id: str, report: ClosingReport) -> None:
        """Close a case with the technician's report and keep it as a label.

        Raises:
            Refused: the case is gone, or no ticket of it is open.
        """
