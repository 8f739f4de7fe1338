"""After a stop a machine is awaited, neither for ever nor blindly."""

import numpy as np
import pytest

from contract.telemetry import Reading
from models import judge as tables
from models import monitor_kernel as kernel
from models.monitor import Assessment, Monitor, State
from models.sample import Layout
from models.settings import DEFAULT
from tests.models import plant

HOUR_NS = 3_600_000_000_000
COMMISSIONED_H = 1.3
STOPS = [((1.5, 1.6),), ((1.5, 1.8),), ((1.5, 2.0),), ((1.5, 1.7), (2.2, 2.5)), ((1.5, 3.0),)]


@pytest.fixture(scope="module")
def warmed_up() -> bytes:
    """A monitor that has seen no stop yet; the plant's metal cools and warms in ten minutes."""
    monitor = Monitor(plant.machine())
    for reading in plant.readings(COMMISSIONED_H, seed=1):
        monitor.update(reading)
    assert monitor.progress == 1.0
    return monitor.save()


def judge(saved: bytes, rows: list[Reading]) -> list[Assessment]:
    monitor = Monitor.restore(plant.machine(), saved)
    start_ns = plant.START_NS + COMMISSIONED_H * HOUR_NS
    return [monitor.update(r) for r in rows if r.time_ns >= start_ns]


def hour(a: Assessment) -> float:
    return (a.time_ns - plant.START_NS) / HOUR_NS


@pytest.mark.parametrize("stops", STOPS)
def test_a_cold_start_is_no_fault_and_most_of_it_is_judged(
    warmed_up: bytes, stops: tuple[tuple[float, float], ...]
) -> None:
    seen = judge(warmed_up, list(plant.readings(4.5, seed=1, stops=stops)))
    assert State.ALARM not in {a.state for a in seen}
    stopped = [a for a in seen if any(x <= hour(a) < y for x, y in stops)]
    unjudged = sum(a.state is State.UNJUDGED for a in seen) - len(stopped)
    assert unjudged < 0.2 * (len(seen) - len(stopped))


def test_without_the_wait_a_cold_start_would_be_a_fault(warmed_up: bytes) -> None:
    """The test above would find nothing if its stops were harmless."""
    monitor = Monitor.restore(plant.machine(), warmed_up)
    states = set()
    for r in plant.readings(4.5, seed=1, stops=STOPS[2]):
        if r.time_ns >= plant.START_NS + COMMISSIONED_H * HOUR_NS:
            monitor._state.verdict.now[kernel.BACK] = 1.0
            states.add(monitor.update(r).state)
    assert State.ALARM in states


@pytest.mark.parametrize(
    ("signal", "size", "within_h"), [("flow", -8.0, 0.6), ("vibration", 8.0, 0.6)]
)
def test_a_fault_that_came_during_a_stop_is_found(
    warmed_up: bytes, signal: str, size: float, within_h: float
) -> None:
    rows = plant.readings(3.5, seed=1, stops=((1.5, 1.8),), faults=((signal, 1.6, 9, size),))
    alarms = [a for a in judge(warmed_up, list(rows)) if a.state is State.ALARM]
    assert alarms
    assert hour(alarms[0]) < 1.8 + within_h
    assert alarms[0].deviations[0].signal == signal


def test_an_alarm_outlasts_a_stop_while_its_fault_does(warmed_up: bytes) -> None:
    rows = plant.readings(2.2, seed=1, stops=((1.6, 1.65),), faults=(("flow", 1.4, 9, -8.0),))
    seen = judge(warmed_up, list(rows))
    late = [a.state for a in seen if hour(a) > 1.7]
    assert set(late) <= {State.ALARM, State.UNJUDGED}
    assert late.count(State.ALARM) > 0.7 * len(late)


def test_the_time_allowed_grows_with_the_stop_and_runs_out(warmed_up: bytes) -> None:
    v = tables.empty(Monitor.restore(plant.machine(), warmed_up)._state.reference)
    for _ in range(60):
        kernel._count_stop(5.0, True, False, v.memory, v.owed_s, v.now)
    assert v.owed_s[0] == 300.0
    assert not v.back.any()
    for _ in range(int(300 * kernel.RESERVE / 5)):
        assert v.owed_s[0] > 0
        kernel._count_stop(5.0, False, False, v.memory, v.owed_s, v.now)
    assert v.owed_s[0] == pytest.approx(0.0, abs=1e-6)


def test_what_comes_no_nearer_ends_the_wait_but_not_while_anything_does(warmed_up: bytes) -> None:
    reference = Monitor.restore(plant.machine(), warmed_up)._state.reference
    assert reference is not None
    fixed = tables.fixed(reference)
    numbers = tables.numbers(reference, DEFAULT, Layout(plant.machine()))

    def waited_s(metal_tau_s: float) -> float:
        v = tables.empty(reference)
        kernel._count_stop(600.0, True, False, v.memory, v.owed_s, v.now)
        v.now[kernel.WIDE], v.now[kernel.HERE], v.now[kernel.EXPECTED] = 1.0, 1.0, 0.0
        alpha = kernel.weight(5.0, reference.interval_s, DEFAULT.smoothing_samples)
        for seconds in range(0, 7200, 5):
            v.now[kernel.SIGMA] = 20.0
            v.now[kernel.SIGMA, 3] = 60.0 * np.exp(-seconds / metal_tau_s)
            v.now[kernel.VALUE] = v.now[kernel.SIGMA] * reference.sigma
            kernel._look(v.now, fixed, numbers, alpha, 5.0)
            if v.back.all():
                return seconds
        return np.inf

    assert waited_s(1e9) < 1000
    assert 1500 < waited_s(900.0) < 5000


def test_a_value_out_of_range_is_awaited_like_any_other(warmed_up: bytes) -> None:
    rows = list(plant.readings(3.0, seed=1, stops=((1.5, 1.7),)))
    for minutes, state in ((8.0, State.HEALTHY), (60.0, State.ALARM)):
        for r in rows:
            since_h = (r.time_ns - plant.START_NS) / HOUR_NS - 1.7
            if 0 <= since_h < minutes / 60:
                r.values["pressure"] = 13.0
        seen = judge(warmed_up, rows)
        assert (State.ALARM in {a.state for a in seen}) == (state is State.ALARM)


def test_a_monitor_saved_while_it_waits_goes_on_bit_by_bit(warmed_up: bytes) -> None:
    machine = plant.machine()
    rows = list(plant.readings(2.2, seed=1, stops=((1.5, 1.7),)))
    rows = [r for r in rows if r.time_ns >= plant.START_NS + COMMISSIONED_H * HOUR_NS]
    cut = int((1.75 - COMMISSIONED_H) * 3600 / plant.STEP_S)
    straight = Monitor.restore(machine, warmed_up)
    for r in rows[:cut]:
        straight.update(r)
    assert not straight._state.verdict.back.all()
    other = Monitor.restore(machine, straight.save())
    assert [straight.update(r) for r in rows[cut:]] == [other.update(r) for r in rows[cut:]]
    assert straight.save() == other.save()
