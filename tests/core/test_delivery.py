"""When an event is sent again: the whole schedule as a table, and what always holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core import delivery
from cloud.core.delivery import DELAYS_S, DeliveryState, Next, Outcome

S = 10**9
NOW_NS = 1_795_330_800 * S
DAY_S = 86_400
TAKEN = Outcome(status=204)
BUSY = Outcome(status=503, error="busy")
SILENT = Outcome(status=None, error="no answer")
WRONG = Outcome(status=400, error="what is this", lasting=True)
GONE = Outcome(status=410, error="gone", lasting=True)


def asked(wait_s: float) -> Outcome:
    return Outcome(status=429, error="slowly", retry_after_s=wait_s)


@pytest.mark.parametrize(
    ("attempts", "outcome", "state", "made", "wait_s"),
    [
        (0, TAKEN, DeliveryState.DELIVERED, 1, 0),
        (7, TAKEN, DeliveryState.DELIVERED, 8, 0),
        (0, BUSY, DeliveryState.WAITING, 1, 5),
        (0, SILENT, DeliveryState.WAITING, 1, 5),
        (1, SILENT, DeliveryState.WAITING, 2, 300),
        (8, BUSY, DeliveryState.WAITING, 9, DAY_S),
        (9, BUSY, DeliveryState.DEAD, 10, 0),
        (0, asked(60), DeliveryState.WAITING, 1, 60),
        (1, asked(60), DeliveryState.WAITING, 2, 300),
        (0, asked(10 * DAY_S), DeliveryState.WAITING, 1, DAY_S),
        (0, WRONG, DeliveryState.WAITING, 1, 5),
        (2, WRONG, DeliveryState.WAITING, 3, 1800),
        (3, WRONG, DeliveryState.DEAD, 4, 0),
        (0, GONE, DeliveryState.WAITING, 0, 0),
        (9, GONE, DeliveryState.WAITING, 9, 0),
    ],
)
def test_an_attempt_leads_to(
    attempts: int, outcome: Outcome, state: DeliveryState, made: int, wait_s: float
) -> None:
    expected = Next(state, made, NOW_NS + int(wait_s * S))
    assert delivery.after(attempts, outcome, NOW_NS, 0.0) == expected


def test_the_schedule_takes_three_days() -> None:
    assert 3 * DAY_S <= sum(DELAYS_S) <= 3.5 * DAY_S


@given(st.integers(0, 30), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_retries_spread_and_end(attempts: int, jitter: float, asked_s: float | None) -> None:
    outcome = Outcome(status=503, error="busy", retry_after_s=asked_s)
    going = delivery.after(attempts, outcome, NOW_NS, jitter)
    assert going.attempts == attempts + 1
    if attempts >= len(DELAYS_S):
        assert going.state is DeliveryState.DEAD
        return
    wait_s = (going.due_ns - NOW_NS) / S
    assert going.state is DeliveryState.WAITING
    assert DELAYS_S[attempts] <= wait_s + 1e-6
    assert wait_s <= max(1.2 * DELAYS_S[attempts], min(asked_s or 0, DAY_S)) + 1e-6


@given(st.lists(st.sampled_from([BUSY, SILENT, WRONG, asked(3.0)]), min_size=10, max_size=10))
def test_whatever_fails_ten_times_is_given_up(outcomes: list[Outcome]) -> None:
    attempts, state = 0, DeliveryState.WAITING
    for outcome in outcomes:
        if state is DeliveryState.WAITING:
            going = delivery.after(attempts, outcome, NOW_NS, 0.5)
            attempts, state = going.attempts, going.state
    assert state is DeliveryState.DEAD


@pytest.mark.parametrize(
    ("outcome", "since_s", "why"),
    [
        (TAKEN, None, ""),
        (BUSY, 0, ""),
        (BUSY, 5 * DAY_S - 1, ""),
        (BUSY, 5 * DAY_S, "taken nothing for 5 days"),
        (GONE, 0, "410"),
        (TAKEN, 9 * DAY_S, ""),
    ],
)
def test_an_endpoint_is_disabled(outcome: Outcome, since_s: int | None, why: str) -> None:
    since_ns = None if since_s is None else NOW_NS - since_s * S
    said = delivery.disabled(outcome, since_ns, NOW_NS)
    assert (why in said) if why else not said


@given(st.text(), st.text())
def test_ids_are_the_same_for_the_same_event_only(one: str, other: str) -> None:
    assert (delivery.message_id(one) == delivery.message_id(other)) == (one == other)
    assert "." not in delivery.message_id(one)
