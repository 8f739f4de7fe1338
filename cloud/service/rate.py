"""How often something may be written down about one machine."""

import time
from collections import deque

WINDOW_S = 60.0


class Rate:
    """Allows so many events of one key, and so many of all together, within a minute."""

    def __init__(self, per_key: int, all_together: int) -> None:
        self._per_key, self._all = per_key, all_together
        self._events: deque[tuple[float, str]] = deque()

    def allows(self, key: str) -> bool:
        """Count an event; false when there were too many."""
        now_s = time.monotonic()
        while self._events and now_s - self._events[0][0] > WINDOW_S:
            self._events.popleft()
        if len(self._events) >= self._all or self._count(key) >= self._per_key:
            return False
        self._events.append((now_s, key))
        return True

    def _count(self, key: str) -> int:
        return sum(its == key for _, its in self._events)
