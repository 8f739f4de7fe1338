"""From a decision at the desk to the dispatch system: the outbox and the webhooks together."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from cloud.adapters.store import OutboxRow, OutboxState
from cloud.core.telling import Telling
from cloud.service import outbox
from cloud.service.hooks import Hooks
from cloud.service.outbox import Outbox, Told
from cloud.service.parts import Parts
from cloud.web import ticket_views
from contract.errors import Unreachable
from contract.tickets import ClosingReport
from contract.timescale import Timescale
from farfix.demo.dispatch import Dispatch
from tests.service.test_desk import alarm, desk_of, parts

HURRIED = Timescale(600.0, time.time_ns())  # noqa: TID251 - where the webhooks' time begins
"""Five minutes until a delivery is tried again take half a second."""
SECRET = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"


@pytest.fixture
def hook(tmp_path: Path) -> dict[str, object]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    return {"url": "http://127.0.0.1:9/", "secret_file": secret, "allow_private": True}


@pytest.fixture
def dispatch() -> Iterator[Dispatch]:
    with Dispatch(SECRET) as it:
        yield it


def hooks_of(made: Parts) -> Hooks:
    return Hooks(made.store, made.config.model_copy(update={"timescale": str(HURRIED)}))


async def perform(
    made: Parts,
    hooks: Hooks,
    done: Callable[[], bool],
    tell: Callable[[Telling], None] | None = None,
) -> None:
    """Run outbox and hooks until something has come of it."""
    told = Told(tell or hooks.tell, lambda _: None, lambda _: None)
    box = Outbox(made, lambda _: None, lambda *_: None, lambda *_: None, told)
    loops = [asyncio.create_task(loop) for loop in (box.run(), hooks.run())]
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110 - waits for what the database shows
            await asyncio.sleep(0.02)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def test_a_ticket_reaches_a_receiver_that_was_away_exactly_once(
    tmp_path: Path, hook: dict[str, object], dispatch: Dispatch
) -> None:
    with parts(tmp_path, webhook=hook) as made:
        hooks = hooks_of(made)
        alarm(desk_of(made), fault="discharge_overpressure")
        await perform(made, hooks, lambda: any(d.error for d in hooks.deliveries()))
        assert "127.0.0.1:9" in hooks.deliveries()[-1].error
        key = made.store.cases()[0].case_id
        assert ticket_views.delivery(made.store, key) == "waiting"
    hook["url"] = dispatch.url
    with parts(tmp_path, webhook=hook) as made:
        hooks = hooks_of(made)
        await perform(made, hooks, lambda: ticket_views.delivery(made.store, key) == "delivered")
        await desk_of(made).report(key, ClosingReport(finding="other"))
        await perform(made, hooks, lambda: key in dispatch.ended)
        assert dispatch.deliveries == {key: 1}
        assert dispatch.problems() == []
        assert len(made.store.tickets()) == 1


async def test_an_event_that_has_to_wait_lets_no_later_one_pass(
    tmp_path: Path, hook: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LOOK_S", 0.01)
    heard: list[str] = []

    def tell(event: Telling) -> None:
        heard.append(event.id)
        if len(heard) < 4:
            raise Unreachable("the database is locked")

    with parts(tmp_path, webhook=hook) as made:
        alarm(desk_of(made), fault="discharge_overpressure")
        case_id = made.store.cases()[0].case_id
        rows = [row for row in made.store.outbox(case_id) if row.kind == "tell"]
        assert len(rows) > 1

        def done() -> bool:
            now = [r.state for r in made.store.outbox(case_id) if r.kind == "tell"]
            return set(now) == {OutboxState.DONE}

        await perform(made, hooks_of(made), done, tell)
        decided = [msgspec.json.decode(row.payload, type=Telling).id for row in rows]
        assert heard == [*decided[:1] * 3, *decided]


async def test_what_is_decided_is_performed_at_once_and_nothing_is_looked_for_meanwhile(
    tmp_path: Path, hook: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LOOK_S", 3600.0)
    looks: list[int] = []
    with parts(tmp_path, webhook=hook) as made:
        due = made.store.due

        def look(now_ns: int, limit: int) -> list[OutboxRow]:
            looks.append(now_ns)
            return due(now_ns, limit)

        monkeypatch.setattr(made.store, "due", look)
        told = Told(lambda _: None, lambda _: None, lambda _: None)
        box = Outbox(made, lambda _: None, lambda *_: None, lambda *_: None, told)
        loop = asyncio.create_task(box.run())
        await asyncio.sleep(0.3)
        assert len(looks) == 1
        alarm(desk_of(made), fault="discharge_overpressure")
        async with asyncio.timeout(60):
            while not made.store.tickets():  # noqa: ASYNC110 - waits for what the database shows
                await asyncio.sleep(0.02)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def test_what_was_performed_is_pruned_when_its_case_is_long_over(
    tmp_path: Path, hook: dict[str, object]
) -> None:
    with parts(tmp_path, webhook=hook, keep_closed_days=30) as made:
        desk = desk_of(made)
        alarm(desk, fault="discharge_overpressure")
        case_id = made.store.cases()[0].case_id
        await desk.report(case_id, ClosingReport(finding="other"))
        for row in made.store.outbox(case_id):
            made.store.done(row.key, made.clock.now_ns())
        told = Told(lambda _: None, lambda _: None, lambda _: None)
        for days, left in ((29, True), (2, False)):
            made.clock.ns += days * 86_400 * 10**9  # type: ignore[attr-defined]  # a test's clock
            box = Outbox(made, lambda _: None, lambda *_: None, lambda *_: None, told)
            loop = asyncio.create_task(box.run())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            assert bool(made.store.outbox(case_id)) is left
        assert made.store.case(case_id) is not None
        assert made.store.timeline(case_id)
