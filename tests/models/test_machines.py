"""Detection and diagnosis on the simulated machines, a few faults of each type."""

import copy

import pytest

from contract.machines import library
from firmware_sim.physics import MACHINES
from models.monitor import Monitor, State
from tests.models.evaluate import Run, Tally, fault, healthy

COMMISSIONED: dict[str, tuple[Run, bytes]] = {}


def commissioned(machine_type: str) -> tuple[Run, Monitor]:
    """Return a machine and its monitor after commissioning; made once."""
    machine = library()[machine_type]
    if machine_type not in COMMISSIONED:
        run, monitor = Run(MACHINES[machine_type], machine, seed=3), Monitor(machine)
        while monitor.progress < 1:
            reading = run.reading()
            if reading is not None:
                monitor.update(reading)
        COMMISSIONED[machine_type] = run, monitor.save()
    run, saved = COMMISSIONED[machine_type]
    return copy.deepcopy(run), Monitor.restore(machine, saved)


@pytest.mark.parametrize("machine_type", list(MACHINES))
def test_baits_and_restarts_raise_no_alarm(machine_type: str) -> None:
    run, monitor = commissioned(machine_type)
    tally = Tally()
    healthy(run, monitor.update, 2.0, 3, tally, new="")
    assert tally.episodes == []
    assert tally.unjudged < 0.3 * tally.readings


@pytest.mark.parametrize(
    ("machine_type", "code"),
    [
        ("centrifugal_pump", "cavitation"),
        ("centrifugal_pump", "bearing_wear"),
        ("centrifugal_pump", "flow_sensor_stuck"),
        ("air_compressor", "oil_overheating"),
        ("air_compressor", "clogged_intake_filter"),
        ("chiller", "refrigerant_leak"),
        ("chiller", "discharge_sensor_broken"),
    ],
)
def test_a_fault_is_found_named_and_seen_to_end(machine_type: str, code: str) -> None:
    run, monitor = commissioned(machine_type)
    tally = Tally()
    fault(run, monitor.update, code, tally)
    assert tally.found_min[code][0] < 6
    assert tally.first_later[code] == [True]
    assert tally.clear_min[code][0] < 15


def test_the_alarm_stays_as_long_as_the_fault() -> None:
    run, monitor = commissioned("centrifugal_pump")
    run.sim.inject("bearing_wear")
    states: list[State] = []
    while len(states) < 1440:
        reading = run.reading()
        if reading is not None:
            states.append(monitor.update(reading).state)
    first = states.index(State.ALARM)
    assert State.HEALTHY not in states[first:]
