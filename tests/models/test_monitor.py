"""The monitor's promises: it finds, it does not learn faults, it never raises, it survives."""

import math
from collections.abc import Iterable
from copy import deepcopy

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import Malformed
from contract.telemetry import Quality, Reading
from models import visits
from models.monitor import STATES, Assessment, Monitor, State
from models.settings import Settings
from tests.models import plant

MACHINE = plant.machine()
HOUR_NS = 3_600_000_000_000


def judge(monitor: Monitor, readings: Iterable[Reading]) -> list[Assessment]:
    return [monitor.update(r) for r in readings]


def hour(a: Assessment) -> float:
    return (a.time_ns - plant.START_NS) / HOUR_NS


@pytest.fixture(scope="module")
def commissioned() -> bytes:
    """A monitor that has seen 1.3 healthy hours of seed 1."""
    monitor = Monitor(MACHINE)
    judge(monitor, plant.readings(1.3, seed=1))
    assert monitor.progress == 1.0
    return monitor.save()


def restored(data: bytes) -> Monitor:
    return Monitor.restore(MACHINE, data)


def after(hours: float, **what: object) -> list[Reading]:
    """Return what follows on the hours that ``commissioned`` has seen."""
    rows = plant.readings(hours, seed=1, **what)  # type: ignore[arg-type]
    return [r for r in rows if r.time_ns - plant.START_NS >= 1.3 * HOUR_NS]


def test_commissioning_takes_its_time_and_then_judges() -> None:
    monitor = Monitor(MACHINE)
    seen = judge(monitor, plant.readings(1.5, seed=2))
    progress = [a.progress for a in seen]
    assert progress == sorted(progress)
    assert {a.state for a in seen if a.progress < 1} == {State.COMMISSIONING}
    assert seen[-1].state is State.HEALTHY
    assert 1.0 <= hour(next(a for a in seen if a.progress == 1)) <= 1.3


def test_healthy_running_with_mode_changes_and_a_restart_raises_no_alarm(
    commissioned: bytes,
) -> None:
    seen = judge(restored(commissioned), after(4, stops=((2, 2.02), (3, 3.2)), steps=((2.6, 8),)))
    assert State.ALARM not in {a.state for a in seen}
    assert sum(a.state is State.HEALTHY for a in seen) > 0.4 * len(seen)


@pytest.mark.parametrize(
    ("signal", "size"),
    [("flow", -8.0), ("pressure", -8.0), ("power", -8.0), ("metal", -60.0), ("vibration", -8.0)],
)
def test_a_fault_is_found_named_by_its_signal_and_ends_with_its_cure(
    commissioned: bytes, signal: str, size: float
) -> None:
    """The metal follows the load slowly and by a law of its own, so less is known of it."""
    seen = judge(restored(commissioned), after(2.2, faults=((signal, 1.5, 1.8, size),)))
    alarms = [a for a in seen if a.state is State.ALARM]
    assert alarms
    assert 1.5 < hour(alarms[0]) < 1.65  # nine minutes at most
    leading = max(alarms, key=lambda a: a.score or 0).deviations[0]
    assert (leading.signal, leading.direction.value) == (signal, "below")
    assert hour(alarms[-1]) < 1.9
    assert seen[-1].state is State.HEALTHY


def test_a_lasting_fault_is_never_learned(commissioned: bytes) -> None:
    seen = judge(restored(commissioned), after(3.5, faults=(("vibration", 1.5, 9.0, 12.0),)))
    late = [a for a in seen if hour(a) > 1.7 and a.state is not State.UNJUDGED]
    assert len(late) > 500
    assert {a.state for a in late} == {State.ALARM}


def test_a_single_spike_is_no_alarm(commissioned: bytes) -> None:
    rows = after(1.6)
    rows[60].values["flow"] = 199.0
    assert State.ALARM not in {a.state for a in judge(restored(commissioned), rows)}


def test_a_mode_never_commissioned_is_news_and_no_fault() -> None:
    monitor = Monitor(MACHINE)
    judge(monitor, plant.readings(1.1, seed=3, eco=((0, 9),)))
    rows = [r for r in plant.readings(1.6, seed=3, eco=((0, 1.1),)) if r.values["mode"] == 2]
    seen = judge(monitor, rows[-100:])
    assert {a.state for a in seen} == {State.UNJUDGED}
    assert all(a.score is None for a in seen)


