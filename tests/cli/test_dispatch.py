"""The demo's stand-in for dispatch believes only signed deliveries, and follows each ticket."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from cloud.adapters import webhook
from farfix.demo.dispatch import Dispatch


@pytest.fixture
def dispatch() -> Iterator[Dispatch]:
    with Dispatch(webhook.new_secret()) as it:
        yield it


def event(kind: str = "opened", title: str = "Bearing") -> bytes:
    data = {"ticket": {"key": "case-1", "title": title}}
    return json.dumps({"type": f"farfix.ticket.{kind}", "data": data}).encode()


def post(
    dispatch: Dispatch, secret: str, body: bytes = b"", message: str = "msg_1", late_s: int = 0
) -> int:
    now_s = int(time.clock_gettime(time.CLOCK_REALTIME))
    signed = webhook.signed_request(secret, message, now_s - late_s, body or event())
    return httpx.post(dispatch.url, content=signed.body, headers=signed.headers).status_code


def test_a_signed_ticket_is_taken_and_counted(dispatch: Dispatch) -> None:
    assert post(dispatch, dispatch.secret) == 204
    assert post(dispatch, dispatch.secret) == 204
    assert dispatch.deliveries == {"case-1": 2}
    assert dispatch.tickets["case-1"]["title"] == "Bearing"
    assert post(dispatch, dispatch.secret, event("withdrawn"), "msg_2") == 204
    assert dispatch.ended == {"case-1": "farfix.ticket.withdrawn"}
    assert dispatch.problems() == []


def test_the_same_id_with_another_content_is_noticed(dispatch: Dispatch) -> None:
    post(dispatch, dispatch.secret)
    post(dispatch, dispatch.secret, event(title="Seal"))
    assert dispatch.problems() == ["ticket case-1 was delivered again with another content"]


def test_a_ticket_that_is_told_in_the_wrong_order_is_noticed(dispatch: Dispatch) -> None:
    post(dispatch, dispatch.secret, event("closed"), "msg_2")
    post(dispatch, dispatch.secret)
    assert dispatch.problems() == [
        "ticket case-1 got farfix.ticket.closed before it was opened",
        "ticket case-1 was opened twice",
        "ticket case-1 got farfix.ticket.opened after farfix.ticket.closed",
    ]


def test_strangers_and_old_deliveries_are_refused(dispatch: Dispatch) -> None:
    assert post(dispatch, webhook.new_secret()) == 401
    assert post(dispatch, dispatch.secret, late_s=3600) == 401
    assert httpx.post(dispatch.url, content=event()).status_code == 401
    assert dispatch.problems() == ["3 deliveries were not signed as agreed"]
    assert dispatch.tickets == {}
