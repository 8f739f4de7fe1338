"""The dispatch drill, small: a real gateway, killed twice, and a receiver that fails."""

from pathlib import Path

import pytest

from cloud.adapters import webhook
from farfix.drill import dispatch
from farfix.drill.dispatch_receiver import Receiver
from tests import peers


@pytest.mark.real
@pytest.mark.timeout(900)
def test_every_case_has_one_opening_and_one_end(tmp_path: Path) -> None:
    peers.program("mosquitto", "mosquitto")
    found = dispatch.run(tmp_path, cases=40, kills=2, seed=7)
    assert found.problems == []
    assert (found.kills, found.withdrawn, found.closed) == (2, 20, 20)
    assert found.events >= 80
    assert found.requests > found.events  # it did fail


def event(kind: str, key: str = "case-1") -> bytes:
    return b'{"id":"%s","type":"farfix.ticket.%s","data":{"ticket":{"key":"%s"}}}' % (
        kind.encode(), kind.encode(), key.encode(),
    )  # fmt: skip


def judged(*kinds: str, expected: str = "closed") -> str:
    secret = webhook.new_secret()
    receiver = Receiver(secret, 0)
    for n, kind in enumerate(kinds):
        receiver._take(kind if n == kinds.index(kind) else f"{kind}{n}", event(kind))
    return " ".join(receiver.judge({"case-1": f"farfix.ticket.{expected}"}))


def test_the_drills_judge_sees_what_is_wrong() -> None:
    assert judged("opened", "updated", "closed") == ""
    assert "opened 2 times" in judged("opened", "opened", "closed")
    assert "never came" in judged()
    assert "came before its opening" in judged("closed", "opened")
    assert "came after farfix.ticket.closed" in judged("opened", "closed", "withdrawn")
    assert "ended with None" in judged("opened")
    assert "not farfix.ticket.withdrawn" in judged("opened", "closed", expected="withdrawn")


def test_the_drills_receiver_refuses_what_is_not_signed() -> None:
    secret = webhook.new_secret()
    receiver = Receiver(secret, 0)
    signed = webhook.signed_request(webhook.new_secret(), "msg_1", 1, event("opened"))
    assert receiver.decide(signed.headers, signed.body) == "401"
    assert receiver.opened == []
    assert "signature refused" in " ".join(receiver.judge({}))