def test_modes_that_are_not_judged_are_not_judged(commissioned: bytes) -> None:
    seen = judge(restored(commissioned), after(2, stops=((1.4, 9),)))
    assert {a.state for a in seen if hour(a) > 1.4} == {State.UNJUDGED}


def test_late_and_doubled_readings_change_nothing(commissioned: bytes) -> None:
    rows = after(1.5)
    plain, disturbed = restored(commissioned), restored(commissioned)
    expected = judge(plain, rows)
    seen = []
    for i, row in enumerate(rows):
        seen.append(disturbed.update(row))
        assert disturbed.update(row).state is State.UNJUDGED
        if i > 5:
            disturbed.update(rows[i - 5])
    assert seen == expected


def test_a_clock_set_back_stops_judging_only_for_a_moment(commissioned: bytes) -> None:
    rows = after(1.8)
    ahead = msgspec.structs.replace(rows[0], time_ns=rows[0].time_ns + 10**18)
    seen = judge(restored(commissioned), [ahead, *rows[1:]])
    assert seen[-1].state is State.HEALTHY


def test_missing_drivers_and_modes_leave_nothing_to_judge(commissioned: bytes) -> None:
    for name in ("load", "mode"):
        rows = after(1.5)
        for r in rows:
            r.quality[name] = Quality.MISSING
            r.values[name] = None
        seen = judge(restored(commissioned), rows)
        assert {a.state for a in seen[12:]} == {State.UNJUDGED}


def test_a_missing_response_is_left_out_and_the_rest_is_judged(commissioned: bytes) -> None:
    rows = after(1.8, faults=(("pressure", 1.5, 9.0, 10.0),))
    for r in rows:
        del r.values["vibration"]
        r.values["stranger"] = 1e9
    seen = judge(restored(commissioned), rows)
    assert seen[-1].state is State.ALARM
    assert {d.signal for d in seen[-1].deviations} == {"flow", "pressure", "power", "metal"}


def test_a_machine_without_drivers_and_mode_is_judged_by_its_own_past() -> None:
    bare = msgspec.structs.replace(
        MACHINE, signals=[s for s in MACHINE.signals if s.name in ("vibration", "flow")], faults=[]
    )
    config = Settings(commissioning_s=1000)
    rows = list(plant.readings(1.2, seed=4, eco=((0, 9),), faults=(("vibration", 0.9, 9, 15.0),)))
    seen = judge(Monitor(bare, config), rows)
    assert State.ALARM not in {a.state for a in seen if hour(a) < 0.9}
    assert seen[-1].state is State.ALARM


def test_recommissioning_starts_anew(commissioned: bytes) -> None:
    monitor = restored(commissioned)
    monitor.recommission()
    assert monitor.progress == 0.0
    assert monitor.update(after(1.4)[0]).state is State.COMMISSIONING


@pytest.mark.parametrize("cut", [400, 950])
def test_a_restored_monitor_goes_on_bit_by_bit(cut: int) -> None:
    rows = list(plant.readings(1.5, seed=5, faults=(("flow", 1.35, 2, 6.0),)))
    straight = Monitor(MACHINE)
    judge(straight, rows[:cut])
    other = restored(straight.save())
    assert judge(straight, rows[cut:]) == judge(other, rows[cut:])
    assert straight.save() == other.save()


def test_rows_are_judged_like_readings_and_assessed_when_asked(commissioned: bytes) -> None:
    names = [s.name for s in MACHINE.signals]
    readings = after(2.0, stops=((1.7, 1.75),), faults=(("flow", 1.5, 1.6, -8.0),))
    readings[50].values["pressure"] = None
    readings[60].values["pressure"] = 12.1
    readings[70] = readings[69]
    by_rows, by_readings = restored(commissioned), restored(commissioned)
    for i, r in enumerate(readings):
        values = np.array([np.nan if (v := r.values[n]) is None else v for n in names])
        quality = np.array([Quality.MISSING if np.isnan(v) else Quality.GOOD for v in values])
        score, state = by_rows.judge_row(r.time_ns, values, quality.astype(np.uint8))
        marks = {n: Quality(q) for n, q in zip(names, quality, strict=True)}
        if i == 60:
            marks["pressure"] = Quality.UNCERTAIN
        expected = by_readings.update(msgspec.structs.replace(r, quality=marks))
        assert by_rows.assessment() == expected
        assert STATES[state] is expected.state
        assert math.isnan(score) if expected.score is None else score == expected.score
    assert by_rows.save() == by_readings.save()


