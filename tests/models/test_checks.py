"""Stuck and range checks blame the sensor."""

import pytest

from contract.machines import CheckKind
from contract.telemetry import Quality, Reading
from models.monitor import Monitor, State
from tests.models import plant

MACHINE = plant.machine()


@pytest.fixture(scope="module")
def healthy() -> tuple[bytes, list[Reading]]:
    rows = list(plant.readings(1.7, seed=7))
    monitor = Monitor(MACHINE)
    for r in rows[:950]:
        monitor.update(r)
    return monitor.save(), rows[950:]


def _frozen(rows: list[Reading], names: list[str], value: float | None = None) -> list[Reading]:
    held = {n: rows[0].values[n] if value is None else value for n in names}
    return [Reading(r.time_ns, {**r.values, **held}, {}) for r in rows]


def test_a_number_that_stands_still_among_lively_ones_is_stuck(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    seen = [monitor.update(r) for r in _frozen(healthy[1], ["flow"])]
    found = next(a for a in seen if a.checks)
    assert found.state is State.ALARM
    assert [(c.kind, c.signal) for c in found.checks] == [(CheckKind.STUCK, "flow")]
    assert "stood still" in found.checks[0].detail
    assert 60 <= (found.time_ns - seen[0].time_ns) / 1e9 <= 240


def test_it_is_over_as_soon_as_the_number_moves(healthy: tuple[bytes, list[Reading]]) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    for r in _frozen(healthy[1][:80], ["vibration"]):
        last = monitor.update(r)
    assert last.checks
    assert not monitor.update(healthy[1][80]).checks


def test_a_number_at_the_end_of_its_range_is_pegged_not_stuck(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    seen = [monitor.update(r) for r in _frozen(healthy[1], ["flow"], 200.0)]
    assert not any(a.checks for a in seen)


def test_a_driver_may_stand_still(healthy: tuple[bytes, list[Reading]]) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    seen = [monitor.update(r) for r in _frozen(healthy[1], ["load", "ambient"], 20.0)]
    assert not any(a.checks for a in seen)


def test_when_everything_stands_still_the_device_is_stale_and_no_sensor_is_blamed(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    names = [s.name for s in MACHINE.signals]
    seen = [monitor.update(r) for r in _frozen(healthy[1], names)]
    found = next(a for a in seen if a.checks)
    assert [(c.kind, c.signal) for c in found.checks] == [(CheckKind.STALE, "")]
    assert not found.deviations
    assert 60 <= (found.time_ns - seen[0].time_ns) / 1e9 <= 120
    assert "new times" in seen[-1].checks[0].detail


@pytest.mark.parametrize("how", ["implausible", "invalid"])
def test_a_value_out_of_range_or_marked_invalid_blames_its_sensor(
    healthy: tuple[bytes, list[Reading]], how: str
) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    rows = healthy[1]
    metal, quality = (999.0, {}) if how == "implausible" else (None, {"metal": Quality.BAD})
    for i, r in enumerate(rows[:30]):
        seen = monitor.update(Reading(r.time_ns, {**r.values, "metal": metal}, quality))
        assert bool(seen.checks) == (i >= 2)
    assert (seen.checks[0].kind, seen.checks[0].signal) == (CheckKind.RANGE, "metal")
    assert seen.state is State.ALARM
    for r in rows[30:34]:
        seen = monitor.update(r)
    assert not seen.checks


def test_a_machine_at_rest_may_read_a_little_below_zero(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    for r in healthy[1][:40]:
        seen = monitor.update(Reading(r.time_ns, {**r.values, "mode": 0.0, "flow": -9.0}, {}))
    assert seen.state is State.UNJUDGED
