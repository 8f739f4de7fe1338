"""When to poll, and when to send what was read."""

from hypothesis import given
from hypothesis import strategies as st

from contract.telemetry import Quality, Reading, readings
from edge.core import batcher, schedule

S = 10**9


@given(st.integers(0, 100 * S), st.integers(1, 60))
def test_the_next_tick_lies_ahead_on_the_grid_and_misses_none_before(
    late_ns: int, interval_s: int
) -> None:
    plan = schedule.start(interval_s, now_ns=5)
    after = schedule.answered(plan, 5 + late_ns)
    assert after.due_ns > 5 + late_ns
    assert (after.due_ns - 5) % (interval_s * S) == 0
    assert after.due_ns - (5 + late_ns) <= interval_s * S


def test_a_silent_device_is_asked_less_and_less_up_to_a_cap() -> None:
    plan, now_ns, waits = schedule.start(5, 0), 0, []
    for _ in range(8):
        plan = schedule.failed(plan, now_ns, spent_ns=0, silent_units=1, units=1)
        waits.append((plan.due_ns - now_ns) // S)
        now_ns = plan.due_ns
    assert waits == [5, 10, 20, 40, 60, 60, 60, 60]
    assert schedule.answered(plan, now_ns) == schedule.Schedule(5 * S, now_ns + 5 * S)


def test_one_lost_frame_does_not_make_a_device_silent() -> None:
    once = schedule.failed(schedule.start(5, 0), 1, spent_ns=S, silent_units=0, units=2)
    assert not once.silent
    assert once.due_ns == 5 * S
    twice = schedule.failed(once, 5 * S, spent_ns=S, silent_units=1, units=2)
    assert twice.silent


@given(st.integers(2, 20), st.integers(1, 19), st.integers(1, 5 * S))
def test_silent_units_cost_their_bus_a_tenth_at_most(
    units: int, silent: int, spent_ns: int
) -> None:
    silent = min(silent, units - 1)
    plan = schedule.Schedule(S, due_ns=0, failures=5)
    wait_ns = schedule.failed(plan, 0, spent_ns, silent, units).due_ns
    assert silent * spent_ns <= 0.1 * (wait_ns + spent_ns) + 1


def test_while_all_units_are_silent_nobody_is_spared() -> None:
    plan = schedule.Schedule(5 * S, due_ns=0, failures=1)
    assert schedule.failed(plan, 0, 30 * S, silent_units=2, units=2).due_ns == 10 * S


def tick(at_s: float, value: float | None = 1.0, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(int(at_s * S), {"a": value, "b": 2.0}, {"a": quality, "b": Quality.GOOD})


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_every_tick_leaves_once_in_order_and_times_increase(times: list[int]) -> None:
    pending, left = batcher.Pending(), []
    for at in times:
        pending, full = batcher.add(pending, tick(at))
        left += [full] if full else []
        if batcher.ripe(pending, 3, (at + 5) * S):
            left.append(pending.ticks)
            pending = batcher.Pending()
    left += [pending.ticks] if pending.ticks else []
    assert [t.time_ns // S for ticks in left for t in ticks] == times
    for ticks in left:
        batcher.message(ticks, "b", 1).check()
        assert len(ticks) <= 3


def test_ticks_do_not_wait_long_for_company() -> None:
    pending, _ = batcher.add(batcher.Pending(), tick(0))
    assert not batcher.ripe(pending, 5, 5 * S)
    assert batcher.ripe(pending, 5, 60 * S)


def test_a_message_unfolds_into_what_was_read() -> None:
    ticks = (tick(1), tick(2, None, Quality.BAD))
    assert readings(batcher.message(ticks, "boot", 4)) == list(ticks)
    plain = batcher.message((tick(1),), "boot", 5)
    assert plain.quality is None
    assert readings(plain) == [tick(1)]
