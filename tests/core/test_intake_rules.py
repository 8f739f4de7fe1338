"""Deduplication: pure rules, checked as properties."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.core.intake import (
    BEYOND_MAX,
    Position,
    accept,
)

S = 10**9
NOW_NS = 1_795_000_000 * S


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, list[int]]:
    n = draw(st.integers(1, 40))
    again = draw(st.lists(st.integers(1, n), max_size=40))
    return n, draw(st.permutations([*range(1, n + 1), *again]))


@given(deliveries())
def test_any_order_with_repetitions_ends_complete_and_each_is_fresh_once(
    case: tuple[int, list[int]],
) -> None:
    n, order = case
    position, kept = Position(), []
    for sequence in order:
        before = position
        position, fresh = accept(position, sequence)
        kept += [sequence] * fresh
        assert position.contiguous >= before.contiguous
        assert set(range(1, position.contiguous + 1)) <= set(kept), "acknowledged, but not here"
        assert all(s > position.contiguous + 1 for s in position.beyond)
    assert sorted(kept) == list(range(1, n + 1))
    assert position == Position(n)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 80)), max_size=60))
def test_what_is_covered_was_kept_or_given_up_by_its_sender(
    batches: list[tuple[int, int]],
) -> None:
    position, kept, given_up = Position(), set(), 0
    for sequence, oldest in batches:
        given_up = max(given_up, min(oldest, sequence) - 1)
        position, fresh = accept(position, sequence, oldest)
        assert not (fresh and sequence in kept), "kept twice"
        kept |= {sequence} if fresh else set()
        covered = set(range(1, position.contiguous + 1))
        assert covered <= kept | set(range(1, given_up + 1))


def test_a_gap_is_closed_by_the_senders_word() -> None:
    position, _ = accept(Position(2), 5)
    assert position == Position(2, frozenset({5}))
    position, fresh = accept(position, 6, oldest=5)
    assert (position, fresh) == (Position(6), True)


def test_a_sender_cannot_give_up_what_it_has_not_sent() -> None:
    position, fresh = accept(Position(), 3, oldest=10**15)
    assert (position, fresh) == (Position(3), True)


def test_memory_above_a_gap_is_bounded_and_nothing_is_lost_by_it() -> None:
    position = Position()
    for sequence in range(2, BEYOND_MAX + 100):
        position, _ = accept(position, sequence)
    assert len(position.beyond) == BEYOND_MAX
    far = BEYOND_MAX + 50
    position, fresh = accept(position, far)
    assert not fresh
    assert position.contiguous == 0, "not covered, so its sender keeps it"
    position, _ = accept(position, 1)
    assert position == Position(BEYOND_MAX + 1)
    for sequence in range(BEYOND_MAX + 2, far + 1):
        position, fresh = accept(position, sequence)
        assert fresh
    assert position == Position(far)
