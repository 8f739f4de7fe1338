"""The audit log of what people and other systems did and of what they were refused."""

from cloud.adapters.clock import PlantClock
from cloud.adapters.rollout_store import Line
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.service.rate import Rate
from contract import timescale


class Audit:
    """Writes lines; bounded, for whatever anybody sends."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._clock = PlantClock(timescale.parse(config.timescale))
        self._alike, self._kinds, self._refusals = Rate(3, 3000), Rate(600, 3000), Rate(3, 60)

    def record(self, by: str, what: str, text: str, device: str = "") -> None:
        """Write a line; the same one at most three times a minute, and of a kind 600."""
        if self._kinds.allows(what) and self._alike.allows(f"{by}\n{what}\n{device}\n{text}"):
            self._write(by, what, text, device)

    def refused(self, by: str, text: str) -> None:
        """Note who was turned away; sixty a minute at most, three alike."""
        if self._refusals.allows(f"{by}\n{text}"):
            self._write(by or "nobody", "refused", text, "")

    def _write(self, by: str, what: str, text: str, device: str) -> None:
        line = Line(at_ns=self._clock.now_ns(), by=by, what=what, text=text, device=device)
        self._store.updates.save(None, lines=[line])
