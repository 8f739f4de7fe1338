"""Every fault shows as its machine type's file says, and only its own remedy ends it."""

import copy
import itertools
import math
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest

from contract.errors import Refused
from contract.faults import Direction
from contract.machines import CommandKind, FaultSpec, RegisterKind, Role, library
from firmware_sim import images
from firmware_sim.bootloader import Trust
from firmware_sim.faults import CATALOGUE, LINK_FAULTS, FaultModel, Nature
from firmware_sim.physics import MACHINES, build
from firmware_sim.physics.machine import Machine
from firmware_sim.unit import Unit
from tests.sim import updating
from tests.sim.updating import step

START_NS = 1_795_330_800_000_000_000
WARM_S = 1500
LIBRARY = library()


def faults(*natures: Nature) -> list[tuple[str, str]]:
    return [
        (machine_type, code)
        for machine_type, models in CATALOGUE.items()
        for code, model in models.items()
        if model.nature in natures and code not in LINK_FAULTS
    ]


def spec(machine_type: str, code: str) -> FaultSpec:
    found = LIBRARY[machine_type].fault(code)
    assert found is not None
    return found


def run(machine: Machine, seconds: int) -> None:
    for _ in range(seconds):
        machine.step(1.0, machine.now_ns + 1_000_000_000)


@cache
def _warm(machine_type: str, seed: int) -> Machine:
    machine = build(machine_type, "m", seed)
    machine.now_ns = START_NS
    run(machine, WARM_S)
    return machine


def warm(machine_type: str, seed: int = 1) -> Machine:
    return copy.deepcopy(_warm(machine_type, seed))


def shifts(faulty: Machine, healthy: Machine, seconds: int) -> dict[str, float]:
    """Mean difference of the twins over some time, in sigmas of each response's noise."""
    found: dict[str, list[float]] = {}
    for _ in range(seconds):
        run(faulty, 1)
        run(healthy, 1)
        for name, noise in healthy.noise.items():
            ill, well = faulty.values[name], healthy.values[name]
            if ill is not None and well is not None:
                found.setdefault(name, []).append((ill - well) / math.hypot(*noise))
    return {name: fmean(values) for name, values in found.items()}


@cache
def picture(machine_type: str, code: str, seed: int) -> dict[str, float]:
    """What a fault looks like four to five minutes after it was injected."""
    faulty, healthy = warm(machine_type, seed), warm(machine_type, seed)
    faulty.inject(code)
    run(faulty, 240)
    run(healthy, 240)
    return shifts(faulty, healthy, 50)


def test_catalogue_and_machine_types_know_the_same_faults() -> None:
    assert set(CATALOGUE) == set(MACHINES)
    for machine_type, models in CATALOGUE.items():
        real = {c for c, m in models.items() if m.diagnosable_as not in ((), ("no_data",))}
        assert real == {fault.code for fault in LIBRARY[machine_type].faults}
        for code in real:
            named, model = spec(machine_type, code), models[code]
            assert set(named.remedies) <= set(model.cured_by), code
            assert bool(named.remedies) == (model.nature is Nature.REMOTE), code
            assert not (named.safety and model.cured_by), code


SHOWN = [f for f in faults(Nature.REMOTE, Nature.ON_SITE) if spec(*f).symptoms]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("machine_type", "code"), SHOWN)
def test_every_symptom_shows_clearly_and_in_its_direction(
    machine_type: str, code: str, seed: int
) -> None:
    _check_symptoms(machine_type, code, seed)


@pytest.mark.parametrize(("machine_type", "code"), faults(Nature.SELF))
def test_faults_that_pass_show_clearly_while_they_last(machine_type: str, code: str) -> None:
    _check_symptoms(machine_type, code, 3)


def _check_symptoms(machine_type: str, code: str, seed: int) -> None:
    seen = picture(machine_type, code, seed)
    for symptom in spec(machine_type, code).symptoms:
        sign = 1 if symptom.direction is Direction.ABOVE else -1
        assert sign * seen[symptom.signal] > 5, f"{symptom.signal}: {seen[symptom.signal]:.1f}"


