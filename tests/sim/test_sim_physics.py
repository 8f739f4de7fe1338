"""Healthy machines: repeatable, plausible, and explained by what the plant gives."""

from itertools import pairwise
from statistics import fmean, stdev

import pytest

from contract.errors import Malformed
from contract.machines import Role, library
from firmware_sim.physics import MACHINES, build
from firmware_sim.physics.machine import ECO, RUN, STARTING, Machine
from firmware_sim.plant import STEP_S

START_NS = 1_795_330_800_000_000_000
LIBRARY = library()
TYPES = sorted(MACHINES)


def run(machine: Machine, seconds: int) -> list[dict[str, float | None]]:
    """Step by seconds; return every fifth state, as it would be polled."""
    states = []
    for i in range(seconds):
        time_ns = (machine.now_ns or START_NS) + 1_000_000_000
        machine.step(1.0, time_ns)
        if i % 5 == 4:
            states.append(machine.values)
    return states


@pytest.mark.parametrize("machine_type", TYPES)
def test_same_seed_same_life_other_seed_other_life(machine_type: str) -> None:
    one, again, other = (build(machine_type, "m", seed) for seed in (7, 7, 8))
    assert run(one, 300) == run(again, 300)
    assert run(one, 60) != run(other, 60)


@pytest.mark.parametrize("machine_type", TYPES)
def test_values_cover_the_register_map_and_stay_plausible(machine_type: str) -> None:
    machine = build(machine_type, "m", 3)
    for values in run(machine, 2 * 3600)[60:]:
        assert set(values) == {signal.name for signal in LIBRARY[machine_type].signals}
        for signal in LIBRARY[machine_type].signals:
            value = values[signal.name]
            assert value is not None
            assert signal.range[0] <= value <= signal.range[1], f"{signal.name} = {value}"


@pytest.mark.parametrize("machine_type", TYPES)
def test_every_response_has_noise_and_nothing_else_has(machine_type: str) -> None:
    responses = {s.name for s in LIBRARY[machine_type].with_role(Role.RESPONSE)}
    assert set(MACHINES[machine_type].noise) == responses


@pytest.mark.parametrize("machine_type", TYPES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_hour_of_commissioning_sees_both_modes(machine_type: str, seed: int) -> None:
    modes = [values["mode"] for values in run(build(machine_type, "m", seed), 3600)]
    assert modes.count(RUN) > 150
    assert modes.count(ECO) > 100


@pytest.mark.parametrize("machine_type", TYPES)
def test_drivers_move_and_the_setpoint_is_followed(machine_type: str) -> None:
    states = run(build(machine_type, "m", 5), 3600)[120:]
    for driver in LIBRARY[machine_type].with_role(Role.DRIVER):
        series = [values[driver.name] or 0.0 for values in states]
        assert stdev(series) > 0.01 * abs(fmean(series)), driver.name
    setpoint, controlled = {
        "centrifugal_pump": ("pressure_setpoint_bar", "discharge_pressure_bar"),
        "air_compressor": ("pressure_setpoint_bar", "discharge_pressure_bar"),
        "chiller": ("supply_setpoint_c", "supply_temperature_c"),
    }[machine_type]
    errors = [(v[controlled] or 0.0) - (v[setpoint] or 0.0) for v in states]
    spread = stdev([values[setpoint] or 0.0 for values in states])
    assert abs(fmean(errors)) < 0.05 * spread
    assert stdev(errors) < 0.35 * spread


def test_noise_lasts_a_little_but_not_long() -> None:
    states = run(build("centrifugal_pump", "m", 5), 3600)[120:]
    vibration = [values["vibration_mm_s"] or 0.0 for values in states]
    speed = [values["speed_rpm"] or 0.0 for values in states]
    rest = [v - 1.3 * (n / 2900.0) ** 2 for v, n in zip(vibration, speed, strict=True)]
    mean, spread = fmean(rest), stdev(rest)
    near = fmean((a - mean) * (b - mean) for a, b in pairwise(rest)) / spread**2
    far = fmean((a - mean) * (b - mean) for a, b in zip(rest, rest[60:], strict=False)) / spread**2
    assert 0.05 < near < 0.6
    assert abs(far) < 0.2


def test_a_restart_is_silent_counts_and_begins_with_starting() -> None:
    machine = build("chiller", "m", 1)
    before = run(machine, 60)[-1]["boot_count"]
    assert before is not None
    machine.pulse("restart")
    run(machine, 14)
    assert not machine.answers
    run(machine, 5)
    assert machine.answers
    assert machine.values["boot_count"] == before + 1
    assert machine.values["mode"] == STARTING
    run(machine, 30)
    assert machine.values["mode"] in (RUN, ECO)


def test_a_requested_mode_is_held_and_given_back() -> None:
    machine = build("air_compressor", "m", 1)
    run(machine, 60)
    machine.write("mode_request", ECO)
    assert {values["mode"] for values in run(machine, 1790)} == {ECO}
    run(machine, 20)
    assert machine.settings["mode_request"] == 0.0


@pytest.mark.parametrize("machine_type", TYPES)
def test_a_stopped_machine_comes_to_rest(machine_type: str) -> None:
    machine = build(machine_type, "m", 1)
    run(machine, 120)
    machine.write("mode_request", 1.0)
    values = run(machine, 300)[-1]
    at_rest = {
        "centrifugal_pump": "speed_rpm",
        "air_compressor": "motor_power_kw",
        "chiller": "compressor_power_kw",
    }[machine_type]
    assert abs(values[at_rest] or 0.0) < 40.0 * sum(machine.noise[at_rest])
    assert values["mode"] == 0.0


def test_the_step_is_bounded_and_the_type_must_be_known() -> None:
    with pytest.raises(ValueError, match="at most 1 s"):
        build("chiller", "m", 1).step(STEP_S + 0.1, START_NS)
    with pytest.raises(Malformed, match="no physics for machine type 'toaster'"):
        build("toaster", "m", 1)
