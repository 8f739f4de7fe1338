"""Checks blame the sensor or its wire, and leave the machine's faults to the machine."""

from typing import Any

import numpy as np
import pytest

from contract.machines import CheckKind, MachineType, Signal, library
from contract.telemetry import Quality, Reading
from firmware_sim.physics import MACHINES
from models import checks, checks_kernel
from models.checks import CheckResult
from models.checks_kernel import SAME
from models.monitor import Monitor, State
from models.sample import Layout, Sample, sample
from models.settings import DEFAULT, Settings
from tests.models import plant
from tests.models.evaluate import Run

MACHINE = plant.machine()


def _advance(
    c: checks.Checks, s: Sample, layout: Layout, settings: Settings, *, judged: bool
) -> None:
    wrong = s.invalid | s.outside if judged else s.invalid
    how = np.array([checks_kernel.JUDGED if judged else checks_kernel.IDLE], np.uint8)
    row: Any = (
        *c.arrays(), np.zeros(1, np.int64), np.array([s.time_ns]), s.raw[None],
        (wrong.astype(np.int8) - ~np.isnan(s.usable))[None], how, np.zeros(1, np.uint8),
        layout.low, layout.high, len(layout.responses), *checks.thresholds(settings),
    )  # fmt: skip
    checks_kernel.advance(*row)


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


def _moved(rows: list[Reading], name: str, by: list[float]) -> list[Reading]:
    pairs = zip(rows, by, strict=True)
    return [Reading(r.time_ns, {**r.values, name: (r.values[name] or 0) + d}, {}) for r, d in pairs]


