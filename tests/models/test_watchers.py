"""Many machines watched in batches: the same answers as one by one."""

import numpy as np
import pytest

from contract.errors import Malformed
from contract.machines import MachineType, Role, Signal
from models.monitor import State
from models.settings import Settings
from models.watchers import Watchers

NAMES = ["flow", "pressure", "current"]
SETTINGS = Settings(commissioning_s=200, commissioning_samples=200)
STATES = tuple(State)


def rig(names: list[str] = NAMES, *, driver: bool = False) -> MachineType:
    signals = [Signal(name=n, title=n, unit="", range=(-1e4, 1e4)) for n in names]
    if driver:
        signals.append(Signal(name="load", title="L", unit="", range=(-100, 100), role=Role.DRIVER))
    return MachineType(name="rig", title="Rig", poll_interval_s=1, signals=signals)


def rows(count: int, seed: int = 1, width: int = 3) -> np.ndarray:
    draw = np.random.default_rng(seed)
    common = draw.normal(size=(count, 1))
    return common + 0.3 * draw.normal(size=(count, width)) + 10 * np.arange(1, width + 1)


def feed(w: Watchers, m: int, x: np.ndarray, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    which, times = np.full(len(x), m), (1 + start + np.arange(len(x))) * 10**9
    return w.update(which, times, x, np.zeros(x.shape, np.uint8))


@pytest.mark.parametrize("driver", [False, True])
def test_machines_go_their_own_way_from_commissioning_to_alarm(driver: bool) -> None:
    x = rows(600, width=3 + driver)
    x[400:, 1] += 6
    w = Watchers(rig(driver=driver), 3, SETTINGS)
    score, state = feed(w, 1, x)
    assert np.isnan(score[:199]).all()
    assert {STATES[s] for s in state[:199]} == {State.COMMISSIONING}
    assert {STATES[s] for s in state[450:]} == {State.ALARM}
    assert score[450:].min() > 1
    found = w.assessment(1)
    assert (found.state, found.score) == (State.ALARM, score[-1])
    assert found.deviations[0].signal == "pressure"
    assert w.progress().tolist() == [0, 1, 0]
    w.recommission(1)
    assert w.progress().tolist() == [0, 0, 0]


@pytest.mark.parametrize("driver", [False, True])
@pytest.mark.parametrize("cut", [100, 300, 450])
def test_a_machine_goes_on_exactly_where_it_was_saved_or_copied_to(driver: bool, cut: int) -> None:
    x = rows(600, width=3 + driver)
    x[400:, 1] += 6
    w, other = Watchers(rig(driver=driver), 2, SETTINGS), Watchers(rig(driver=driver), 3, SETTINGS)
    feed(w, 1, x[:cut])
    other.restore(2, w.save(1))
    w.copy(1, other, 0)
    expected = feed(w, 1, x[cut:], cut)
    for m in (2, 0):
        assert np.array_equal(feed(other, m, x[cut:], cut), expected, equal_nan=True)
        assert other.assessment(m) == w.assessment(1)
    with pytest.raises(Malformed, match="commission"):
        Watchers(rig(["a", "b", "c"], driver=driver), 1, SETTINGS).restore(0, w.save(1))
