"""A simulated fleet of pumps for rollouts: what telemetry would show of every machine.

Two minutes pass at a step. Noise is that of our detectors on simulated pumps (ten machines, ten
hours each, with load steps, set-point moves and restarts; means of two minutes): scores at
0.30 +- 0.03 of the alarm level, each moving by 0.07 with a correlation of 0.5 from step to step.
On top the fleet has what those ten did not: machines that are noisier than others, scores that
wander for hours, weather and load that a site has in common, faults, outages, lost polls.
"""

from enum import StrEnum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from cloud.adapters.board import Board
from contract.machines import MachineType, library
from models.monitor import STATES, State

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

NS = 1_000_000_000
STEP_S = 120.0
STEP_NS = int(STEP_S * NS)
PUMP: MachineType = library()["centrifugal_pump"]
SITES = 10
HARDWARE = 3
FAULTS_PER_DAY = 1 / 30
"""Per machine; each is found and mended within an hour in the middle, in `LONGEST` at most."""
OUTAGES_PER_DAY = 1.0
"""Per machine; one lasts twenty minutes in the middle, `LONGEST` at most."""
LONGEST = 180
"""Steps: six hours."""
LOST_POLLS = 0.01
BOOT_STEPS = 2
"""A machine that boots is not judged so long, and its running is unusual for some minutes more."""
_SIGNAL = {s.name: i for i, s in enumerate(PUMP.signals)}
_KEYS = [_SIGNAL[k.signal] for k in PUMP.key_signals]
_WORSE = np.array([1.0 if k.worse.value == "above" else -1.0 for k in PUMP.key_signals])
_LEVEL = np.array([0.90, 17.5, 43.3, 3.93])
_BETWEEN = np.array([0.01, 0.3, 1.1, 0.01])
_BY_LOAD = np.array([0.06, 2.4, 1.3, 0.25])
_BY_WEATHER = np.array([0.0, 0.0, 1.5, 0.0])
_NOISE = np.array([0.06, 0.3, 0.5, 0.05])
_HEALTHY, _ALARM = STATES.index(State.HEALTHY), STATES.index(State.ALARM)
_UNJUDGED = STATES.index(State.UNJUDGED)


class Kind(StrEnum):
    """What the new release does to machines. All install well and report their version."""

    GOOD = "good"
    BAD = "bad at once"
    SLOW = "bad slowly"
    """The harm grows for two hours."""
    HARDWARE = "bad on one hardware"
    """Of three."""


class Harm(Struct, frozen=True):
    """What a bad release does."""

    kind: Kind
    rate: float
    """Share of the machines concerned that are harmed."""
    score: float = 0.5
    """Median rise of the score; half of the machines are between 0.36 and 0.70. Most stay below
    the alarm level, so that no detector cries out."""
    key: float = 0.5
    """Rise of each key signal, in its own standard deviations."""
    slow_s: float = 7200.0


