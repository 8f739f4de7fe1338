"""The checks of `models.checks` once more, one signal and one row at a time, by plain search."""

import math

import numpy as np

from models.settings import Settings

RING = 1024


class PlainSignal:
    """What is remembered of one signal."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.values: list[float] = []
        self.run, self.run_from_ns, self.limit, self.jump, self.spikes = 0, 0, 0, math.inf, 0.0
        self.samples = self.changes = self.longest = self.bad = 0
        self.least, self.most, self.step = math.inf, -math.inf, 0.0
        self.outside = self.stuck = self.loose = False

    def take(self, value: float, mark: int, time_ns: int, confirm: int) -> bool:
        """Count up and down; tell whether it jumped there and straight back."""
        margin = 0.02 * (self.high - self.low)
        good = mark == 0 and self.low <= value <= self.high
        beyond = value < self.low - margin or value > self.high + margin
        self.bad = min(max(self.bad + (mark == 2 or beyond) - good, 0), confirm)
        self.outside = self.bad >= confirm or (self.outside and self.bad > 0)
        self.spikes *= 1 - 1 / 120
        jumped = False
        if not math.isnan(value):
            old = self.values[-1] if self.values else math.nan
            if len(self.values) > 1:
                there, back = old - self.values[-2], value - old
                jumped = there * back < 0 and min(abs(there), abs(back)) > self.jump
            if value != old:
                self.stuck, self.run, self.run_from_ns = False, 0, time_ns
            else:
                self.run += 1
            self.values = [*self.values[-1:], value]
        return jumped

    def observe(self, value: float) -> None:
        """Learn from a row of commissioning."""
        self.longest = max(self.longest, self.run)
        if len(self.values) > 1:
            self.step = max(self.step, abs(self.values[-1] - self.values[-2]))
        if not math.isnan(value):
            self.samples += 1
            self.changes += self.run == 0
            self.least, self.most = min(self.least, value), max(self.most, value)

    def commission(self) -> None:
        """Fix the limits."""
        self.limit = limit(1 - self.changes / max(self.samples, 1), self.longest)
        self.jump = 2 * self.step if self.step > 0 else math.inf

    def usual(self) -> bool:
        """Tell whether it rests where it may not rest."""
        margin = 0.1 * (self.most - self.least)
        last = self.values[-1]
        near = self.least - margin <= last <= self.most + margin
        return self.low < last < self.high and near


def limit(share: float, longest: int) -> int:
    """Return how many repeats are too many."""
    if share >= 0.5:
        return 0
    return max(math.ceil(math.log(1e-9) / math.log(max(share, 1e-3))), 3 * longest, 6)


class PlainChecks:
    """The checks of one machine of responses only that always runs."""

    def __init__(self, ranges: list[tuple[float, float]], settings: Settings) -> None:
        self.signals = [PlainSignal(*r) for r in ranges]
        self.settings = settings
        self.past: list[tuple[float, ...]] = []
        self.lag = self.same = self.from_ns = self.rows = self.repeated = self.longest = 0
        self.limit, self.stale = 0, False

    def row(self, time_ns: int, raw: list[float], marks: list[int], *, observed: bool) -> bool:
        """Take a row; tell whether any check fails."""
        jumped = [
            s
            for s, value, mark in zip(self.signals, raw, marks, strict=True)
            if s.take(value, mark, time_ns, self.settings.confirm_samples)
        ]
        if len(jumped) == 1:
            jumped[0].spikes += 1
        for s in self.signals:
            s.loose = s.spikes >= (1.0 if s.loose else 2.5)
        self._repeat(time_ns, tuple(-1e99 if math.isnan(v) else v for v in raw), raw)
        if any(s.run * 4 < s.limit for s in self.signals):
            for s in self.signals:
                since_ns = time_ns - s.run_from_ns
                if 0 < s.limit <= s.run and since_ns >= self.settings.stuck_s * 1e9 and s.usual():
                    s.stuck = True
        if observed:
            for s, value in zip(self.signals, raw, strict=True):
                s.observe(value)
            self.rows, self.repeated = self.rows + 1, self.repeated + (self.lag > 0)
            self.longest = max(self.longest, self.same)
        return self.stale or any(s.outside or s.stuck or s.loose for s in self.signals)

    def _repeat(self, time_ns: int, row: tuple[float, ...], raw: list[float]) -> None:
        if self.lag and len(self.past) >= self.lag and self.past[-self.lag] == row:
            self.same += 1
        else:
            back = [k for k in range(1, len(self.past) + 1) if self.past[-k] == row]
            self.lag = back[0] if back else 0
            self.same, self.from_ns = min(self.lag, 1), time_ns
            self.stale = self.stale and self.lag > 0
        if np.isnan(raw).all():
            self.same = 0
            return
        self.past = [*self.past, row][-RING:]
        long = time_ns - self.from_ns >= self.settings.stuck_s * 1e9
        self.stale = self.stale or (0 < self.limit <= self.same and long)

    def commission(self) -> None:
        """Fix the limits."""
        for s in self.signals:
            s.commission()
        self.limit = limit(self.repeated / max(self.rows, 1), self.longest)
