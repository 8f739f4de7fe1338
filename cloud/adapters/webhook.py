"""How events look on the wire: CloudEvents 1.0 in JSON, signed by Standard Webhooks 1.0.

Whoever receives may get an event more than once, always with the same ``webhook-id``.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from cloud.core.telling import Telling
from contract.errors import Malformed

HMAC, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
OVERLAP_S = 86_400
"""How long an old secret signs beside the new one, in wall time."""


class Signed(Struct, frozen=True):
    """A request as it goes out."""

    headers: dict[str, str]
    body: bytes


def new_secret() -> str:
    """Generate a secret in the form that receivers take: ``whsec_`` and 32 bytes in base64."""
    return HMAC + base64.b64encode(secrets.token_bytes(32)).decode()


def new_private_key() -> str:
    """Generate an ed25519 key: ``whsk_`` and its 32 bytes in base64."""
    return PRIVATE + base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def public_key(private: str) -> str:
    """Return what a receiver verifies by: ``whpk_`` and 32 bytes in base64."""
    raw = _ed25519(private).public_key()
    text = raw.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return PUBLIC + base64.b64encode(text).decode()


def cloud_event(event: Telling, message_id: str, source: str) -> bytes:
    """Return an event as a structured CloudEvent; same event, same bytes.

    Args:
        event: what to tell.
        message_id: the same over all attempts and endpoints.
        source: who tells it, as a URI reference: the gateway's public address.
    """
    told = datetime.fromtimestamp(event.at_ns // 1_000_000_000, UTC)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": message_id,
            "source": source,
            "type": event.type,
            "subject": event.subject,
            "time": told.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "datacontenttype": "application/json",
            "data": event.data,
        }
    )


def signed_request(
    keys: str | Sequence[str], message_id: str, timestamp_s: int, body: bytes
) -> Signed:
    """Sign a body by Standard Webhooks: ``v1`` for each secret, ``v1a`` for each private key.

    Args:
        keys: ``whsec_`` and 24 to 64 bytes in base64, shared with the receiver; or ``whsk_``.
            More than one while a key is being changed.
        message_id: the same over all attempts; the receiver drops what it knows.
        timestamp_s: wall clock time of this attempt, seconds since 1970. Receivers refuse what
            is more than a few minutes off, so plant time will not do.
        body: what is sent.

    Raises:
        Malformed: a key is not of that form.
    """
    content = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    given = [keys] if isinstance(keys, str) else keys
    headers = {
        "content-type": "application/cloudevents+json; charset=utf-8",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(_signature(key, content) for key in given),
    }
    return Signed(headers, body)


def _signature(key: str, content: bytes) -> str:
    if key.startswith(PRIVATE):
        return "v1a," + base64.b64encode(_ed25519(key).sign(content)).decode()
    digest = hmac.new(_shared(key), content, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _shared(secret: str) -> bytes:
    key = _decoded(secret, HMAC)
    if not 24 <= len(key) <= 64:
        raise Malformed(
            "the webhook secret is not 'whsec_' followed by 24 to 64 bytes in base64; "
            "make one with: farfix secrets FOLDER"
        )
    return key


def _ed25519(private: str) -> Ed25519PrivateKey:
    key = _decoded(private, PRIVATE)
    if len(key) != 32:
        raise Malformed("the webhook key is not 'whsk_' followed by 32 bytes in base64")
    return Ed25519PrivateKey.from_private_bytes(key)


def _decoded(text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        return b""
    try:
        return base64.b64decode(text.removeprefix(prefix), validate=True)
    except binascii.Error:
        return b""
