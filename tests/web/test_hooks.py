"""The API of webhooks: who may what, and that secrets are told once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from cloud.core.people import Role
from cloud.service.hooks import Hooks
from cloud.web.faces import Faces
from tests.adapters import hook_receiver
from tests.adapters.hook_receiver import Receiver

ApiAs = Callable[[Role], Awaitable[httpx.AsyncClient]]
KEY = "k" * 32


@pytest.fixture
async def receiver(faces: Faces) -> AsyncIterator[Receiver]:
    """A receiver, and the loop that sends to it."""
    assert isinstance(faces.hooks, Hooks)
    loop = asyncio.create_task(faces.hooks.run())
    with hook_receiver.receiving() as it:
        yield it
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


def order(receiver: Receiver, **changes: object) -> dict[str, object]:
    return {"name": "dispatch", "url": receiver.url, "allow_private": True, **changes}


async def test_an_endpoint_from_birth_to_end(
    api: httpx.AsyncClient, receiver: Receiver, faces: Faces
) -> None:
    made = await api.post("/api/webhooks", json=order(receiver))
    assert made.status_code == 201
    secret, endpoint = made.json()["secret"], made.json()["endpoint"]["id"]
    tested = await api.post(f"/api/webhooks/{endpoint}/test")
    assert (tested.json()["state"], tested.json()["status"]) == ("delivered", 204)
    assert Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)
    rotated = await api.post(f"/api/webhooks/{endpoint}/rotate")
    assert rotated.json()["secret"] != secret
    await api.post(f"/api/webhooks/{endpoint}/test")
    for known in (secret, rotated.json()["secret"]):
        assert Webhook(known).verify(receiver.got[1].body, receiver.got[1].headers)
    listed = await api.get("/api/webhooks")
    assert secret not in listed.text
    assert listed.json()[0]["delivered_ns"]
    deliveries = (await api.get("/api/webhooks/deliveries", params={"endpoint": endpoint})).json()
    assert [d["state"] for d in deliveries] == ["delivered", "delivered"]
    attempts = await api.get(f"/api/webhooks/deliveries/{deliveries[0]['id']}/attempts")
    assert [a["status"] for a in attempts.json()] == [204]
    assert (await api.post(f"/api/webhooks/{endpoint}/disable")).json()["disabled"]
    assert (await api.post(f"/api/webhooks/{endpoint}/test")).status_code == 409
    assert not (await api.post(f"/api/webhooks/{endpoint}/enable")).json()["disabled"]
    assert (await api.delete(f"/api/webhooks/{endpoint}")).status_code == 204
    assert (await api.get("/api/webhooks")).json() == []
    audit = faces.desk.store.updates.audit()
    assert [line.what for line in reversed(audit) if line.what.startswith("webhook")] == [
        "webhook created", "webhook tested", "webhook secret rotated", "webhook tested",
        "webhook disabled", "webhook enabled", "webhook deleted",
    ]  # fmt: skip
    assert secret not in str(audit)


async def test_what_was_given_up_is_listed_and_replayed(
    api: httpx.AsyncClient, receiver: Receiver, faces: Faces
) -> None:
    made = await api.post("/api/webhooks", json=order(receiver))
    endpoint = made.json()["endpoint"]["id"]
    receiver.answer = lambda _: (400, {}, b"<b>no</b>")
    tested = (await api.post(f"/api/webhooks/{endpoint}/test")).json()
    assert (tested["state"], tested["status"]) == ("waiting", 400)
    refused = await api.post(f"/api/webhooks/deliveries/{tested['id']}/replay")
    assert refused.status_code == 409
    assert "not given up" in refused.json()["detail"]


async def test_secrets_are_never_read_back(api: httpx.AsyncClient, receiver: Receiver) -> None:
    asked = order(receiver, url=receiver.url + "?key=" + KEY, format="pagerduty")
    asked["settings"] = {"routing_key": KEY}
    made = await api.post("/api/webhooks", json=asked)
    assert made.status_code == 201, made.text
    assert KEY not in made.text
    shown = made.json()["endpoint"]
    again = await api.put(f"/api/webhooks/{shown['id']}", json={**shown["order"], "name": "new"})
    assert again.status_code == 200, again.text
    assert KEY not in (await api.get("/api/webhooks")).text
    done = (await api.post(f"/api/webhooks/{shown['id']}/test")).json()
    assert done["state"] == "delivered"
    assert all(KEY.encode() in got.body and KEY in got.path for got in receiver.got)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://user:word@dispatch.example.com/",
        "https://2130706433/",
        "gopher://dispatch.example.com/",
        "https://\x00/",
        "javascript:alert(1)",
    ],
)
async def test_hostile_targets_are_refused(
    api: httpx.AsyncClient, receiver: Receiver, url: str
) -> None:
    answer = await api.post("/api/webhooks", json=order(receiver, url=url))
    assert answer.status_code == 409
    assert "webhook URL" in answer.json()["detail"]
    assert receiver.got == []


async def test_what_does_not_exist_is_not_found(api: httpx.AsyncClient) -> None:
    for verb in ("rotate", "enable", "disable", "test"):
        assert (await api.post(f"/api/webhooks/nobody/{verb}")).status_code == 404
    assert (await api.delete("/api/webhooks/nobody")).status_code == 404
    assert (await api.post("/api/webhooks/deliveries/7/replay")).status_code == 409
    assert (await api.post("/api/webhooks", content=b"{")).status_code == 422


async def test_who_may_what(api_as: ApiAs, receiver: Receiver) -> None:
    viewer, engineer = await api_as(Role.VIEWER), await api_as(Role.ENGINEER)
    for client in (viewer, engineer):
        assert (await client.get("/api/webhooks")).status_code == 200
        assert (await client.post("/api/webhooks", json=order(receiver))).status_code == 403
        assert (await client.delete("/api/webhooks/x")).status_code == 403
    dispatch = await api_as(Role.DISPATCH)
    assert (await dispatch.get("/api/webhooks")).status_code == 403
