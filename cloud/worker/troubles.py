"""What people should know of a worker, in sentences: full journals, floods, a store away."""

from cloud.adapters.journal import Fill

FULL_SHARE = 0.8
"""A journal so full is worth telling."""
TOLD_S = 60.0
"""So long after it happened a flood or a refusal is still told, in wall time."""
FLOODS_MAX = 20
"""So many flooding devices are named."""


class Troubles:
    """What went wrong lately."""

    def __init__(self) -> None:
        self._refusal = ""
        self._new: dict[str, int] = {}
        self._floods: dict[str, tuple[float, int]] = {}

    def refused(self, why: str) -> None:
        """Note that the journal took nothing."""
        self._refusal = why

    def flooded(self, device: str, batches: int) -> None:
        """Note that a device sends more than it may."""
        if device in self._new or len(self._new) < FLOODS_MAX:
            self._new[device] = self._new.get(device, 0) + batches

    def told(self, fill: Fill, store_problem: str, now_s: float) -> list[str]:
        """Return all that is to be told now; ``now_s`` is a clock that never jumps."""
        for device, batches in self._new.items():
            before = self._floods.get(device, (0.0, 0))[1]
            self._floods[device] = now_s, before + batches
        self._new.clear()
        self._floods = {d: f for d, f in self._floods.items() if now_s - f[0] < TOLD_S}
        found = [
            f"{device} floods: {batches} batches over its rate were turned away; it is throttled, "
            "nobody else is. Check its sampling rate."
            for device, (_, batches) in sorted(self._floods.items())[:FLOODS_MAX]
        ]
        if self._refusal and fill.share >= FULL_SHARE:
            found.append(f"Telemetry is refused, agents keep it: {self._refusal}")
        elif fill.share >= FULL_SHARE:
            found.append(
                f"The journal is {fill.share:.0%} full. At 100 % telemetry is refused and stays "
                "with the agents: bring back the time-series store, or raise journal_max_bytes."
            )
        else:
            self._refusal = ""
        if store_problem:
            found.append(f"The time-series store is away, the journal keeps rows: {store_problem}")
        return found
