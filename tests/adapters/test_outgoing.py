"""Requests to addresses that people entered: a real server, and names that lie."""

import threading
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from cloud.adapters import outgoing
from cloud.adapters.outgoing import Answer, Door, Request
from contract.errors import Refused, Unreachable
from tests.adapters import hook_receiver
from tests.adapters.hook_receiver import Got, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with hook_receiver.receiving() as it:
        yield it


async def send(url: str, *, allow_private: bool = True, body: bytes = b"{}") -> Answer:
    door = Door()
    try:
        return await door.send(Request(url=url, headers={}, body=body), allow_private=allow_private)
    finally:
        await door.close()


async def test_the_receiver_sees_its_own_name(receiver: Receiver) -> None:
    answer = await send(receiver.url + "?a=1")
    assert answer.taken
    (got,) = receiver.got
    assert got.headers["host"] == receiver.url.split("/")[2]
    assert (got.method, got.path, got.body) == ("POST", "/hook?a=1", b"{}")


@pytest.mark.parametrize(
    ("status", "lasting"),
    [*((s, False) for s in (408, 425, 429, 500, 503)), *((s, True) for s in (400, 404, 410, 422))],
)
async def test_an_answer_says_whether_it_may_change(
    receiver: Receiver, status: int, lasting: bool
) -> None:
    receiver.answer = lambda _: (status, {}, b"no")
    answer = await send(receiver.url)
    assert (answer.taken, answer.lasting) == (False, lasting)
    assert answer.said(receiver.url + "?key=hidden").endswith(f"/hook answered {status}: no")


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        ("120", 120.0),
        ("soon", None),
        ("-5", None),
        (formatdate(0, usegmt=True), 0.0),
    ],
)
async def test_retry_after_is_read(
    receiver: Receiver, header: str, expected_s: float | None
) -> None:
    receiver.answer = lambda _: (429, {"retry-after": header}, b"")
    assert (await send(receiver.url)).retry_after_s == expected_s


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda _: (302, {"location": receiver.url}, b"")
    answer = await send(receiver.url)
    assert answer.lasting
    assert "redirect" in answer.said(receiver.url)
    assert len(receiver.got) == 1


async def test_silence_is_for_later(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "TIMEOUT_S", 0.2)
    over = threading.Event()

    def wait(_: Got) -> hook_receiver.Answer:
        over.wait(60)
        return (200, {}, b"")

    receiver.answer = wait
    with pytest.raises(Unreachable, match="did not answer within"):
        await send(receiver.url)
    over.set()


async def test_nobody_there_is_for_later() -> None:
    with pytest.raises(Unreachable):
        await send("http://127.0.0.1:1/hook")
    with pytest.raises(Unreachable, match="cannot resolve"):
        await send("https://nowhere.invalid/hook")


async def test_only_the_beginning_of_an_answer_is_read(receiver: Receiver) -> None:
    receiver.answer = lambda _: (500, {}, b"x" * 50_000_000)
    answer = await send(receiver.url)
    assert len(answer.body) == outgoing.MAX_ANSWER_BYTES
    assert len(answer.said(receiver.url)) < 400


async def test_a_gigantic_body_is_refused(receiver: Receiver) -> None:
    with pytest.raises(Refused, match="limit"):
        await send(receiver.url, body=b"x" * (outgoing.MAX_BODY_BYTES + 1))
    assert receiver.got == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[64:ff9b::7f00:1]/",
        "https://100.64.0.1/",
        "https://[fd00::1]/",
    ],
)
async def test_targets_inside_the_network_need_permission(url: str) -> None:
    with pytest.raises(Refused, match="allow_private"):
        await send(url, allow_private=False)


@pytest.mark.parametrize("allow_private", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest",
        "https://[::ffff:169.254.169.254]/latest",
        "https://[fd00:ec2::254]/latest",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[fe80::1]/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://224.0.0.1/",
        "https://[::127.0.0.1]/",
        "https://255.255.255.255/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://a b/",
        "https:///nowhere",
        "https://user:word@example.com/",
        "https://example.com@10.0.0.1/",
        "https://" + "a" * 3000 + ".example/",
    ],
)
async def test_some_targets_are_never_allowed(url: str, allow_private: bool) -> None:
    with pytest.raises(Refused) as caught:
        await send(url, allow_private=allow_private)
    assert "word" not in str(caught.value).replace("a name or password", "")


@pytest.mark.parametrize(
    "url", ["http://example.com/", "ftp://example.com/", "example.com", "h:x", "", "file:///etc"]
)
async def test_only_https_goes_out_into_the_world(url: str) -> None:
    with pytest.raises(Refused, match=r"https|URL"):
        await send(url, allow_private=False)


async def test_a_name_that_changes_its_address_is_looked_at_every_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [["93.184.215.14"], ["127.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        assert host == "rebinding.example"
        return answers.pop(0)

    monkeypatch.setattr(outgoing, "resolve", resolve)
    url = "https://rebinding.example/"
    assert await outgoing.vetted(url, allow_private=False) == ["93.184.215.14"]
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        await send(url, allow_private=False)


async def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "192.168.0.1"]

    monkeypatch.setattr(outgoing, "resolve", resolve)
    with pytest.raises(Refused, match=r"192\.168\.0\.1"):
        await outgoing.vetted("https://mixed.example/", allow_private=False)


async def test_the_vetted_address_is_the_one_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.2", "127.0.0.1"] if len(asked) == 1 else ["10.255.255.1"]

    monkeypatch.setattr(outgoing, "resolve", resolve)
    port = receiver.server.server_port
    answer = await send(f"http://plant.example:{port}/x")
    assert answer.taken  # the first address does not answer, the second does; nobody asks again
    assert asked == ["plant.example"]
    assert receiver.got[0].headers["host"] == f"plant.example:{port}"
