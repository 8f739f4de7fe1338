"""What an open browser is told about the fleet: all of it once, then what changed."""

import asyncio
from collections.abc import Callable

import pytest
from nicegui import core

from cloud.web.console import fleet_feed
from cloud.web.console.fleet_feed import Feed, Picture, news
from cloud.web.schemas import Fleet
from cloud.web.views import Views
from contract.errors import Unreachable
from tests.web.fixture_world import WorldDesk

PUMP = ("pump-1", "Pump", "north", "Centrifugal pump", "B", "SN-1")
FAN = ("fan-1", "Fan", "north", "Fan", "B", "")
CALM = ("healthy", "Healthy", 0.31, 1000, 100, None)
WILD = ("alarm", "Deviating", 1.31, 1001, 100, None)


BEAT_S = 0.02


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that reads many times a second."""
    monkeypatch.setattr(fleet_feed, "FEED_BEAT_S", BEAT_S)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not holds():  # noqa: ASYNC110 - waits for what a thread does
            await asyncio.sleep(BEAT_S)


class CountedViews(Views):
    """Views that count how often the fleet is read, and may not answer."""

    reads = 0
    silent = False

    def fleet(self) -> Fleet:
        self.reads += 1
        if self.silent:
            raise Unreachable("the store does not answer")
        return super().fleet()


@pytest.fixture
def views(desk: WorldDesk) -> CountedViews:
    return CountedViews(desk)


@pytest.fixture
async def feed(desk: WorldDesk, views: CountedViews, monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())  # as NiceGUI does at its start
    return Feed(desk, views)


def test_a_new_browser_is_told_everything() -> None:
    told = news(None, Picture(1002, {"machines": 2}, [PUMP, FAN], [CALM, WILD]))
    assert told["machines"] == [PUMP, FAN]
    assert told["states"] == [(0, *CALM), (1, *WILD)]


def test_an_open_one_is_told_what_changed() -> None:
    before = Picture(1002, {"machines": 2}, [PUMP, FAN], [CALM, CALM])
    told = news(before, Picture(1003, {"machines": 2}, [PUMP, FAN], [CALM, WILD]))
    assert told == {"now": 1003, "summary": {"machines": 2}, "states": [(1, *WILD)]}


def test_a_machine_more_or_less_makes_the_list_anew() -> None:
    two = Picture(1002, {}, [PUMP, FAN], [CALM, WILD])
    one = Picture(1003, {}, [FAN], [WILD])
    assert news(two, one)["machines"] == [FAN]
    assert news(one, two)["states"] == [(0, *CALM), (1, *WILD)]


async def test_who_opens_the_page_within_a_beat_gets_the_same_picture(
    feed: Feed, views: CountedViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_feed, "FEED_BEAT_S", 1000.0)
    first, second = await feed.picture(), await feed.picture()
    assert first is second
    assert views.reads == 1
    assert [machine[0] for machine in first.machines] == ["chiller-1", "pump-1", "pump-2"]


async def test_all_who_look_share_one_reading_and_none_reads_when_nobody_looks(
    feed: Feed, views: CountedViews, quick: None
) -> None:
    seen: dict[str, list[Picture]] = {"one": [], "two": []}
    for who, pictures in seen.items():
        feed.follow(who, pictures.append)
    await until(lambda: len(seen["one"]) > 1)
    for who in seen:
        feed.leave(who)
    await until(lambda: not feed._runs)
    assert seen["one"] == seen["two"]
    reads = views.reads
    assert reads - len(seen["one"]) in (0, 1), "one reading for both, and one that nobody awaited"
    await asyncio.sleep(BEAT_S * 10)
    assert views.reads == reads


async def test_a_store_that_does_not_answer_is_asked_again(
    feed: Feed, views: CountedViews, quick: None
) -> None:
    seen: list[Picture] = []
    views.silent = True
    feed.follow("one", seen.append)
    await until(lambda: views.reads > 1)
    assert seen == []
    views.silent = False
    await until(lambda: bool(seen))
    feed.leave("one")


async def test_small_lines_are_drawn_once_for_all(
    feed: Feed, desk: WorldDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = feed.sparks(["pump-1", "pump-2", "no-such"])
    assert drawn["pump-1"].startswith("M")
    assert (drawn["pump-2"], drawn["no-such"]) == ("", "")
    monkeypatch.setattr(desk.series, "read", None)  # nothing is read again
    assert feed.sparks(["pump-1"]) == {"pump-1": drawn["pump-1"]}
