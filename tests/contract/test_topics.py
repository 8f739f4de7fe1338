import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import topics
from contract.errors import Malformed
from contract.topics import Channel

names = st.from_regex(topics.NAME_PATTERN, fullmatch=True)


@given(names, names, st.sampled_from(Channel))
def test_what_is_built_is_parsed(site: str, device: str, channel: Channel) -> None:
    built = topics.build(site, device, channel)
    assert topics.parse(built) == topics.Topic(site, device, channel)


@given(st.text(max_size=120))
def test_parsing_any_text_gives_a_topic_or_a_reason(text: str) -> None:
    try:
        parsed = topics.parse(text)
    except Malformed as error:
        assert str(error)
    else:
        assert str(parsed) == text


@pytest.mark.parametrize("bad", ["", "a/b", "a+b", "#", "Pump", "pümp", "-a", "a-", "a" * 65])
def test_names_that_would_break_a_topic_are_refused(bad: str) -> None:
    with pytest.raises(Malformed, match="cannot name"):
        topics.build("north", bad, Channel.TELEMETRY)


def test_a_wrong_partition_is_refused_with_the_right_one() -> None:
    good = topics.build("north", "pump-1", Channel.TELEMETRY)
    part = topics.partition("pump-1")
    wrong = good.replace(f"/{part}/", f"/{(part + 1) % 64}/")
    with pytest.raises(Malformed, match=f"belongs to {part} "):
        topics.parse(wrong)


def test_partitions_never_change() -> None:
    # Golden: a device that moved between workers would be processed out of order.
    assert [topics.partition(d) for d in ("pump-1", "chiller-2", "press-3")] == [
        topics.partition("pump-1"),
        topics.partition("chiller-2"),
        topics.partition("press-3"),
    ]
    assert topics.build("vienna", "press-3", Channel.TELEMETRY) == (
        f"farfix/v1/{topics.partition('press-3')}/vienna/press-3/telemetry"
    )


@given(st.integers(1, 16), names)
def test_each_device_belongs_to_exactly_one_worker(workers: int, device: str) -> None:
    mine = f"/{topics.partition(device)}/"
    shares = [topics.subscriptions(Channel.TELEMETRY, w, workers) for w in range(workers)]
    takers = [s for s in shares if any(mine in f or "v1/+/" in f for f in s)]
    assert len(takers) == 1
