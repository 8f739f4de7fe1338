"""Small pieces that every machine's physics is made of: lags, ramps, wandering and noise."""

import math
from random import Random


def lag(value: float, target: float, dt_s: float, tau_s: float) -> float:
    """Return where a first-order lag stands after ``dt_s`` of following ``target``."""
    return value + (target - value) * dt_s / (tau_s + dt_s)


def ramp(value: float, target: float, step: float) -> float:
    """Move towards ``target`` by at most ``step``."""
    return min(value + step, target) if value < target else max(value - step, target)


def clip(value: float, low: float, high: float) -> float:
    """Return the value, held between two limits."""
    return low if value < low else min(value, high)


def day_wave(time_ns: int, peak_hour: float) -> float:
    """Return the day's course, -1 to 1, highest at ``peak_hour`` (UTC)."""
    return math.cos(2 * math.pi * (time_ns / 3.6e12 - peak_hour) / 24.0)


class Wander:
    """A value that wanders about zero and forgets with a time constant (Ornstein-Uhlenbeck)."""

    def __init__(self, rng: Random, deviation: float, tau_s: float) -> None:
        self._rng = rng
        self._deviation = deviation
        self._tau_s = tau_s
        self.value = rng.gauss(0.0, deviation)

    def step(self, dt_s: float) -> float:
        """Go on by ``dt_s`` and return the value."""
        keep = math.exp(-dt_s / self._tau_s)
        shake = self._deviation * math.sqrt(1.0 - keep * keep)
        self.value = self.value * keep + self._rng.gauss(0.0, shake)
        return self.value


class Sensor:
    """Noise of one measurement: a white part and a part that lasts for some twenty seconds."""

    TAU_S = 20.0

    def __init__(self, rng: Random, white: float, slow: float) -> None:
        self._rng = rng
        self._white = white
        self._slow = Wander(rng, slow, self.TAU_S)

    def read(self, truth: float, dt_s: float) -> float:
        """Return the truth with noise; draws equally often whatever the truth is."""
        return truth + self._rng.gauss(0.0, self._white) + self._slow.step(dt_s)