@pytest.mark.parametrize("machine_type", sorted(CATALOGUE))
def test_faults_of_one_type_look_different(machine_type: str) -> None:
    pictures = {}
    for fault in LIBRARY[machine_type].faults:
        if fault.symptoms:
            seen = picture(machine_type, fault.code, 1)
            squashed = [math.tanh(seen[name] / 10) for name in sorted(seen)]
            length = math.hypot(*squashed)
            pictures[fault.code] = [value / length for value in squashed]
    for (one, a), (other, b) in itertools.combinations(pictures.items(), 2):
        likeness = sum(x * y for x, y in zip(a, b, strict=True))
        assert likeness < 0.93, f"{one} and {other} look alike: {likeness:.2f}"


@pytest.mark.parametrize(
    ("machine_type", "code", "signal"),
    [
        ("centrifugal_pump", "flow_sensor_stuck", "flow_m3h"),
        ("air_compressor", "oil_sensor_stuck", "oil_temperature_c"),
    ],
)
def test_a_stuck_sensor_shows_one_number(machine_type: str, code: str, signal: str) -> None:
    machine = warm(machine_type)
    machine.inject(code)
    run(machine, 2)
    seen = set()
    for _ in range(60):
        run(machine, 1)
        seen.add(machine.values[signal])
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("machine_type", "code", "signal"),
    [
        ("centrifugal_pump", "motor_sensor_broken", "motor_temperature_c"),
        ("chiller", "discharge_sensor_broken", "discharge_temperature_c"),
    ],
)
def test_a_broken_sensor_shows_the_mark_for_no_value(
    machine_type: str, code: str, signal: str, tmp_path: Path
) -> None:
    unit = Unit(LIBRARY[machine_type], warm(machine_type), Trust(machine_type, None), tmp_path)
    unit.machine.inject(code)
    run(unit.machine, 3)
    register = next(s.modbus for s in LIBRARY[machine_type].signals if s.name == signal)
    assert register is not None
    assert unit.machine.values[signal] is None
    assert unit.read(RegisterKind.INPUT)[register.address] == register.invalid


@pytest.mark.parametrize(("machine_type", "code"), faults(Nature.SELF, Nature.BAIT))
def test_what_passes_by_itself_is_over_in_time_and_leaves_nothing(
    machine_type: str, code: str
) -> None:
    faulty, healthy = warm(machine_type), warm(machine_type)
    episode = faulty.inject(code)
    run(faulty, 1100)
    run(healthy, 1100)
    assert episode.ended_by == "self"
    assert max(map(abs, shifts(faulty, healthy, 60).values())) < 1.5


@pytest.mark.parametrize(("machine_type", "code"), faults(Nature.BAIT))
def test_a_bait_stays_inside_what_the_machine_does_anyway(machine_type: str, code: str) -> None:
    machine = warm(machine_type)
    machine.inject(code)
    for _ in range(400):
        run(machine, 1)
        for signal in LIBRARY[machine_type].signals:
            value = machine.values[signal.name]
            assert value is not None
            assert signal.range[0] <= value <= signal.range[1], signal.name


def apply(unit: Unit, remedy: str) -> None:
    """Do over Modbus what the remedy's command says."""
    kind = LIBRARY[unit.machine.machine_type]
    chosen = kind.remedy(remedy)
    assert chosen is not None
    command = kind.command(chosen.command)
    assert command is not None
    if command.kind is CommandKind.UPDATE_FIRMWARE:
        updating.install(unit)
        return
    assert command.modbus is not None
    value = chosen.argument if chosen.argument is not None else command.value
    assert value is not None
    word = round(value / command.modbus.scale) & 0xFFFF
    unit.write(command.modbus.register, command.modbus.address, [word])


def try_remedy(machine_type: str, code: str, remedy: str, folder: Path) -> tuple[Unit, float]:
    """Make one of two twins ill, give both the remedy; return it and how far they differ."""
    kind = LIBRARY[machine_type]
    chosen = kind.remedy(remedy)
    assert chosen is not None
    trust = Trust(machine_type, updating.KEY.public_key())
    ill = Unit(kind, warm(machine_type), trust, folder / "ill")
    well = Unit(kind, warm(machine_type), trust, folder / "well")
    ill.machine.inject(code)
    for unit in (ill, well):
        step(unit, 300)
        apply(unit, remedy)
        step(unit, int(chosen.settle_s + chosen.verify_s * 2 / 3))
    seen = shifts(ill.machine, well.machine, int(chosen.verify_s / 3))
    return ill, max(abs(seen[s.signal]) for s in spec(machine_type, code).symptoms)


