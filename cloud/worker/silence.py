"""Devices that have sent before and send nothing now.

Silence is counted by a clock of attention: it stands still while the worker does not listen, and a
pause of the worker itself hardly moves it. So nobody is called silent because we were deaf.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STEP_SHARE = 0.1
"""One look moves the clock of attention by so much of the time allowed, at most."""
POLLS = 3
"""Missed polls that are never yet silence."""

Counts = NDArray[np.int64]


class Silence:
    """When every device was last heard. Times are plant time in ns."""

    def __init__(
        self, poll_intervals_s: Sequence[float], silent_after_s: float, now_ns: int
    ) -> None:
        allowed = [max(silent_after_s, POLLS * poll_s) for poll_s in poll_intervals_s]
        self._allowed_ns = (np.array(allowed) * 1e9).astype(np.int64)
        self._step_ns = int(silent_after_s * 1e9 * STEP_SHARE)
        self._heard_ns = np.zeros(len(allowed), np.int64)
        self._ever = np.zeros(len(allowed), np.bool_)
        self._looked_ns, self._attention_ns = now_ns, 0

    def hear(self, devices: Counts | int) -> None:
        """Note that devices have sent something, or had before the worker started."""
        self._ever[devices] = True
        self._heard_ns[devices] = self._attention_ns

    def look(self, now_ns: int, *, listening: bool) -> Counts:
        """Let time pass and return the numbers of the devices that are silent."""
        gap_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        if listening:
            self._attention_ns += max(0, min(gap_ns, self._step_ns))
        quiet_ns = self._attention_ns - self._heard_ns
        return np.flatnonzero(self._ever & (quiet_ns > self._allowed_ns))
