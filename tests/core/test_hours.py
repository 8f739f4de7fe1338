"""A machine's hours: means of what was judged, each reading once."""

import math

from hypothesis import given
from hypothesis import strategies as st

from cloud.core import hours
from cloud.core.hours import HOUR_NS, READINGS_MIN, SIGMAS_MAX, Hour
from contract.faults import Deviation, Direction

S = 10**9


def far(signal: str, sigmas: float) -> Deviation:
    side = Direction.ABOVE if sigmas >= 0 else Direction.BELOW
    return Deviation(signal, side, abs(sigmas))


def test_an_hour_ends_with_the_means_of_its_readings() -> None:
    hour = Hour()
    for i in range(READINGS_MIN):
        seen = [far("a", -2.0 if i % 2 else 4.0)] + [far("b", 1e9)] * (i == 3)
        assert hours.add(hour, 7 * HOUR_NS + i * S, seen) is None
    ended = hours.add(hour, 9 * HOUR_NS, [far("c", 1.0)])
    assert ended == hours.Ended(8 * HOUR_NS, {"a": 1.0, "b": SIGMAS_MAX})
    assert (hour.number, hour.readings, set(hour.sums)) == (9, 1, {"c"})


def test_an_hour_with_too_few_readings_ends_without_a_word() -> None:
    hour = Hour()
    for i in range(READINGS_MIN - 1):
        hours.add(hour, i * S, [far("a", 3.0)])
    assert hours.add(hour, HOUR_NS, []) is None


def test_what_is_older_than_the_hour_under_way_changes_nothing() -> None:
    hour = Hour()
    hours.add(hour, 5 * HOUR_NS, [far("a", 3.0)])
    hours.add(hour, 4 * HOUR_NS, [far("a", -3.0)])
    assert (hour.readings, hour.sums) == (1, {"a": 3.0})


readings = st.lists(
    st.tuples(st.integers(0, 4 * HOUR_NS), st.floats(-1e300, 1e300) | st.just(math.inf)),
    max_size=80,
)


@given(readings)
def test_means_are_bounded_whatever_comes(seen: list[tuple[int, float]]) -> None:
    hour = Hour()
    for time_ns, sigmas in seen:
        ended = hours.add(hour, time_ns, [far("a", sigmas)])
        assert ended is None or abs(ended.means["a"]) <= SIGMAS_MAX
