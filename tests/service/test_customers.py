"""Messages reach a real receiver through Apprise, once, and answers come back by signed links."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from msgspec import structs

from cloud.adapters.store import Store
from cloud.config import AssetEntry, Config, Customer
from cloud.core.asset import AssetRow
from cloud.core.customers import Moment, Word
from cloud.service.customers import RETRY_S, Customers
from contract.errors import Malformed, Refused

NOW_NS = 1_795_330_800 * 10**9  # 07:00 UTC on a Sunday
SECRET = "a-secret-for-tests"


class Chat:
    """A chat's web hook, which may be told to fail."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.broken = False
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(500 if chat.broken else 200)
                self.end_headers()
                if not chat.broken:
                    chat.messages.append(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def chats() -> Iterator[list[Chat]]:
    made = [Chat(), Chat()]
    yield made
    for chat in made:
        chat.close()


class Clock:
    ns = NOW_NS

    def now_ns(self) -> int:
        return self.ns


@contextmanager
def service(
    folder: Path, urls: list[str], clock: Clock, **of_customer: str
) -> Iterator[tuple[Customers, Store]]:
    contacts = folder / "contacts"
    contacts.write_text("# how we reach them\n\n" + "\n".join(urls))
    customer = Customer.model_validate({"name": "c-1", "urls_file": contacts, **of_customer})
    asset = AssetEntry(
        device="pump-1", site="north", machine_type="centrifugal_pump", title="Pump", customer="c-1"
    )
    config = Config(data_dir=folder, customers=[customer], assets=[asset])
    store = Store(f"sqlite:///{folder / 'cases.db'}")
    store.put_assets([AssetRow(**asset.model_dump())])
    yield Customers(store, config, clock.now_ns, SECRET), store
    store.close()


def word(moment: Moment = Moment.FIXED, key: str = "k-1") -> Word:
    return Word(
        key=key, case_id="case-1", device="pump-1", moment=moment, at_ns=NOW_NS, title="Cavitation"
    )


def run_until(customers: Customers, done: object) -> None:
    async def run() -> None:
        loop = asyncio.create_task(customers.run())
        async with asyncio.timeout(120):
            while not done():  # type: ignore[operator]  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        loop.cancel()

    asyncio.run(run())


def test_a_message_reaches_every_contact_once(tmp_path: Path, chats: list[Chat]) -> None:
    with service(tmp_path, [chat.url for chat in chats], Clock()) as (customers, _):
        customers.tell(word())
        customers.tell(word())
        run_until(customers, lambda: customers.told()[0].state == "sent")
    for chat in chats:
        (message,) = chat.messages
        assert message["title"] == "Pump: runs well again"
        assert "Cavitation" in message["message"]
        assert "/feedback/" in message["message"]


def test_a_contact_that_fails_is_tried_again_and_the_other_hears_nothing_twice(
    tmp_path: Path, chats: list[Chat]
) -> None:
    clock = Clock()
    chats[1].broken = True
    with service(tmp_path, [chat.url for chat in chats], clock) as (customers, _):
        customers.tell(word())
        run_until(customers, lambda: customers.told()[0].error)
        assert customers.told()[0].state == "waiting"
        chats[1].broken = False
        clock.ns += int(RETRY_S[0] * 1e9)
        run_until(customers, lambda: customers.told()[0].state == "sent")
    assert [len(chat.messages) for chat in chats] == [1, 1]


def test_what_nobody_takes_ends_as_failed_and_people_are_told(
    tmp_path: Path, chats: list[Chat]
) -> None:
    clock = Clock()
    chats[0].broken = True
    with service(tmp_path, [chats[0].url], clock) as (customers, store):
        customers.tell(word())
        for count in range(len(RETRY_S) + 1):
            run_until(
                customers,
                lambda n=count: store.customers.told("", 1)[0].attempts > n,
            )
            clock.ns += int(max(RETRY_S) * 1e9)
        assert customers.told()[0].state == "failed"
        assert "1 messages" in customers.troubles()[0]


def test_in_quiet_hours_only_the_newest_message_waits_for_the_morning(
    tmp_path: Path, chats: list[Chat]
) -> None:
    clock = Clock()
    hours = {"quiet_from": "06:00", "quiet_until": "09:00"}
    with service(tmp_path, [chats[0].url], clock, **hours) as (customers, _):
        customers.tell(word(Moment.RECEIVED, "k-1"))
        customers.tell(word(Moment.FIXED, "k-2"))
        assert [told.state for told in customers.told()] == ["waiting", "superseded"]
        clock.ns += 7200 * 10**9
        run_until(customers, lambda: customers.told()[0].state == "sent")
    assert [message["title"] for message in chats[0].messages] == ["Pump: runs well again"]


def test_whoever_wants_no_messages_gets_none(tmp_path: Path, chats: list[Chat]) -> None:
    with service(tmp_path, [chats[0].url], Clock(), language="zh") as (customers, store):
        link = customers._links.dumps(["case-1", "c-1"])
        customers.tell(word())
        asyncio.run(customers.opt_out(link))
        assert [told.state for told in customers.told()] == ["opted_out"]
        customers.tell(word(Moment.FIXED, "k-2"))
        assert len(customers.told()) == 1
        assert customers.customers()[0].opted_out
        assert store.customers.due(2**62, 10) == []


def test_a_customer_reads_their_own_language(tmp_path: Path) -> None:
    with service(tmp_path, [], Clock(), language="zh") as (customers, _):
        known = "Cavitation: the suction valve has drifted partly closed"
        customers.tell(structs.replace(word(Moment.VISIT_PLANNED), title=known))
        (told,) = customers.told()
        assert "汽蚀" in told.text
        assert "稍后" in told.text


def test_forged_links_are_refused(tmp_path: Path) -> None:
    with service(tmp_path, [], Clock()) as (customers, _):
        good = customers._links.dumps(["case-1", "c-1"])
        for bad in ("", "x", good[:-1], good.replace(good[3], "A" if good[3] != "A" else "B", 1)):
            with pytest.raises(Refused, match="not valid"):
                customers.invitation(bad)
        with pytest.raises(Refused, match="not kept any more"):
            customers.invitation(good)


def test_contacts_that_apprise_does_not_know_are_refused_without_being_told(
    tmp_path: Path,
) -> None:
    with (
        pytest.raises(Malformed, match="contact 2 is no URL") as caught,
        service(tmp_path, ["json://example.com", "nosuch://user:secret@example.com"], Clock()),
    ):
        pass
    assert "secret" not in str(caught.value)
