"""All that the gateway does about firmware, put together: releases, rollouts, machines, DDI."""

import logging
import time
from collections.abc import Callable

from cloud.adapters.board import Board
from cloud.adapters.clock import PlantClock
from cloud.adapters.repository import Repository
from cloud.core import rollout as rules
from cloud.core.rollout_states import Compared, Rollout
from cloud.service.ddi import Ddi
from cloud.service.desk import Desk
from cloud.service.devices import Devices
from cloud.service.health import Comparison
from cloud.service.parts import Parts
from cloud.service.releases import Releases
from cloud.service.remedies import Remedies
from cloud.service.rollout_desk import RolloutDesk
from cloud.service.rollouts import Rollouts, Updates, Views
from cloud.service.sending import Sending
from cloud.service.sight import Sight
from cloud.web.rollout_ports import Health
from contract.errors import FarfixError, Malformed
from contract.machines import MachineType

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Wall time between looks at machines and rollouts."""
DEAF_S = 15.0
"""Wall time without a look after which nothing is made of a machine's silence."""
SAVE_S = 600.0
"""Wall time between savings of what comparisons remember."""
DAY_NS = 86_400 * 10**9
LOOK_AGAIN_NS = 900 * 10**9
EXPIRES_SOON_NS = 3 * DAY_NS


class Firmware:
    """Everything about firmware; `desk`, `ddi` and `remedies` are its faces."""

    def __init__(self, parts: Parts, cases: Desk, boards: Callable[[], list[Board]]) -> None:
        """Open the repository and the rollouts.

        Raises:
            Malformed: the trusted root cannot be read.
        """
        self._parts, self._boards = parts, boards
        self.devices, self.sight = Devices(parts), Sight(parts.assets, parts.machines)
        self.comparisons = {
            machine.name: _comparison(parts, machine)
            for machine in parts.machines.values()
            if machine.ddi or machine.firmware_block is not None
        }
        self._listening_ns = parts.clock.now_ns()
        views = Views(
            self.sight, cases.case_of, cases.disagree, lambda: self._listening_ns, self._due
        )
        self.rollouts = Rollouts(parts, self.devices, views)
        repository = Repository(
            parts.store.engine, parts.config.data_dir / "artifacts", _root(parts)
        )
        self._wall = PlantClock()
        self.releases = Releases(repository, lambda: self.rollouts.all, self._wall.now_ns)
        self.desk = RolloutDesk(
            parts, self.rollouts, self.releases, self.devices,
            sight=self.sight, view=self._view,
        )  # fmt: skip
        self.remedies = Remedies(parts, self.rollouts, self.releases, self.desk, cases.answered)
        self.sending = Sending(parts, self.rollouts, self.sight)
        self.ddi = Ddi(parts, self.rollouts, self.releases, self.devices)
        self._looked_s = self._saved_s = time.monotonic()

    def tick(self) -> None:
        """Look at machines, and let time pass for rollouts."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        now_ns, boards = self._parts.clock.now_ns(), self._boards()
        if now_s - self._looked_s > DEAF_S or not self._parts.link.connected:
            self._listening_ns = now_ns
        self._looked_s = now_s
        self.sight.look(boards, now_ns)
        for comparison in self.comparisons.values():
            comparison.sample(now_ns, boards)
        self.rollouts.tick()
        if now_s - self._saved_s > SAVE_S:
            self.save()

    def save(self) -> None:
        """Keep what comparisons remember, for the types that have an open rollout."""
        self._saved_s = time.monotonic()
        types = {rollout.order.machine_type for rollout, _ in self.rollouts.open()}
        kept = {_saved_as(name): self.comparisons[name].snapshot() for name in types}
        if kept:
            self._parts.store.memory.put_models(kept)

    def updating(self, device: str) -> str:
        """Say why cases must leave a machine alone now; empty: an update is no reason.

        After an update, and after a way back all the more, a case looks again before it acts: what
        it saw may have been the release.
        """
        found = self.rollouts.active(device)
        if found is not None:
            rollout = found[0]
            return "" if rollout.command_id else f"rollout {rollout.number} is bringing it firmware"
        last = self.rollouts.ended(device)
        if last is None or self.rollouts.all[last.number].command_id:
            return ""
        over_ns = self._parts.clock.now_ns() - last.entered_ns
        if over_ns >= LOOK_AGAIN_NS:
            return ""
        return f"rollout {last.number} has just changed its firmware"

    def troubles(self) -> list[str]:
        """Say what people should know: metadata that has expired or soon will."""
        if trouble := self.releases.repository.trouble():
            return [trouble]
        state = self.releases.repository.state()
        if state is None:
            return []
        if stale := self.releases.stale():
            return [f"No release is offered to any machine: {stale}"]
        left_ns = state.timestamp_expires_ns - self._wall.now_ns()
        if left_ns > EXPIRES_SOON_NS:
            return []
        days = left_ns / DAY_NS
        soon = f"The release repository expires in {days:.1f} days, and nothing is offered then: "
        return [soon + "renew it with 'farfix release publish'."]

    def _due(self, rollout: Rollout, updates: Updates, now_ns: int) -> list[Compared]:
        return self.comparisons[rollout.order.machine_type].due(rollout, updates, now_ns)

    def _view(self, rollout: Rollout, updates: Updates) -> Health | None:
        comparison = self.comparisons[rollout.order.machine_type]
        gate = rollout.order.policy.gate
        threshold = rules.log_threshold(gate, len(comparison.measures))
        return comparison.view(rollout, updates, threshold)


def _root(parts: Parts) -> bytes | None:
    path = parts.config.release_root
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise Malformed(f"release_root {path} cannot be read: {error.strerror}") from error


def _saved_as(machine_type: str) -> str:
    return f"comparison/{machine_type}"


def _comparison(parts: Parts, machine: MachineType) -> Comparison:
    devices = [a.device for a in parts.assets.values() if a.machine_type == machine.name]
    comparison = Comparison(machine, devices)
    saved = parts.store.memory.model(_saved_as(machine.name))
    if saved is not None:
        try:
            comparison.restore(saved)
        except FarfixError as error:
            log.warning("%s: what comparisons remembered begins anew: %s", machine.name, error)
    return comparison
