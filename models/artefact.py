"""A saved model says what it was made from, and loading refuses a stranger."""

import zlib
from typing import TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from contract.errors import Malformed

VERSION = 1
"""Raise it whenever the meaning of the saved state changes."""

S = TypeVar("S", bound=Struct)


class _Envelope(Struct, frozen=True):
    version: int
    made_from: list[list[str]]
    checksum: int
    body: bytes


def pack(state: Struct, made_from: list[list[str]]) -> bytes:
    """Return the state with its origin as MessagePack; arrays keep every bit."""
    body = msgspec.msgpack.encode(state, enc_hook=_from_array)
    return msgspec.msgpack.encode(_Envelope(VERSION, made_from, zlib.crc32(body), body))


def unpack(data: bytes, kind: type[S], made_from: list[list[str]]) -> S:
    """Read a state back.

    Raises:
        Malformed: damaged, or saved by another version, for other signals or other settings.
    """
    try:
        envelope = msgspec.msgpack.decode(data, type=_Envelope)
    except msgspec.DecodeError as error:
        raise Malformed(f"not a saved model: {error}; commission the machine anew") from error
    if envelope.version != VERSION:
        raise Malformed(
            f"saved model has version {envelope.version}, this program reads {VERSION}; "
            "commission the machine anew"
        )
    if envelope.made_from != made_from:
        other = [s for s in envelope.made_from if s not in made_from] or envelope.made_from
        raise Malformed(
            f"saved model was made from other signals or settings ({str(other[:3])[:200]}); "
            "commission the machine anew"
        )
    if zlib.crc32(envelope.body) != envelope.checksum:
        raise Malformed("saved model is damaged: its checksum differs; commission the machine anew")
    try:
        return msgspec.msgpack.decode(envelope.body, type=kind, dec_hook=_to_array)
    except msgspec.DecodeError as error:
        raise Malformed(f"saved model does not fit: {error}") from error


def _from_array(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), value.tobytes()]
    raise NotImplementedError(f"{type(value).__name__} cannot be saved")


def _to_array(kind: type, value: object) -> object:
    if not (isinstance(value, list) and len(value) == 3):
        raise NotImplementedError(f"{kind} cannot be read from {type(value).__name__}")
    dtype, shape, data = value
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()
