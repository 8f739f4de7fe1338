"""Windows and lanes: what is on its way, what goes first, and when a new numbering begins."""

from hypothesis import given
from hypothesis import strategies as st

from edge.core import lanes, window
from edge.core.lanes import Lane
from edge.core.window import Sent, Window

Events = st.lists(
    st.tuples(st.sampled_from(["send", "ack", "silence", "reconnect"]), st.integers(0, 50)),
    max_size=60,
)


@given(Events)
def test_the_window_loses_nothing_and_stays_bounded(events: list[tuple[str, int]]) -> None:
    spool = list(range(1, 200))
    mine, heard = Window(), {0}
    for what, number in events:
        match what:
            case "send":
                more = [s for s in spool if s > mine.last][: min(number, window.room(mine))]
                heard |= set(more)
                mine = window.after_sending(mine, [Sent(s, live=False) for s in more], 0.0)
            case "ack":
                mine = window.after_ack(mine, number, 1.0)
                spool = [s for s in spool if s > mine.acked]
            case "silence":
                mine = window.after_silence(mine)
            case "reconnect":
                mine = window.from_the_start(mine)
        assert len(mine.sent) <= window.WINDOW
        waiting = {s.sequence for s in mine.sent} | {s for s in spool if s > mine.last}
        assert waiting >= set(spool), "a batch is neither on its way nor to be sent"
        assert mine.highest == max(heard)
        assert mine.acked <= mine.highest, "nobody can have what was never sent"


def test_silence_makes_it_ask_with_one_batch_and_an_ack_opens_it_again() -> None:
    batches = [Sent(s, live=True) for s in (1, 2, 3)]
    mine = window.after_sending(Window(), batches, now_s=100)
    assert not window.overdue(mine, 109)
    assert window.overdue(mine, 111)
    asking = window.after_silence(mine)
    assert (asking.timeout_s, window.room(asking), asking.probing) == (20, 1, True)
    asked = window.after_sending(asking, batches[:1], now_s=111)
    assert window.room(asked) == 0
    assert not window.overdue(asked, 130)
    for _ in range(9):
        asked = window.after_sending(window.after_silence(asked), batches[:1], now_s=200)
    assert asked.timeout_s == window.ACK_TIMEOUT_CAP_S
    after = window.after_ack(asked, 2, 201)
    assert (after.timeout_s, after.probing, after.last) == (10, False, 2)
    assert window.after_ack(after, 2, 202) == after


def test_live_stays_live_when_repeated_shortly_after_and_history_stays_history() -> None:
    mine = window.after_sending(Window(), [Sent(1, live=True), Sent(2, live=False)], now_s=0)
    again = window.from_the_start(mine)
    assert window.is_live(again, 1, 100, fresh_s=30, first=True)
    assert window.is_live(again, 1, 100, fresh_s=30, first=False)
    assert not window.is_live(again, 1, 121, fresh_s=30, first=True), "an hour later it is past"
    assert not window.is_live(again, 2, 1, fresh_s=30, first=True)
    assert window.is_live(again, 3, 30, fresh_s=30, first=True)
    assert not window.is_live(again, 3, 31, fresh_s=30, first=True)
    assert not window.is_live(again, 3, 1, fresh_s=30, first=False), "something newer has left"


def sent(lane: Lane, *numbers: int) -> Lane:
    batches = [Sent(n, live=True) for n in numbers]
    return Lane(lane.boot, lane.newest, window.after_sending(lane.window, batches, 0.0))


def test_backlogs_are_drained_one_after_the_other_and_forgotten_when_done() -> None:
    mine: lanes.Lanes = ()
    for boot, newest in (("a", 2), ("b", 1), ("c", 3)):
        mine = lanes.written(mine, boot, newest)
    first = lanes.backlog(mine, current="c")
    assert first is not None
    assert (first.boot, first.unsent) == ("a", 2)
    mine = (sent(mine[0], 1, 2), *mine[1:])
    first = lanes.backlog(mine, current="c")
    assert first is not None
    assert (first.boot, first.unsent) == ("a", 0), "b waits until the gateway holds a"
    mine = lanes.without_drained(lanes.acked(mine, "a", 2, 1.0), current="c")
    assert [lane.boot for lane in mine] == ["b", "c"]
    assert lanes.acked(mine, "unknown", 5, 1.0) == mine
    done = (sent(mine[1], 1, 2, 3),)
    assert lanes.without_drained(lanes.acked(done, "c", 3, 1.0), current="c") != ()


def test_only_an_old_batch_and_a_gateway_that_answers_begin_a_new_numbering() -> None:
    lane = Lane("a", 5)
    assert lanes.overtakes((lane,), lane, oldest_age_s=31, fresh_s=30)
    assert not lanes.overtakes((lane,), lane, oldest_age_s=30, fresh_s=30)
    asking = Lane("a", 5, window.after_silence(Window()))
    assert not lanes.overtakes((asking,), asking, oldest_age_s=31, fresh_s=30)
    many = tuple(Lane(str(n), 1) for n in range(lanes.LANES_MAX))
    assert not lanes.overtakes(many, many[-1], oldest_age_s=31, fresh_s=30)
    assert lanes.LANES_MAX < 16


def test_the_newest_that_has_left_leads() -> None:
    mine = (Lane("a", 5), Lane("b", 5))
    assert lanes.leads(mine, "a")
    assert not lanes.leads((mine[0], sent(mine[1], 1)), "a")
    assert lanes.leads((mine[0], sent(mine[1], 1)), "b")


@given(
    st.integers(0, lanes.BACKLOG_IN_FLIGHT), st.integers(1, lanes.PASS_MAX), st.integers(0, 1000)
)
def test_backlogs_share_a_bounded_number_of_batches(
    in_flight: int, size: int, backlogs: int
) -> None:
    left, each = lanes.budget(in_flight, size, backlogs)
    assert 0 <= left <= size
    assert left + in_flight <= lanes.BACKLOG_IN_FLIGHT or left == 0
    assert each >= 1


@given(st.lists(st.floats(0, 100), max_size=30))
def test_the_pace_follows_the_broker_within_bounds(spent_s: list[float]) -> None:
    size = lanes.PASS_MAX
    for s in spent_s:
        after = lanes.paced(size, s)
        assert 1 <= after <= lanes.PASS_MAX
        assert (after < size) == (s > lanes.PASS_LONG_S and size > 1)
        size = after
