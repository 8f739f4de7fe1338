"""Bytes to messages and back: version, size limit and types are checked here and nowhere else.

Messages are JSON objects with a version ``v``. Fields that this version does not know are
ignored, so newer senders can add some; a field that changes its meaning takes a new version.
"""

from typing import TypeVar

import msgspec

from contract.errors import Malformed

VERSION = 1
MAX_MESSAGE_BYTES = 256 * 1024


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every message on the wire."""

    v: int = VERSION


M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """Return the message as JSON.

    Raises:
        Malformed: larger than `MAX_MESSAGE_BYTES`; the sender must split it.
    """
    data = msgspec.json.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise Malformed(
            f"{type(message).__name__} of {len(data)} bytes exceeds {MAX_MESSAGE_BYTES} bytes"
        )
    return data


def decode(data: bytes, kind: type[M]) -> M:
    """Read one message of a known kind.

    Raises:
        Malformed: too large, no JSON, wrong types, or another version.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise Malformed(f"message of {len(data)} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")
    try:
        message = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"not a {kind.__name__}: {error}") from error
    if message.v != VERSION:
        raise Malformed(f"{kind.__name__} has version {message.v}, this program speaks {VERSION}")
    return message
