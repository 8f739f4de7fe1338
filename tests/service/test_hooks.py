"""Events on their way to endpoints, over a real store and real HTTP."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from cloud.adapters import outgoing, webhook
from cloud.adapters.store import CaseRow, OutboxRow, Store
from cloud.config import Config
from cloud.core.telling import EventType, Telling
from cloud.service import hooks as service
from cloud.service.hooks import CONFIG, Hooks
from cloud.web.hook_ports import EndpointOrder
from contract.errors import Malformed, Refused
from tests.adapters import hook_receiver
from tests.adapters.hook_receiver import Answer, Got, Receiver

SPEED = 1000.0
"""Five plant minutes take 0.3 s here."""
OPENED, UPDATED, CLOSED = (
    EventType.TICKET_OPENED,
    EventType.TICKET_UPDATED,
    EventType.TICKET_CLOSED,
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with hook_receiver.receiving() as it:
        yield it


class World:
    """A store, and the hooks over it that can be started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(f"sqlite:///{folder / 'cases.db'}")
        self.origin_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self.settings: dict[str, object] = {}

    def decided(self, hooks: Hooks, case_id: str, *kinds: EventType) -> None:
        """Let a case go on as the desk does: saved with what others are told, then told."""
        known = self.store.case(case_id)
        version = known.version if known else 0
        events = [telling(version + n, kind, case_id) for n, kind in enumerate(kinds)]
        row = CaseRow(
            case_id=case_id,
            device=case_id,
            phase="dispatched",
            open=CLOSED not in kinds,
            opened_ns=1,
            updated_ns=1,
            version=version + len(kinds),
            data=b"{}",
        )
        outbox = [
            OutboxRow(
                key=e.id, case_id=case_id, kind="tell", payload=msgspec.json.encode(e), due_ns=1
            )
            for e in events
        ]
        self.store.save(row, version or None, [], outbox)
        for event in events:
            hooks.tell(event)

    def hooks(self) -> Hooks:
        scale = f"{SPEED:g}@{self.origin_ns}"
        config = Config.model_validate(
            {"data_dir": self.folder, "timescale": scale, **self.settings}
        )
        return Hooks(self.store, config)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


@asynccontextmanager
async def running(hooks: Hooks) -> AsyncIterator[Hooks]:
    task = asyncio.create_task(hooks.run())
    try:
        yield hooks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool], timeout_s: float = 120) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - waits for what the database shows
            await asyncio.sleep(0.01)


def telling(number: int = 0, kind: EventType = OPENED, subject: str = "case-1") -> Telling:
    return Telling(
        id=f"{subject}/tell/{number}.0",
        type=kind,
        subject=subject,
        device="pump-1",
        at_ns=1_795_330_800_000_000_000,
        data=msgspec.Raw(msgspec.json.encode({"ticket": {"key": subject}, "number": number})),
    )


def order(receiver: Receiver | str, **changes: object) -> EndpointOrder:
    url = receiver if isinstance(receiver, str) else receiver.url
    fields: dict[str, object] = {"name": "dispatch", "url": url, "allow_private": True}
    return EndpointOrder(**(fields | changes))  # type: ignore[arg-type]  # as a test says


def states(hooks: Hooks, **chosen: str) -> list[str]:
    return [d.state for d in reversed(hooks.deliveries(**chosen))]  # type: ignore[arg-type]


def numbers(receiver: Receiver) -> list[int]:
    return [json.loads(got.body)["data"]["number"] for got in receiver.got]


def heard(receiver: Receiver, subject: str) -> list[str]:
    events = [json.loads(got.body) for got in receiver.got]
    return [e["type"] for e in events if e["subject"] == subject and "ticket" in e["type"]]


async def test_an_event_arrives_once_signed_as_the_receiver_expects(
    world: World, receiver: Receiver
) -> None:
    async with running(world.hooks()) as hooks:
        endpoint, secret = await hooks.create(order(receiver), "admin")
        hooks.tell(telling())
        hooks.tell(telling())  # as after a crash
        await until(lambda: states(hooks) == ["delivered"])
        (got,) = receiver.got
        event = Webhook(secret).verify(got.body, got.headers)
        assert (event["id"], event["data"]["number"]) == (got.headers["webhook-id"], 0)
        (shown,) = hooks.endpoints()
        assert shown.delivered_ns
        assert (shown.waiting, shown.dead, shown.id) == (0, 0, endpoint.id)
        (attempt,) = hooks.attempts(hooks.deliveries()[0].id)
        assert (attempt.status, attempt.error) == (204, "")


