"""The releases of the repository, and which of them may be installed now."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from cloud.adapters.repository import Repository
from cloud.core.published import Kept
from cloud.core.rollout_states import Phase, Rollout, StopKind
from contract.errors import Refused
from contract.firmware import version_number


class Releases:
    """What was published, less what has proved harmful."""

    def __init__(
        self,
        repository: Repository,
        rollouts: Callable[[], Mapping[int, Rollout]],
        wall_ns: Callable[[], int],
    ) -> None:
        self.repository = repository
        self._rollouts, self._wall_ns = rollouts, wall_ns

    def kept(self) -> list[Kept]:
        """Return all releases, newest version first within a machine type."""
        barred = self._barred()
        marked = [replace(k, barred=barred.get(_name(k), "")) for k in self.repository.kept()]
        return sorted(
            marked,
            key=lambda k: (k.release.machine_type, -version_number(k.release.version)),
        )

    def one(self, machine_type: str, version: str) -> Kept | None:
        """Return one release."""
        name = machine_type, version
        found = next((k for k in self.repository.kept() if _name(k) == name), None)
        return found and replace(found, barred=self._barred().get(name, ""))

    def offerable(self, machine_type: str, version: str) -> Kept:
        """Return a release that may be brought to machines now.

        Raises:
            Refused: there is none, it is barred, or its metadata has expired.
        """
        found = self.one(machine_type, version)
        if found is None:
            raise Refused(f"there is no release {version} for {machine_type}: publish it first")
        if found.barred:
            raise Refused(f"{machine_type} {version} is offered to nobody: {found.barred}")
        if stale := self.stale():
            raise Refused(stale)
        return found

    def stale(self) -> str:
        """Say why nothing may be offered now; empty when all is well."""
        return self.repository.fresh(self._wall_ns())

    def _barred(self) -> dict[tuple[str, str], str]:
        found = {}
        for rollout in [*self._rollouts().values()]:  # asked from threads too
            stop = rollout.stop
            if rollout.phase not in (Phase.STOPPING, Phase.STOPPED) or stop is None:
                continue
            if stop.kind is not StopKind.PERSON:
                key = (rollout.order.machine_type, rollout.order.version)
                found[key] = f"rollout {rollout.number} was stopped: {stop.detail}"
        return found


def _name(kept: Kept) -> tuple[str, str]:
    return kept.release.machine_type, kept.release.version
