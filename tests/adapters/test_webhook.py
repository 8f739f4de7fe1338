"""Signatures, checked by the independent `standardwebhooks` package and by `cryptography`."""

import base64
import json
import time
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cloud.adapters import webhook
from cloud.core.delivery import message_id
from cloud.core.telling import EventType, Telling
from contract.errors import Malformed

SECRET = webhook.new_secret()
BODY = b'{"specversion":"1.0"}'


def telling(**changes: object) -> Telling:
    fields: dict[str, object] = {
        "id": "pump-1-ab/tell/3.0",
        "type": EventType.TICKET_OPENED,
        "subject": "pump-1-ab",
        "device": "pump-1",
        "at_ns": 1_795_330_800_000_000_000,
        "data": msgspec.Raw(b'{"ticket":{"title":"Pumpe \\u00fc"}}'),
    }
    return Telling(**(fields | changes))  # type: ignore[arg-type]  # as a test says


def wall_s() -> int:
    return int(time.clock_gettime(time.CLOCK_REALTIME))


def test_an_event_passes_an_independent_verifier() -> None:
    body = webhook.cloud_event(telling(), message_id(telling().id), "https://farfix.example")
    signed = webhook.signed_request(SECRET, "msg_1", wall_s(), body)
    assert Webhook(SECRET).verify(signed.body, signed.headers)["data"]["ticket"]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(signed.body + b" ", signed.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.new_secret()).verify(signed.body, signed.headers)


def test_while_a_secret_is_changed_both_verify() -> None:
    new = webhook.new_secret()
    signed = webhook.signed_request([new, SECRET], "msg_1", wall_s(), BODY)
    for key in (new, SECRET):
        assert Webhook(key).verify(signed.body, signed.headers)


def test_an_ed25519_signature_verifies_by_the_public_key_alone() -> None:
    private = webhook.new_private_key()
    signed = webhook.signed_request(private, "msg_1", 17, BODY)
    version, _, text = signed.headers["webhook-signature"].partition(",")
    assert version == "v1a"
    public = webhook.public_key(private)
    assert public.startswith("whpk_")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(base64.b64decode(text), b"msg_1.17." + BODY)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(text), b"msg_1.18." + BODY)


def test_the_event_has_what_cloudevents_requires() -> None:
    told = message_id(telling().id)
    event = json.loads(webhook.cloud_event(telling(), told, "https://farfix.example"))
    assert event["specversion"] == "1.0"
    assert (event["id"], event["subject"]) == (told, "pump-1-ab")
    assert event["type"] == "farfix.ticket.opened"
    assert event["time"] == "2026-11-22T07:00:00Z"
    assert event["data"]["ticket"]["title"] == "Pumpe ü"


@given(st.text(min_size=1, max_size=80), st.integers(0, 2**36), st.binary(max_size=200))
def test_signature_is_the_one_the_independent_package_makes(
    key: str, at_s: int, body: bytes
) -> None:
    text = body.hex()
    ours = webhook.signed_request(SECRET, key, at_s, text.encode()).headers["webhook-signature"]
    theirs = Webhook(SECRET).sign(key, datetime.fromtimestamp(at_s, UTC), text)
    assert ours == theirs


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "c2hvcnQ=" * 9, "whpk_" + "QUFB" * 8]
)
def test_a_bad_secret_says_how_to_make_one(secret: str) -> None:
    with pytest.raises(Malformed, match="farfix secret"):
        webhook.signed_request(secret, "case-1", 1, BODY)


def test_a_bad_private_key_is_said() -> None:
    with pytest.raises(Malformed, match="whsk_"):
        webhook.signed_request("whsk_QUFB", "case-1", 1, BODY)