CASES = [
    (machine_type, code, remedy.name)
    for machine_type, code in faults(Nature.REMOTE)
    for remedy in LIBRARY[machine_type].remedies
]


@pytest.mark.parametrize(("machine_type", "code", "remedy"), CASES)
def test_a_remedy_ends_its_own_faults_and_no_others(
    machine_type: str, code: str, remedy: str, tmp_path: Path
) -> None:
    ill, worst = try_remedy(machine_type, code, remedy, tmp_path)
    episode = ill.machine.episodes[0]
    model = CATALOGUE[machine_type][code]
    if remedy in model.cured_by:
        assert episode.ended_by == model.cured_by[0]
        assert worst < 1.5
    else:
        assert episode.ended_ns is None
        assert worst > 4


@pytest.mark.parametrize(("machine_type", "code"), faults(Nature.ON_SITE))
def test_only_a_visit_ends_what_needs_one(machine_type: str, code: str, tmp_path: Path) -> None:
    kind = LIBRARY[machine_type]
    trust = Trust(machine_type, updating.KEY.public_key())
    unit = Unit(kind, warm(machine_type), trust, tmp_path)
    episode = unit.machine.inject(code)
    for remedy in kind.remedies:
        apply(unit, remedy.name)
        step(unit, 30)
    step(unit, 200)
    assert episode.ended_ns is None
    unit.machine.repair(code)
    assert episode.ended_by == "repair"


def test_a_repair_puts_a_drifted_setting_right() -> None:
    machine = warm("centrifugal_pump")
    machine.inject("cavitation")
    run(machine, 120)
    assert machine.settings["suction_valve_pct"] == pytest.approx(22.0)
    machine.repair("cavitation")
    assert machine.settings["suction_valve_pct"] == 100.0


def test_a_half_hearted_setting_is_no_cure() -> None:
    machine = warm("centrifugal_pump")
    episode = machine.inject("cavitation")
    run(machine, 120)
    machine.write("suction_valve_pct", 40.0)
    run(machine, 60)
    assert episode.ended_ns is None
    assert machine.settings["suction_valve_pct"] == 40.0


def test_firmware_without_the_defect_cannot_have_its_fault() -> None:
    machine = warm("centrifugal_pump")
    machine.firmware, machine.defects = "1.1.0", ()
    with pytest.raises(Refused, match="no current_regulation defect"):
        machine.inject("firmware_bug")


def test_a_fault_cannot_be_there_twice_and_must_be_known() -> None:
    machine = warm("chiller")
    machine.inject("refrigerant_leak")
    with pytest.raises(Refused, match="already"):
        machine.inject("refrigerant_leak")
    with pytest.raises(Refused, match="has no fault 'rust'"):
        machine.inject("rust")
    with pytest.raises(Refused, match="does not have"):
        machine.repair("high_pressure")


def test_a_lost_link_silences_the_machine_for_a_while_and_a_cut_one_for_good() -> None:
    for code, back in (("link_loss", True), ("link_down", False)):
        machine = warm("air_compressor")
        machine.inject(code)
        assert not machine.answers
        run(machine, 400)
        assert machine.answers is back


def test_every_model_says_what_ends_it() -> None:
    for models in CATALOGUE.values():
        for code, model in models.items():
            assert _ways_to_end(model) == _expected_ways(model.nature), code


def _ways_to_end(model: FaultModel) -> int:
    held = model.hold_mode is not None
    return sum(map(bool, (model.pulse, model.setting, held, model.defect, model.lasts_s)))


def _expected_ways(nature: Nature) -> int:
    return 0 if nature is Nature.ON_SITE else 1


def test_factory_firmware_carries_the_known_defects() -> None:
    assert images.read(images.factory("centrifugal_pump")).defects == ("current_regulation",)
    assert images.read(images.factory("chiller")).defects == ()


def test_a_driver_is_never_a_symptom() -> None:
    for kind in LIBRARY.values():
        for fault in kind.faults:
            for symptom in fault.symptoms:
                signal = kind.signal(symptom.signal)
                assert signal is not None
                assert signal.role is Role.RESPONSE, f"{kind.name} {fault.code} {symptom.signal}"
