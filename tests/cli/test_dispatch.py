"""The demo's stand-in for dispatch believes only signed deliveries, and counts them."""

import time
from collections.abc import Iterator

import httpx
import pytest

from cloud.adapters import webhook
from farfix.demo.dispatch import Dispatch

BODY = b'{"data": {"key": "case-1", "title": "Bearing"}}'


@pytest.fixture
def dispatch() -> Iterator[Dispatch]:
    with Dispatch(webhook.new_secret()) as it:
        yield it


def post(dispatch: Dispatch, secret: str, body: bytes = BODY, late_s: int = 0) -> int:
    now_s = int(time.clock_gettime(time.CLOCK_REALTIME))
    signed = webhook.signed_request(secret, "case-1", now_s - late_s, body)
    return httpx.post(dispatch.url, content=signed.body, headers=signed.headers).status_code


def test_a_signed_ticket_is_taken_and_counted(dispatch: Dispatch) -> None:
    assert post(dispatch, dispatch.secret) == 204
    assert post(dispatch, dispatch.secret) == 204
    assert dispatch.deliveries == {"case-1": 2}
    assert dispatch.tickets["case-1"]["title"] == "Bearing"
    assert dispatch.problems() == []


def test_the_same_key_with_another_content_is_noticed(dispatch: Dispatch) -> None:
    post(dispatch, dispatch.secret)
    post(dispatch, dispatch.secret, BODY.replace(b"Bearing", b"Seal"))
    assert dispatch.problems() == ["ticket case-1 was delivered again with another content"]


def test_strangers_and_old_deliveries_are_refused(dispatch: Dispatch) -> None:
    assert post(dispatch, webhook.new_secret()) == 401
    assert post(dispatch, dispatch.secret, late_s=3600) == 401
    assert httpx.post(dispatch.url, content=BODY).status_code == 401
    assert dispatch.problems() == ["3 deliveries were not signed as agreed"]
    assert dispatch.tickets == {}