async def test_events_of_one_subject_wait_for_each_other_and_for_nobody_else(
    world: World, receiver: Receiver
) -> None:
    failed: list[Got] = []
    well = threading.Event()

    def first_is_slow(got: Got) -> Answer:
        if json.loads(got.body)["subject"] == "case-1" and not well.is_set():
            failed.append(got)
            return (503, {}, b"busy")
        return (204, {}, b"")

    receiver.answer = first_is_slow
    async with running(world.hooks()) as hooks:
        await hooks.create(order(receiver), "admin")
        for number, kind in enumerate((OPENED, UPDATED, CLOSED)):
            hooks.tell(telling(number, kind))
        hooks.tell(telling(7, OPENED, "case-2"))
        await until(lambda: states(hooks, subject="case-2") == ["delivered"])
        await until(lambda: len(failed) > 1)
        assert states(hooks, subject="case-1") == ["waiting"] * 3
        well.set()
        await until(lambda: states(hooks) == ["delivered"] * 4)
    of_the_first = [number for number in numbers(receiver) if number != 7]
    assert of_the_first == [0] * len(failed) + [0, 1, 2]


async def test_a_dead_endpoint_holds_up_nobody_else(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TIMEOUT_S", 120.0)
    over = threading.Event()
    with hook_receiver.receiving(lambda _: (over.wait(120), (204, {}, b""))[1]) as stuck:
        async with running(world.hooks()) as hooks:
            slow, _ = await hooks.create(order(stuck, name="stuck"), "admin")
            well, _ = await hooks.create(order(receiver, name="well"), "admin")
            for number in range(30):
                hooks.tell(telling(number, OPENED, f"case-{number}"))
            await until(lambda: states(hooks, endpoint=well.id) == ["delivered"] * 30)
            assert set(states(hooks, endpoint=slow.id)) == {"waiting"}
            assert len(stuck.got) <= 8
            over.set()
            await until(lambda: states(hooks, endpoint=slow.id) == ["delivered"] * 30)


async def test_what_waits_is_sent_after_a_restart(world: World, receiver: Receiver) -> None:
    hooks = world.hooks()
    await hooks.create(order(receiver), "admin")
    hooks.tell(telling())
    assert receiver.got == []
    async with running(world.hooks()) as again:
        await until(lambda: states(again) == ["delivered"])
    assert len(receiver.got) == 1


async def test_a_lasting_error_is_given_up_told_and_replayed(
    world: World, receiver: Receiver
) -> None:
    receiver.answer = lambda _: (400, {}, b"what is this")
    async with running(world.hooks()) as hooks:
        await hooks.create(order(receiver), "admin")
        hooks.tell(telling())
        hooks.tell(telling(1, CLOSED))
        await until(lambda: states(hooks) == ["dead", "dead"])
        assert numbers(receiver) == [0, 0, 0, 0, 1, 1, 1, 1]
        assert hooks.troubles() == ["Webhook dispatch has not got 2 events; see Webhooks."]
        receiver.answer = lambda _: (204, {}, b"")
        ids = {got.headers["webhook-id"] for got in receiver.got[:4]}
        dead = hooks.deliveries()[1]
        assert "what is this" in dead.error
        await hooks.replay(dead.id, "admin")
        await until(lambda: states(hooks) == ["delivered", "dead"])
        assert {receiver.got[-1].headers["webhook-id"]} == ids
        with pytest.raises(Refused, match="not given up"):
            await hooks.replay(dead.id, "admin")


async def test_gone_disables_and_what_waits_is_given_up(world: World, receiver: Receiver) -> None:
    receiver.answer = lambda _: (410, {}, b"")
    async with running(world.hooks()) as hooks:
        endpoint, _ = await hooks.create(order(receiver), "admin")
        world.decided(hooks, "case-1", OPENED, UPDATED)
        await until(lambda: states(hooks) == ["dead", "dead"])
        assert numbers(receiver) == [0]
        assert all("disabled: It answered 410" in d.error for d in hooks.deliveries())
        assert "410" in hooks.troubles()[0]
        with pytest.raises(Refused, match="enable it first"):
            await hooks.replay(hooks.deliveries()[0].id, "admin")
        receiver.answer = lambda _: (204, {}, b"")
        await hooks.enable(endpoint.id, "admin", enabled=True)
        await until(lambda: states(hooks) == ["delivered", "delivered"])
        assert numbers(receiver) == [0, 0, 1]
        assert hooks.troubles() == []


async def test_a_disabled_endpoint_is_told_nothing_and_later_what_still_matters(
    world: World, receiver: Receiver
) -> None:
    with hook_receiver.receiving() as other:
        async with running(world.hooks()) as hooks:
            endpoint, _ = await hooks.create(order(receiver), "admin")
            await hooks.create(order(other, name="other"), "admin")
            world.decided(hooks, "known", OPENED)
            world.decided(hooks, "still-open", OPENED)
            await until(lambda: states(hooks, endpoint=endpoint.id) == ["delivered"] * 2)
            await hooks.enable(endpoint.id, "admin", enabled=False)
            world.decided(hooks, "known", CLOSED)
            world.decided(hooks, "over", OPENED, CLOSED)
            world.decided(hooks, "new", OPENED, UPDATED, EventType.CASE_REOPENED)
            assert states(hooks, endpoint=endpoint.id) == ["delivered"] * 2
            assert hooks.troubles() == []
            await hooks.enable(endpoint.id, "admin", enabled=True)
            world.decided(hooks, "new", CLOSED)
            await until(lambda: states(hooks) == ["delivered"] * 15)
    assert heard(receiver, "known") == [OPENED, CLOSED]
    assert heard(receiver, "still-open") == [OPENED]
    assert heard(receiver, "over") == []
    assert heard(receiver, "new") == [OPENED, UPDATED, CLOSED]
    assert len(other.got) == 9
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 6


async def test_what_is_under_way_when_an_endpoint_is_disabled_counts_if_it_is_taken(
    world: World, receiver: Receiver
) -> None:
    over = threading.Event()
    receiver.answer = lambda got: (
        over.wait(10),
        (503 if json.loads(got.body)["subject"] == "fails" else 204, {}, b""),
    )[1]
    async with running(world.hooks()) as hooks:
        endpoint, _ = await hooks.create(order(receiver), "admin")
        world.decided(hooks, "works", OPENED)
        world.decided(hooks, "fails", OPENED)
        await until(lambda: len(receiver.got) == 2)
        await hooks.enable(endpoint.id, "admin", enabled=False)
        assert states(hooks) == ["dead", "dead"]
        over.set()
        await until(lambda: states(hooks) == ["delivered", "dead"])
        await until(lambda: len(hooks.attempts(hooks.deliveries()[0].id)) == 1)
        assert states(hooks) == ["delivered", "dead"]


async def test_retry_after_is_kept_to_in_the_receivers_seconds(
    world: World, receiver: Receiver
) -> None:
    times: list[float] = []

    def ask(_: Got) -> Answer:
        times.append(time.monotonic())
        return (429, {"retry-after": "1"}, b"") if len(times) == 1 else (204, {}, b"")

    receiver.answer = ask
    async with running(world.hooks()) as hooks:
        await hooks.create(order(receiver), "admin")
        hooks.tell(telling())
        await until(lambda: states(hooks) == ["delivered"])
    assert times[1] - times[0] >= 1.0, "a thousand times longer than the schedule's first wait"


async def test_a_rotated_secret_overlaps(world: World, receiver: Receiver) -> None:
    async with running(world.hooks()) as hooks:
        endpoint, old = await hooks.create(order(receiver), "admin")
        new = await hooks.rotate(endpoint.id, "admin")
        hooks.tell(telling())
        await until(lambda: states(hooks) == ["delivered"])
        (got,) = receiver.got
        for secret in (old, new):
            assert Webhook(secret).verify(got.body, got.headers)
        row = world.store.hooks.endpoints()[0]
    later = msgspec.structs.replace(row, old_until_ns=1)
    world.store.hooks.put_endpoint(later)
    async with running(world.hooks()) as hooks:
        hooks.tell(telling(1))
        await until(lambda: states(hooks) == ["delivered"] * 2)
    assert " " not in receiver.got[1].headers["webhook-signature"]


async def test_ed25519_shows_only_the_public_key(world: World, receiver: Receiver) -> None:
    async with running(world.hooks()) as hooks:
        endpoint, told = await hooks.create(order(receiver, signing="ed25519"), "admin")
        assert told == endpoint.public_key
        assert told.startswith("whpk_")
        hooks.tell(telling())
        await until(lambda: states(hooks) == ["delivered"])
    assert receiver.got[0].headers["webhook-signature"].startswith("v1a,")


async def test_an_endpoint_gets_what_it_asked_for(world: World, receiver: Receiver) -> None:
    async with running(world.hooks()) as hooks:
        await hooks.create(order(receiver, events=[CLOSED.value]), "admin")
        for number, kind in enumerate((OPENED, UPDATED, CLOSED, EventType.CASE_ENDED)):
            hooks.tell(telling(number, kind))
        await until(lambda: states(hooks) == ["delivered"])
    assert numbers(receiver) == [2]


async def test_a_test_event_tells_what_came_of_it(world: World, receiver: Receiver) -> None:
    async with running(world.hooks()) as hooks:
        endpoint, secret = await hooks.create(order(receiver), "admin")
        done = await hooks.test(endpoint.id, "admin")
        assert (done.state, done.status, done.type) == ("delivered", 204, EventType.TEST)
        assert Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)
        receiver.answer = lambda _: (500, {}, secret.encode())
        done = await hooks.test(endpoint.id, "admin")
        assert (done.state, done.status) == ("waiting", 500)
        assert secret not in done.error


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"url": "https://127.0.0.1/", "allow_private": False}, "no public address"),
        ({"url": "https://nowhere.invalid/"}, "cannot resolve"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "taken"}, "already"),
        ({"events": ["farfix.nonsense"]}, "no event"),
        ({"format": "pagerduty"}, "routing_key"),
        ({"settings": {"colour": "red"}}, "no setting"),
    ],
)
async def test_a_bad_order_is_refused_and_says_why(
    world: World, receiver: Receiver, changes: dict[str, object], why: str
) -> None:
    hooks = world.hooks()
    await hooks.create(order(receiver, name="taken"), "admin")
    with pytest.raises(Refused, match=why):
        await hooks.create(order(receiver, **changes), "admin")
    assert len(hooks.endpoints()) == 1