class World:
    """The fleet. Arrays are by machine."""

    def __init__(self, devices: int, harm: Harm, seed: int) -> None:
        """Draw machines; the fleet has been running for some time."""
        self.dice = dice = np.random.default_rng(seed)
        self.count, self.harm = devices, harm
        self.names = [f"pump-{i:05d}" for i in range(devices)]
        self.site = dice.integers(SITES, size=devices)
        self.hardware = dice.integers(1, HARDWARE + 1, size=devices)
        self.level = dice.normal(0.30, 0.03, devices)
        self.noise = 0.07 * np.exp(0.3 * dice.standard_normal(devices))
        self.keys = _LEVEL + _BETWEEN * dice.standard_normal((devices, len(_LEVEL)))
        self.phase = dice.uniform(0, 1, SITES)
        """Part of the day at which a site's load is highest."""
        self.weather = dice.standard_normal(SITES)
        self.load = dice.uniform(-1, 1, devices)
        self.stepped = np.full(devices, 99)
        """Steps since the machine's load stepped."""
        self.fast, self.slow = dice.standard_normal(devices), dice.standard_normal(devices)
        self.fault, self.mended = np.zeros(devices), np.zeros(devices, np.int64)
        self.off_until = np.zeros(devices, np.int64)
        self.booted = np.full(devices, 9999)
        """Steps since it booted."""
        self.release = np.zeros(devices, np.bool_)
        """It runs the new one."""
        self.since = np.zeros(devices, np.int64)
        """Step at which it began to."""
        concerned = self.hardware == 1 if harm.kind is Kind.HARDWARE else np.ones(devices, np.bool_)
        bad = harm.kind is not Kind.GOOD
        self.prone = concerned & (dice.random(devices) < harm.rate) & bad
        """The new release harms it."""
        self.size = harm.score * np.exp(0.5 * dice.standard_normal(devices))
        self.ever_harmed = np.zeros(devices, np.bool_)
        self.step_number = int(dice.integers(0, 720))
        """It may be any time of the day."""
        self.score, self.state = np.zeros(devices), np.zeros(devices, np.uint8)
        self.values = np.zeros((devices, len(PUMP.signals)))

    def step(self) -> None:
        """Let two minutes pass."""
        self.step_number += 1
        self.stepped += 1
        self.booted += 1
        self._surroundings()
        self._troubles()
        self._measure()

    def _surroundings(self) -> None:
        dice, n = self.dice, self.count
        self.weather = 0.98 * self.weather + 0.2 * dice.standard_normal(SITES)
        own = dice.random(n) < STEP_S / 3600
        whole = (dice.random(SITES) < STEP_S / 14_400)[self.site] & (dice.random(n) < 0.8)
        moves = own | whole
        self.load[moves] = dice.uniform(-1, 1, n)[moves]
        self.stepped[moves] = 0
        self.fast = 0.5 * self.fast + 0.866 * dice.standard_normal(n)
        self.slow = 0.98 * self.slow + 0.2 * dice.standard_normal(n)

    def _troubles(self) -> None:
        dice, n, now = self.dice, self.count, self.step_number
        ill = (dice.random(n) < FAULTS_PER_DAY * STEP_S / 86_400) & (self.fault == 0)
        self.fault[ill] = np.exp(0.8 + 0.8 * dice.standard_normal(n))[ill]
        self.mended[ill] = now + _steps(30 * np.exp(dice.standard_normal(n)))[ill]
        self.fault[(self.fault > 0) & (now >= self.mended)] = 0.0
        out = (dice.random(n) < OUTAGES_PER_DAY * STEP_S / 86_400) & (now >= self.off_until)
        self.off_until[out] = now + _steps(10 * np.exp(dice.standard_normal(n)))[out]

    def harm_now(self) -> Floats:
        """Return how much of its harm each machine has: 0 to 1."""
        if self.harm.kind is Kind.SLOW:
            age_s = (self.step_number - self.since) * STEP_S
            share = np.clip(age_s / self.harm.slow_s, 0.0, 1.0)
        else:
            share = np.ones(self.count)
        return np.where(self.release & self.prone, share, 0.0)

    def _measure(self) -> None:
        harm = self.harm_now()
        self.ever_harmed |= harm > 0
        settling = 0.1 * np.exp(-self.stepped / 1.5)
        settling += 0.3 * np.exp(-self.booted) + 0.1 * np.exp(-self.booted / 5)
        score = self.level + self.noise * self.fast + 0.02 * self.slow + settling
        self.score = np.maximum(score + self.fault + harm * self.size, 0.0)
        self.state = np.where(self.score >= 1.0, _ALARM, _HEALTHY).astype(np.uint8)
        booting = self.booted < BOOT_STEPS
        self.score[booting], self.state[booting] = np.nan, _UNJUDGED
        day = 2 * np.pi * (self.step_number * STEP_S / 86_400 + self.phase[self.site])
        load = 0.6 * np.sin(day) + 0.4 * self.load
        noise = _NOISE * self.dice.standard_normal((self.count, len(_LEVEL)))
        keys = (
            self.keys
            + load[:, None] * _BY_LOAD
            + (self.weather[self.site] + 0.5 * np.sin(day))[:, None] * _BY_WEATHER
            + noise
        )
        worse = (self.harm.key * harm + 2 * (self.fault > 0) + settling)[:, None] * _NOISE
        self.values[:, _KEYS] = keys + _WORSE * worse

    @property
    def heard(self) -> Flags:
        """Whose readings arrive in this step."""
        lost = self.dice.random(self.count) < LOST_POLLS
        heard: Flags = (self.step_number >= self.off_until) & ~lost
        return heard

    def boot(self, i: int, *, release: bool) -> None:
        """Let a machine boot with the new release, or with the old one."""
        self.release[i], self.since[i], self.booted[i] = release, self.step_number, 0

    def show(self, board: Board, now_ns: int) -> Flags:
        """Put what arrives on a live board, and return whose it is."""
        heard = self.heard
        board.score[heard], board.state[heard] = self.score[heard], self.state[heard]
        board.values[heard] = self.values[heard]
        board.last_ns[heard] = now_ns
        return heard


def _steps(steps: Floats) -> Numbers:
    return np.clip(steps, 1, LONGEST).astype(np.int64)
