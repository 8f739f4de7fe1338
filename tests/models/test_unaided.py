"""Machines without declared causes: the fleet detector behind the monitor's face."""

import numpy as np
import pytest

from contract.errors import Malformed
from contract.machines import MachineType, Role, Signal
from contract.telemetry import Quality, Reading
from models.monitor import Assessment, State
from models.settings import Settings
from models.watchers import told
from tests.models.one import One

NAMES = ["flow", "pressure", "current"]
SETTINGS = Settings(commissioning_s=400, commissioning_samples=300)
BAD_RANGE = (-1e4, 1e4)


def rig(names: list[str] = NAMES) -> MachineType:
    signals = [Signal(name=n, title=n, unit="", range=BAD_RANGE) for n in names]
    return MachineType(name="rig", title="Rig", poll_interval_s=1, signals=signals)


def rows(count: int, seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    common = draw.normal(size=count)
    signals = [common + 0.3 * draw.normal(size=count) + mean for mean in (10, 20, 30)]
    return np.column_stack(signals)


def watch(watcher: One, values: np.ndarray, start: int = 0) -> list[Assessment]:
    return [
        watcher.update(
            Reading((start + i) * 10**9, dict(zip(NAMES, map(float, row), strict=True)), {})
        )
        for i, row in enumerate(values)
    ]


def test_a_driver_is_what_tells_a_machine_from_a_bare_one() -> None:
    assert not told(rig())
    driver = Signal(name="speed", title="Speed", unit="", range=BAD_RANGE, role=Role.DRIVER)
    signals = [*rig().signals, driver]
    assert told(MachineType(name="rig", title="R", poll_interval_s=1, signals=signals))


def test_a_fault_is_found_held_attributed_and_ended() -> None:
    x = rows(1500)
    x[800:1100, 1] += 5.0
    seen = watch(One(rig(), SETTINGS), x)
    states = [a.state for a in seen]
    assert set(states[:399]) == {State.COMMISSIONING}
    assert State.ALARM not in states[400:800]
    assert states[820:1100].count(State.ALARM) == 280
    assert State.ALARM not in states[1150:]
    first = seen[900].deviations[0]
    assert (first.signal, first.direction) == ("pressure", "above")
    assert first.expected == pytest.approx(20, abs=3)


def test_saved_bytes_go_on_exactly_and_strangers_are_refused() -> None:
    x = rows(900)
    x[600:, 2] -= 4
    watcher = One(rig(), SETTINGS)
    watch(watcher, x[:500])
    other = One.restore(rig(), watcher.save(), SETTINGS)
    assert watch(other, x[500:], 500) == watch(watcher, x[500:], 500)
    with pytest.raises(Malformed, match="commission"):
        One.restore(rig(["flow", "pressure", "power"]), watcher.save(), SETTINGS)
    with pytest.raises(Malformed, match="commission"):
        One.restore(rig(), watcher.save(), Settings())


def test_readings_without_values_are_not_judged_and_recommissioning_starts_anew() -> None:
    watcher = One(rig(), SETTINGS)
    watch(watcher, rows(500))
    bad = Reading(600 * 10**9, dict.fromkeys(NAMES), dict.fromkeys(NAMES, Quality.BAD))
    assert watcher.update(bad).state is State.UNJUDGED
    watcher.recommission()
    assert watcher.progress == 0
