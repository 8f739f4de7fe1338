"""What machines that speak DDI are told (`cloud.web.rollout_ports.DdiDesk`)."""

import hmac
from collections.abc import Mapping
from pathlib import Path

from cloud.adapters.mqtt import read_password
from cloud.core import windows
from cloud.core.rollout_states import Fetched, Phase, Record, Report, UpdatePhase
from cloud.service.devices import Devices
from cloud.service.parts import Parts
from cloud.service.rate import Rate
from cloud.service.releases import Releases
from cloud.service.rollouts import Rollouts
from cloud.web.rollout_ports import AttributeMode, Offer, Standing
from contract.errors import Refused
from contract.firmware import Release

_OFFERED = (
    UpdatePhase.OFFERED,
    UpdatePhase.INSTALLING,
    UpdatePhase.CANCELLING,
    UpdatePhase.REVERTING,
)
"""Phases in which the client has something to do."""


class Ddi:
    """Serves DDI clients."""

    def __init__(
        self, parts: Parts, rollouts: Rollouts, releases: Releases, devices: Devices
    ) -> None:
        self._parts, self._rollouts = parts, rollouts
        self._releases, self._devices = releases, devices
        self._gateway_token = read_password(parts.config.ddi_gateway_token_file)
        self._denials = Rate(per_key=6, all_together=30)

    def admitted(self, device: str, token: str) -> bool:
        """Tell whether this is the machine's own token."""
        return self._devices.admitted(device, token)

    def gateway_admitted(self, token: str) -> bool:
        """Tell whether this is the gateway token, if one is set."""
        expected = self._gateway_token
        return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())

    def denied(self, device: str, why: str) -> None:
        """Take a refused request to the audit log, at a bounded rate."""
        if self._denials.allows(device):
            self._rollouts.record(Record("gateway", "denied", why, device))

    def polled(self, device: str) -> None:
        """Note that the machine has asked."""
        if device in self._parts.assets:  # the gateway token may name anybody
            self._devices.polled(device)

    def offer(self, device: str) -> Offer | None:
        """Return what the machine shall do now."""
        found = self._rollouts.active(device)
        if found is None or found[1].phase not in _OFFERED or device not in self._parts.assets:
            return None
        rollout, update = found
        back = update.phase is UpdatePhase.REVERTING
        version = update.from_version if back else rollout.order.version
        kept = self._releases.one(rollout.order.machine_type, version)
        cancelling = update.phase is UpdatePhase.CANCELLING
        begins = update.phase is UpdatePhase.OFFERED
        held = rollout.phase is Phase.PAUSED or (kept and kept.barred) or self._releases.stale()
        if kept is None or (begins and held):
            return None
        window, now_ns = rollout.order.policy.window, self._parts.clock.now_ns()
        return Offer(
            action=update.action,
            cancelling=cancelling,
            release=kept.release,
            digests=kept.digests,
            window_open=not begins or windows.is_open(window, now_ns),
        )

    def standing(self, device: str, action: int) -> Standing:
        """Tell how an action stands to a machine."""
        return self._rollouts.standing(device, action)

    async def reported(self, device: str, action: int, report: Report, details: str) -> None:
        """Take the client's word."""
        self._rollouts.reported(device, action, report, details)

    async def fetched(self, device: str, action: int) -> None:
        """Note that the image of the open action was asked for."""
        found = self._rollouts.active(device)
        if found is not None and found[1].action == action:
            event = Fetched(device=device, action=action)
            self._rollouts.apply(found[0].number, event, self._parts.clock.now_ns())

    def artifact_path(self, release: Release) -> Path | None:
        """Return the file of a release."""
        return self._releases.repository.path_of(release)

    def wants_attributes(self, device: str) -> bool:
        """Tell whether the machine should send its attributes."""
        return not self._devices.row(device).attributes

    async def set_attributes(
        self, device: str, data: Mapping[str, str], mode: AttributeMode
    ) -> None:
        """Keep what the machine says of itself.

        Raises:
            Refused: too many, too long, or of a machine that is not here.
        """
        if device not in self._parts.assets:
            raise Refused(f"{device} is not in the gateway's list of assets")
        self._devices.set_attributes(device, data, mode)