async def test_the_file_sets_an_endpoint_that_only_the_file_changes(
    world: World, receiver: Receiver, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(webhook.new_secret())
    old = secret.read_text()
    hook = {"url": receiver.url, "secret_file": secret, "allow_private": True}
    world.settings = {"webhook": hook}
    async with running(world.hooks()) as hooks:
        hooks.tell(telling())
        hooks.tell(telling(1, EventType.CASE_ENDED))  # cases are nothing for dispatch
        await until(lambda: states(hooks) == ["delivered"])
        with pytest.raises(Refused, match="file"):
            await hooks.rotate(CONFIG, "admin")
        with pytest.raises(Refused, match="file"):
            await hooks.delete(CONFIG, "admin")
    secret.write_text(webhook.new_secret())
    async with running(world.hooks()) as hooks:
        hooks.tell(telling(2))
        await until(lambda: states(hooks) == ["delivered"] * 2)
    for known in (old, secret.read_text()):
        assert Webhook(known).verify(receiver.got[1].body, receiver.got[1].headers)
    world.settings = {}
    hooks = world.hooks()
    assert hooks.endpoints()[0].disabled == service.REMOVED
    world.decided(hooks, "case-2", OPENED)
    assert states(hooks) == ["delivered"] * 2
    world.settings = {"webhook": hook}
    assert states(world.hooks()) == ["delivered"] * 2 + ["waiting"]
    world.settings = {}
    hooks = world.hooks()
    assert states(hooks) == ["delivered"] * 2 + ["dead"]
    await hooks.delete(CONFIG, "admin")
    secret.write_text("nonsense")
    world.settings = {"webhook": hook}
    with pytest.raises(Malformed, match="farfix secrets"):
        world.hooks()


async def test_secrets_stay_where_they_are(world: World, receiver: Receiver) -> None:
    hooks = world.hooks()
    key = "R" * 32
    endpoint, _ = await hooks.create(
        order(receiver, format="pagerduty", settings={"routing_key": key}), "admin"
    )
    assert key not in str(endpoint)
    renamed = msgspec.structs.replace(endpoint.order, name="renamed")
    await hooks.change(endpoint.id, renamed, "admin")
    assert key in world.store.hooks.endpoints()[0].order.decode()
    elsewhere = msgspec.structs.replace(renamed, url=receiver.url + "/other")
    with pytest.raises(Refused, match="routing_key"):  # a new target is not given the old key
        await hooks.change(endpoint.id, elsewhere, "admin")
    lines = [row.text + row.what for row in world.store.updates.audit(limit=100)]
    assert len(lines) == 2
    assert not any(key in line for line in lines)


async def test_deleting_forgets_what_waits(world: World, receiver: Receiver) -> None:
    hooks = world.hooks()
    endpoint, _ = await hooks.create(order(receiver), "admin")
    hooks.tell(telling())
    await hooks.delete(endpoint.id, "admin")
    assert (hooks.endpoints(), hooks.deliveries()) == ([], [])
    with pytest.raises(Refused, match="no webhook endpoint"):
        await hooks.enable(endpoint.id, "admin", enabled=True)


async def test_a_full_queue_drops_what_is_new_and_says_so(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.adapters.hook_store.WAITING_MAX", 3)
    hooks = world.hooks()
    await hooks.create(order(receiver), "admin")
    for number in range(5):
        hooks.tell(telling(number))
    assert states(hooks) == ["waiting"] * 3 + ["dropped"] * 2
    assert "2 events" in hooks.troubles()[0]


async def test_a_hundred_tickets_are_through_in_seconds(world: World, receiver: Receiver) -> None:
    async with running(world.hooks()) as hooks:
        await hooks.create(order(receiver), "admin")
        for number in range(100):
            for step, kind in enumerate((OPENED, CLOSED)):
                hooks.tell(telling(step, kind, f"case-{number}"))
        await until(lambda: hooks.endpoints()[0].waiting == 0, 60)  # 2 s are usual
    assert len(receiver.got) == 200