def test_a_block_played_again_under_new_times_is_the_device_and_over_with_the_first_new_row(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    rows = healthy[1]
    again = [Reading(r.time_ns, rows[i % 40].values, {}) for i, r in enumerate(rows[:120])]
    monitor = Monitor.restore(MACHINE, healthy[0])
    seen = [monitor.update(r) for r in again]
    first = next(i for i, a in enumerate(seen) if a.checks)
    assert 40 + 6 <= first <= 40 + 30
    assert [(c.kind, c.signal) for c in seen[-1].checks] == [(CheckKind.STALE, "")]
    assert "40 readings before" in seen[-1].checks[0].detail
    assert not monitor.update(rows[120]).checks


def test_responses_that_all_stand_still_while_the_conditions_move_are_the_device(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    seen = [monitor.update(r) for r in _frozen(healthy[1][:80], list(plant.NOISE))]
    assert [(c.kind, c.signal) for c in seen[-1].checks] == [(CheckKind.STALE, "")]


def test_jumps_there_and_straight_back_are_a_loose_contact(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    rows = healthy[1][:260]
    spiky = _moved(rows, "pressure", [3.0 * (i in (20, 30, 40)) for i in range(260)])
    seen = [monitor.update(r) for r in spiky]
    failing = [i for i, a in enumerate(seen) if a.checks]
    assert failing[0] == 41
    assert {(c.kind, c.signal) for a in seen for c in a.checks} == {(CheckKind.LOOSE, "pressure")}
    assert failing[-1] < 259


@pytest.mark.parametrize("case", ["once", "all at once", "a step that lasts"])
def test_other_jumps_are_no_loose_contact(healthy: tuple[bytes, list[Reading]], case: str) -> None:
    monitor = Monitor.restore(MACHINE, healthy[0])
    rows = healthy[1][:160]
    if case == "once":
        rows = _moved(rows, "pressure", [3.0 * (i == 20) for i in range(160)])
    elif case == "all at once":
        for name, size in (("pressure", 3.0), ("flow", 60.0)):
            rows = _moved(rows, name, [size * (i in (20, 30, 40)) for i in range(160)])
    else:
        rows = _moved(rows, "pressure", [1.0 * (i >= 20) for i in range(160)])
    seen = [monitor.update(r) for r in rows]
    assert not any(c.kind is CheckKind.LOOSE for a in seen for c in a.checks)


@pytest.fixture(scope="module")
def hours() -> tuple[bytes, list[Reading]]:
    """A commissioned monitor and the five hours that follow."""
    rows = list(plant.readings(6.5, seed=11))
    monitor = Monitor(MACHINE)
    for r in rows[:1000]:
        monitor.update(r)
    assert monitor.progress == 1.0
    return monitor.save(), rows[1000:]


def _walk(hours: tuple[bytes, list[Reading]], **sizes: float) -> list[set[tuple[CheckKind, str]]]:
    """Return the checks that fail after each reading while signals walk away, in their noise."""
    rows = hours[1]
    for name, size in sizes.items():
        ramp = [size * plant.NOISE[name] * min(1.0, i / 2500) for i in range(len(rows))]
        rows = _moved(rows, name, ramp)
    monitor = Monitor.restore(MACHINE, hours[0])
    seen = [monitor.update(r) for r in rows]
    assert any(a.state is State.ALARM for a in seen)
    return [{(c.kind, c.signal) for c in a.checks} for a in seen]


@pytest.mark.parametrize(("name", "size"), [("pressure", 40), ("flow", -40), ("vibration", 40)])
def test_a_response_that_walks_away_alone_although_faults_would_move_others_has_drifted(
    hours: tuple[bytes, list[Reading]], name: str, size: float
) -> None:
    seen = _walk(hours, **{name: size})
    assert set.union(*seen) == {(CheckKind.DRIFTED, name)}
    assert sum(map(bool, seen)) >= 300


@pytest.mark.parametrize(
    "sizes", [{"vibration": 40, "metal": 15}, {"flow": -40, "pressure": 8}, {"vibration": -40}]
)
def test_no_sensor_is_blamed_for_a_known_fault_nor_where_nothing_tells_them_apart(
    hours: tuple[bytes, list[Reading]], sizes: dict[str, float]
) -> None:
    assert set.union(*_walk(hours, **sizes)) == set()


def test_the_checks_go_on_exactly_after_a_restart(hours: tuple[bytes, list[Reading]]) -> None:
    rows = hours[1][:700]
    rows = _moved(rows, "flow", [60.0 * (i % 11 == 0 and i > 350) for i in range(700)])
    rows = _moved(rows, "pressure", [0.004 * i for i in range(700)])
    monitor = Monitor.restore(MACHINE, hours[0])
    for r in rows[:400]:
        monitor.update(r)
    other = Monitor.restore(MACHINE, monitor.save())
    assert [monitor.update(r) for r in rows[400:]] == [other.update(r) for r in rows[400:]]
    assert monitor.save() == other.save()


def test_a_number_that_rests_where_it_has_never_been_is_stuck_only_if_the_reference_says_so(
    healthy: tuple[bytes, list[Reading]],
) -> None:
    rows = _frozen(healthy[1][:80], ["flow"], 20.0)
    monitor = Monitor.restore(MACHINE, healthy[0])
    assert any(monitor.update(r).checks for r in rows)
    layout, c = Layout(MACHINE), Monitor.restore(MACHINE, healthy[0])._state.checks
    for r in rows:
        _advance(c, sample(layout, r), layout, DEFAULT, judged=True)
    assert not c.stuck.any()


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_healthy_simulated_machines_with_baits_and_restarts_fail_no_check(name: str) -> None:
    run = Run(MACHINES[name], library()[name], 3)
    monitor = Monitor(run.machine)
    found: list[CheckResult] = []
    for what in ("", "", "demand_step", "restart", "mode_switch"):
        if what == "restart":
            run.sim.pulse(what)
        elif what:
            run.sim.inject(what)
        for _ in range(400):
            reading = run.reading()
            found += monitor.update(reading).checks if reading else []
    assert monitor.progress == 1.0
    assert not found


@pytest.mark.parametrize("different", [3, 40, 1100, 5000])
def test_a_row_is_found_again_as_long_as_it_is_remembered(different: int) -> None:
    """Rows of so many kinds: many share a class of hashes, many have been written over."""
    signals = [Signal(name="a", title="A", unit="", range=(0, 1e9))]
    layout = Layout(MachineType(name="m", title="M", poll_interval_s=1, signals=signals))
    draw, c = np.random.default_rng(different), checks.empty(layout)
    past: list[int] = []
    lag = same = 0
    values = draw.integers(0, different, 4000)
    values[2000:2300] = values[1200:1500]
    values[3000:3100] = values[3000]
    for i, value in enumerate(values.tolist()):
        judged = bool(draw.random() < 0.97)
        row, no = np.array([float(value)]), np.zeros(1, bool)
        s = Sample(i * 10**9, row, row, no, no, np.zeros(0))
        _advance(c, s, layout, Settings(stuck_s=0), judged=judged)
        if lag and len(past) >= lag and past[-lag] == value:
            same += 1
        else:
            lag = next((k for k in range(1, min(len(past), 1024) + 1) if past[-k] == value), 0)
            same = min(lag, 1)
        same = same if judged else 0
        past = [*past, value][-1024:] if judged else past
        assert (c.repeats.lag, c.repeats_[0, SAME]) == (lag, same)
