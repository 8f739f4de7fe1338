"""What the web needs of the service about releases, rollouts and machines that speak DDI."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from cloud.core.published import AuditRow, Digests, Kept, RepositoryState
from cloud.core.rollout_states import Candidate, Order, Report, Rollout, Update
from contract.firmware import Release

__all__ = ["AuditRow", "Digests", "Kept", "RepositoryState"]
"""Also from here, for the web's convenience."""

RolloutAction = Literal["approve", "pause", "resume", "cancel", "stop"]
"""What a person may decide about a rollout."""
AttributeMode = Literal["merge", "replace", "remove"]


class StagePlan(Struct, frozen=True, kw_only=True):
    """Which machines one stage would add."""

    devices: list[str]
    soak_s: float


class Preview(Struct, frozen=True, kw_only=True):
    """What a rollout would do."""

    stages: list[StagePlan]
    excluded: dict[str, str]
    """Machines of the selection that would be left out, and why."""
    high_risk: bool
    controls: int
    """Machines of the type that would not be updated in the first stage."""


class HealthPoint(Struct, frozen=True):
    """Updated machines beside those not updated, in one bucket of time; None: nobody heard."""

    at_ns: int
    updated: float | None
    """Median score; 1.0 is the alarm level."""
    control: float | None
    updated_high: float | None
    """The 90th percentile."""
    control_high: float | None


class Health(Struct, frozen=True, kw_only=True):
    """The comparison of a rollout as it stands."""

    points: list[HealthPoint]
    measures: list[str]
    """What is compared: ``score``, then the key signals."""
    looks: list[float]
    """Shares of the soak time, from the policy."""
    log_evidence: list[list[float]]
    """(looks, measures); a stop comes at `log_threshold`."""
    log_threshold: float
    controls: int


class DeviceRecord(Struct, frozen=True, kw_only=True):
    """What is kept about one machine's updates."""

    device: str
    has_token: bool
    attributes: dict[str, str]
    hardware: int
    quarantined: str
    failures: int
    last_poll_ns: int | None
    """When it last asked over DDI, since the gateway started."""


class Rollouts(Protocol):
    """Rollouts, as the web sees them. People are given by name."""

    def kept(self) -> list[Kept]:
        """Return the releases of the repository, newest version first within a machine type."""

    def repository(self) -> RepositoryState | None:
        """Return how the repository stands; None while nothing was published."""

    async def put_artifact(self, path: str, file: Path) -> None:
        """Take in a file that metadata will speak of. The file is moved.

        Raises:
            Refused: another artifact is there under this name, or too much is kept.
        """

    async def publish(self, metadata: Mapping[str, bytes], by: str) -> list[Kept]:
        """Take signed metadata in, all or nothing; refusals go to the audit log.

        Raises:
            Refused: says which check of the TUF client order failed and why.
        """

    def metadata(self, name: str) -> bytes | None:
        """Return a metadata file as it was published, such as ``2.root.json``."""

    def artifact(self, name: str) -> Path | None:
        """Return the file of a target by its name in the repository, hash and all."""

    def candidates(self, machine_type: str) -> list[Candidate]:
        """Return all machines of a type, as selections see them."""

    def preview(self, order: Order) -> Preview:
        """Return what a rollout would do.

        Raises:
            Refused: no such release, no machine left, or the policy makes no sense.
        """

    async def create(self, order: Order, by: str) -> Rollout:
        """Begin a rollout, or hand it to a second person where the risk is high.

        Raises:
            Refused: like `preview`.
        """

    async def decide(self, number: int, action: RolloutAction, by: str, why: str) -> Rollout:
        """Apply a person's decision.

        Raises:
            Refused: there is no such rollout, it does not apply now, or author and approver are
                the same person.
        """

    def all(self) -> list[Rollout]:
        """Return all rollouts, newest first."""

    def one(self, number: int) -> tuple[Rollout, list[Update]] | None:
        """Return a rollout and the updates of its machines."""

    def health(self, number: int) -> Health | None:
        """Return the comparison of a rollout; None where there is nothing to compare."""

    def audit(
        self, limit: int = 100, before_id: int | None = None, rollout: int = 0, device: str = ""
    ) -> list[AuditRow]:
        """Return the audit log, newest first."""

    def device(self, device: str) -> DeviceRecord | None:
        """Return what is kept about a machine; None: no such machine."""

    async def issue_token(self, device: str, by: str) -> str:
        """Make a machine's DDI token, in place of an older one. It is shown once.

        Raises:
            Refused: no such machine, or its type does not speak DDI.
        """

    async def revoke_token(self, device: str, by: str) -> None:
        """Cut the machine off."""

    async def release_from_quarantine(self, device: str, by: str) -> None:
        """Let a machine take part in rollouts again."""


class Offer(Struct, frozen=True, kw_only=True):
    """The open action of a machine, as DDI tells it."""

    action: int
    cancelling: bool
    """It is to be called back; else it is to be carried out."""
    release: Release
    digests: Digests
    window_open: bool = True
    """Outside its maintenance window the machine is shown nothing to begin."""


Standing = Literal["open", "cancelling", "ended", "foreign"]
"""How an action stands to a machine: its open one (two ways), one that it had, or none of its."""


class DdiDesk(Protocol):
    """What the DDI server asks of the service. Devices are named by their controller id."""

    def admitted(self, device: str, token: str) -> bool:
        """Tell whether this is the machine's own token, in constant time; unknown: False."""

    def gateway_admitted(self, token: str) -> bool:
        """Tell whether this is the gateway token, if one is set at all."""

    def denied(self, device: str, why: str) -> None:
        """Take a refused request to the audit log, at a bounded rate."""

    def polled(self, device: str) -> None:
        """Note that the machine has asked."""

    def offer(self, device: str) -> Offer | None:
        """Return what the machine shall do now."""

    def standing(self, device: str, action: int) -> Standing:
        """Tell how an action stands to a machine."""

    async def reported(self, device: str, action: int, report: Report, details: str) -> None:
        """Take the client's word; what it said is kept with the audit log's bounds."""

    async def fetched(self, device: str, action: int) -> None:
        """Note that the image of the open action was asked for."""

    def artifact_path(self, release: Release) -> Path | None:
        """Return the file of a release."""

    def wants_attributes(self, device: str) -> bool:
        """Tell whether the machine should send its attributes."""

    async def set_attributes(
        self, device: str, data: Mapping[str, str], mode: AttributeMode
    ) -> None:
        """Keep what the machine says of itself (``hw_revision`` becomes its hardware).

        Raises:
            Refused: more than 100 attributes, or one that is too long.
        """
