"""Runs the monitor as a plain online detector: ``skab_eval.py --detector skab_adapter.py:make``."""

import numpy as np
from numpy.typing import NDArray

from contract.machines import MachineType, Signal
from contract.telemetry import Reading
from models.monitor import State
from models.settings import Settings
from tests.models.one import One


class Detector:
    """Feeds rows at their own interval; the head of the file is the commissioning."""

    def __init__(self, columns: list[str], warmup: int) -> None:
        signals = [Signal(name=c, title=c, unit="", range=(-1e9, 1e9)) for c in columns]
        machine = MachineType(name="rig", title="Rig", poll_interval_s=1, signals=signals)
        self.columns = columns
        self.alarm = False
        self.score = 0.0
        self.monitor = One(
            machine,
            Settings(commissioning_s=warmup * 0.98, commissioning_samples=int(warmup * 0.9)),
        )

    def step(self, t: float, x: NDArray[np.float64]) -> tuple[float, int]:
        values = dict(zip(self.columns, x.tolist(), strict=True))
        seen = self.monitor.update(Reading(int((t + 1) * 1e9), values, {}))
        if seen.state in (State.HEALTHY, State.ALARM):
            self.alarm = seen.state is State.ALARM
        self.score = self.score if seen.score is None else seen.score
        return self.score, int(self.alarm)


def make(columns: list[str], warmup: int) -> Detector:
    return Detector(columns, warmup)