def test_a_copy_goes_on_by_itself(commissioned: bytes) -> None:
    rows = after(1.8, faults=(("flow", 1.4, 9.0, -8.0),))
    monitor = restored(commissioned)
    judge(monitor, rows[:100])
    other = deepcopy(monitor)
    assert other.assessment() == monitor.assessment()
    before = monitor.save()
    seen = judge(other, rows[100:])
    assert monitor.save() == before
    assert judge(monitor, rows[100:]) == seen
    assert State.ALARM in {a.state for a in seen}


def test_a_row_of_another_width_is_an_error_and_not_read_beyond_its_end(
    commissioned: bytes,
) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        restored(commissioned).judge_row(plant.START_NS, np.zeros(3), np.zeros(3, np.uint8))


@pytest.mark.parametrize(
    "what", ["ladder", "now", "weights", "lags", "learned modes", "another type"]
)
def test_a_state_that_does_not_fit_is_refused(commissioned: bytes, what: str) -> None:
    monitor = restored(commissioned)
    state = monitor._state
    r = state.reference
    assert r is not None
    if what == "ladder":
        state.conditions.ladder = state.conditions.ladder[:, :-1].copy()
    elif what == "now":
        state.verdict.now = state.verdict.now[:, :-1].copy()
    elif what == "weights":
        r.weights = r.weights[:, :-1].copy()
    elif what == "lags":
        r.second[0] = 11
    elif what == "learned modes":
        state.visits.modes = [visits.Learned.begin(np.zeros(3), r, Settings())]
    else:
        r.sigma = r.sigma.astype(np.float32)
    with pytest.raises(Malformed, match="does not fit"):
        restored(monitor.save())


def test_a_stranger_is_refused(commissioned: bytes) -> None:
    signals = list(MACHINE.signals)
    signals[3] = msgspec.structs.replace(signals[3], unit="l/s")
    other = msgspec.structs.replace(MACHINE, signals=signals)
    with pytest.raises(Malformed, match="other signals"):
        Monitor.restore(other, commissioned)
    with pytest.raises(Malformed, match="other signals or settings"):
        Monitor.restore(MACHINE, commissioned, Settings(alarm_z=9))
    broken = bytearray(commissioned)
    broken[-100] ^= 1
    with pytest.raises(Malformed, match="damaged"):
        Monitor.restore(MACHINE, bytes(broken))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        Monitor.restore(MACHINE, data)


NUMBERS = st.one_of(
    st.none(), st.floats(), st.integers(-(10**400), 10**400), st.just(math.nan), st.booleans()
)
NAMES = st.sampled_from([s.name for s in MACHINE.signals] + ["", "stranger"])
READINGS = st.builds(
    Reading,
    time_ns=st.integers(0, 2**63 - 1),
    values=st.dictionaries(NAMES, NUMBERS),
    quality=st.dictionaries(NAMES, st.sampled_from(Quality)),
)


@settings(max_examples=60)
@given(st.lists(READINGS, max_size=40))
def test_no_data_makes_it_raise(commissioned: bytes, rows: list[Reading]) -> None:
    quick = Settings(commissioning_s=1e-9, commissioning_samples=8)
    for monitor in (Monitor(MACHINE, quick), restored(commissioned)):
        for row in rows:
            seen = monitor.update(row)
            assert seen.score is None or seen.score >= 0
            assert 0 <= seen.progress <= 1
            assert msgspec.json.decode(msgspec.json.encode(seen))["time_ns"] == row.time_ns
        Monitor.restore(MACHINE, monitor.save(), monitor._settings)
