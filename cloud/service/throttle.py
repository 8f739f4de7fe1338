"""How often somebody may fail before they have to wait."""

import time
from collections import OrderedDict

WINDOW_S = 900.0
KEYS_MAX = 10_000
"""So many are remembered; the one that began longest ago gives way."""


class Throttle:
    """Counts failures by key in windows of a quarter of an hour. Not for several threads."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, limits: dict[str, int]) -> float:
        """Return how long to wait, in seconds, since a key has reached its limit; 0: go on."""
        now_s = time.monotonic()
        waits = [
            began_s + WINDOW_S - now_s
            for key, limit in limits.items()
            for began_s, count in [self._counts.get(key, (now_s, 0))]
            if count >= limit
        ]
        return max([0.0, *waits])

    def count(self, keys: list[str]) -> None:
        """Count an attempt."""
        now_s = time.monotonic()
        for key in keys:
            began_s, count = self._counts.get(key, (now_s, 0))
            if now_s - began_s > WINDOW_S:
                began_s, count = now_s, 0
                self._counts.pop(key, None)
            self._counts[key] = (began_s, count + 1)
            while len(self._counts) > KEYS_MAX:
                self._counts.popitem(last=False)

    def forget(self, keys: list[str]) -> None:
        """Begin anew: the attempt was a good one."""
        for key in keys:
            self._counts.pop(key, None)
