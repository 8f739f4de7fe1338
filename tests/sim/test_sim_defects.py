"""Releases that do harm: at once, slowly, or on one hardware only; going back ends it."""

from pathlib import Path
from statistics import fmean

import pytest

from contract.faults import Direction
from contract.firmware import UpdateControl
from contract.machines import library
from firmware_sim.bootloader import Trust
from firmware_sim.faults import DEFECT_RAMP_S
from firmware_sim.physics import MACHINES, build
from firmware_sim.physics.machine import Machine
from firmware_sim.unit import Unit
from tests.sim.updating import KEY, Writer, install, step

START_NS = 1_795_330_800_000_000_000
LIBRARY = library()


def unit(machine_type: str, folder: Path, hardware: int = 1) -> Unit:
    machine = build(machine_type, "m", 1)
    machine.now_ns = START_NS
    made = Unit(
        LIBRARY[machine_type], machine, Trust(machine_type, KEY.public_key(), hardware), folder
    )
    step(made, 30)
    return made


def means(machine: Machine, seconds: int) -> dict[str, float]:
    kept: dict[str, list[float]] = {name: [] for name in machine.noise}
    for _ in range(seconds):
        machine.step(1.0, machine.now_ns + 1_000_000_000)
        for name, values in kept.items():
            value = machine.values[name]
            assert value is not None
            values.append(value)
    return {name: fmean(values) for name, values in kept.items()}


def harm(ill: Machine, well: Machine, seconds: int) -> set[str]:
    """Return the key signals that are clearly worse than on the twin."""
    bad, good = means(ill, seconds), means(well, seconds)
    found = set()
    for key in LIBRARY[ill.machine_type].key_signals:
        sign = 1 if key.worse is Direction.ABOVE else -1
        white, slow = ill.noise[key.signal]
        if sign * (bad[key.signal] - good[key.signal]) > 3 * (white + slow):
            found.add(key.signal)
    return found


@pytest.mark.parametrize("machine_type", sorted(MACHINES))
def test_a_release_that_hunts_does_harm_at_once_until_the_machine_goes_back(
    machine_type: str, tmp_path: Path
) -> None:
    ill, well = unit(machine_type, tmp_path / "ill"), unit(machine_type, tmp_path / "well")
    install(ill, "1.1.0", defects=("hunting",))
    install(well, "1.1.0")
    step(ill, 300)
    step(well, 300)
    assert harm(ill.machine, well.machine, 300)
    for each in (ill, well):
        Writer(each).order(UpdateControl.REVERT)
        step(each, 900)
        assert each.machine.firmware == "1.0.0"
    assert not harm(ill.machine, well.machine, 300)


@pytest.mark.parametrize("machine_type", sorted(MACHINES))
def test_an_offset_that_creeps_does_no_harm_at_first_and_much_in_the_end(
    machine_type: str, tmp_path: Path
) -> None:
    ill, well = unit(machine_type, tmp_path / "ill"), unit(machine_type, tmp_path / "well")
    install(ill, "1.1.0", defects=("creeping_offset",))
    install(well, "1.1.0")
    assert not harm(ill.machine, well.machine, 300)
    hours = int(DEFECT_RAMP_S["creeping_offset"] / 3600)
    assert hours >= 4
    for each in (ill, well):
        step(each, 3600 * hours)
    assert harm(ill.machine, well.machine, 300)


def test_a_defect_of_one_hardware_shows_nowhere_else(tmp_path: Path) -> None:
    for hardware, defects in ((1, ()), (2, ("hunting",))):
        each = unit("centrifugal_pump", tmp_path / str(hardware), hardware)
        install(each, "1.1.0", defects_on={2: ("hunting",)})
        assert each.machine.defects == defects
