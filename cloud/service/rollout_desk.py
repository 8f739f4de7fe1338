"""Releases and rollouts, as the web sees them (`cloud.web.rollout_ports.Rollouts`)."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import asdict

from cloud.core import rollout as rules
from cloud.core import stages
from cloud.core.published import AuditRow, Kept, RepositoryState
from cloud.core.rollout_states import (
    Approved,
    Canceled,
    Candidate,
    Event,
    Order,
    Paused,
    Record,
    Resumed,
    Rollout,
    StopAsked,
    Update,
)
from cloud.service.devices import Devices
from cloud.service.parts import Parts
from cloud.service.releases import Releases
from cloud.service.rollouts import Rollouts, Updates
from cloud.service.sight import Sight
from cloud.web.rollout_ports import DeviceRecord, Health, Preview, RolloutAction, StagePlan
from contract.errors import FarfixError, Refused
from contract.firmware import Claims, Release
from contract.machines import CommandKind

_DECISIONS: Mapping[RolloutAction, Callable[[str, str], Event]] = {
    "approve": lambda by, _: Approved(by=by),
    "pause": lambda by, why: Paused(by=by, why=why),
    "resume": lambda by, _: Resumed(by=by),
    "cancel": lambda by, why: Canceled(by=by, why=why),
    "stop": lambda by, why: StopAsked(by=by, why=why),
}


class RolloutDesk:
    """Serves people: through the console, the API and the command line."""

    def __init__(
        self,
        parts: Parts,
        rollouts: Rollouts,
        releases: Releases,
        devices: Devices,
        *,
        sight: Sight,
        view: Callable[[Rollout, Updates], Health | None],
    ) -> None:
        self._parts, self._rollouts, self._releases = parts, rollouts, releases
        self._devices, self._sight, self._view = devices, sight, view

    # Releases.

    def kept(self) -> list[Kept]:
        """Return the releases of the repository."""
        return self._releases.kept()

    def repository(self) -> RepositoryState | None:
        """Return how the repository stands."""
        return self._releases.repository.state()

    async def put_artifact(self, path: str, file: Path) -> None:
        """Take in a file that metadata will speak of.

        Raises:
            Refused: another artifact is there under this name, or too much is kept.
        """
        await asyncio.to_thread(self._releases.repository.put_artifact, path, file)

    async def publish(self, metadata: Mapping[str, bytes], by: str) -> list[Kept]:
        """Take signed metadata in, all or nothing.

        Raises:
            Refused: says which check failed and why.
        """
        try:
            kept = await asyncio.to_thread(self._releases.repository.publish, metadata)
        except FarfixError as error:
            self._rollouts.record(Record(by, "metadata refused", str(error)))
            raise
        said = ", ".join(f"{k.release.machine_type} {k.release.version}" for k in kept)
        self._rollouts.record(
            Record(by, "published", f"The repository holds: {said or 'nothing'}.")
        )
        return self.kept()

    def metadata(self, name: str) -> bytes | None:
        """Return a metadata file as it was published."""
        return self._releases.repository.metadata(name)

    def artifact(self, name: str) -> Path | None:
        """Return the file of a target by its name in the repository."""
        return self._releases.repository.artifact(name)

    # Rollouts.

    def candidates(self, machine_type: str) -> list[Candidate]:
        """Return all machines of a type, as selections see them."""
        return [
            Candidate(
                device=asset.device,
                site=asset.site,
                labels=asset.labels,
                hardware=self._devices.hardware(asset.device),
                version=self._sight.seen(asset.device).version,
                quarantined=self._devices.row(asset.device).quarantined,
            )
            for asset in self._parts.assets.values()
            if asset.machine_type == machine_type
        ]

    def preview(self, order: Order) -> Preview:
        """Return what a rollout would do.

        Raises:
            Refused: no such release, no machine left, or the policy makes no sense.
        """
        rules.check(order)
        claims = self.claims(order)
        candidates = self.candidates(order.machine_type)
        chosen, excluded = stages.eligible(claims, order.selection, candidates)
        plan = stages.plan(order.policy, chosen, seed=self._rollouts.next_number())
        return Preview(
            stages=[
                StagePlan(devices=devices, soak_s=stage.soak_s)
                for devices, stage in zip(plan, order.policy.stages, strict=True)
            ],
            excluded=excluded,
            high_risk=claims.high_risk,
            controls=len(candidates) - len(plan[0]) if plan else 0,
        )

    def claims(self, order: Order) -> Claims:
        """Return what is signed about the release that is asked for.

        Its risk is high if the release says so, or if the machine type says so of any update.

        Raises:
            Refused: it may not be brought to machines now.
        """
        release = self._releases.offerable(order.machine_type, order.version).release
        commands = self._parts.machines[order.machine_type].commands
        risky = any(c.high_risk for c in commands if c.kind is CommandKind.UPDATE_FIRMWARE)
        return _claims(release, high_risk=release.high_risk or risky)

    async def create(self, order: Order, by: str) -> Rollout:
        """Begin a rollout, or hand it to a second person.

        Raises:
            Refused: like `preview`.
        """
        candidates = self.candidates(order.machine_type)
        return self._rollouts.create(order, by, self.claims(order), candidates)

    async def decide(self, number: int, action: RolloutAction, by: str, why: str) -> Rollout:
        """Apply a person's decision.

        Raises:
            Refused: it does not apply now, or the same person wrote and approves it.
        """
        if number not in self._rollouts.all:
            raise Refused(f"there is no rollout {number}")
        event, now_ns = _DECISIONS[action](by, why), self._parts.clock.now_ns()
        if not self._rollouts.is_open(number) or not self._rollouts.apply(number, event, now_ns):
            phase = self._rollouts.all[number].phase.value.replace("_", " ")
            raise Refused(f"rollout {number} is {phase}: '{action}' does not apply now")
        return self._rollouts.all[number]

    def all(self) -> list[Rollout]:
        """Return all rollouts, newest first."""
        # asked from threads: a copy, since the loop may add one meanwhile
        return sorted([*self._rollouts.all.values()], key=lambda r: r.number, reverse=True)

    def one(self, number: int) -> tuple[Rollout, list[Update]] | None:
        """Return a rollout and the updates of its machines."""
        rollout = self._rollouts.all.get(number)
        if rollout is None:
            return None
        return rollout, list(self._rollouts.updates(number).values())

    def health(self, number: int) -> Health | None:
        """Return the comparison of a rollout."""
        rollout = self._rollouts.all.get(number)
        return None if rollout is None else self._view(rollout, self._rollouts.updates(number))

    def audit(
        self, limit: int = 100, before_id: int | None = None, rollout: int = 0, device: str = ""
    ) -> list[AuditRow]:
        """Return the audit log, newest first."""
        return self._parts.store.updates.audit(limit, before_id, rollout, device)

    # Machines.

    def device(self, device: str) -> DeviceRecord | None:
        """Return what is kept about a machine."""
        return self._devices.record(device)

    async def issue_token(self, device: str, by: str) -> str:
        """Make a machine's DDI token.

        Raises:
            Refused: no such machine, or its type does not speak DDI.
        """
        return self._devices.issue_token(device, by)

    async def revoke_token(self, device: str, by: str) -> None:
        """Cut the machine off."""
        self._devices.revoke_token(device, by)

    async def release_from_quarantine(self, device: str, by: str) -> None:
        """Let a machine take part in rollouts again.

        Raises:
            Refused: it is not in quarantine.
        """
        self._devices.release(device, by)


def _claims(release: Release, *, high_risk: bool) -> Claims:
    fields = asdict(release) | {"high_risk": high_risk}
    return Claims(**{name: fields[name] for name in Claims.__struct_fields__})
