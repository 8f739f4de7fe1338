"""Firmware signing, away from the gateway: whoever holds the key decides what machines run."""

import base64
import os
import re
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract import firmware, machines
from contract.errors import Malformed, Refused


class Upload(msgspec.Struct, frozen=True):
    """What the gateway's ``POST /api/releases`` takes."""

    release: firmware.Release
    image: str
    """In base64."""


def make_key(path: Path) -> str:
    """Write a new ed25519 private key (hex, mode 0600) and return the public key in hex.

    Raises:
        Refused: the file exists; a key is never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Refused(f"{path} exists and is left alone: choose another name") from error
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(handle, "w") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
    return key.public_key().public_bytes_raw().hex()


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key back.

    Raises:
        Malformed: the file cannot be read or holds no key.
    """
    text = _read(path).decode(errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Malformed(f"{path} holds no key; make one with: farfix release keygen FILE")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def sign(key: Ed25519PrivateKey, machine_type: str, version: str, image: bytes) -> bytes:
    """Return the JSON upload of a signed image."""
    made = firmware.sign(key, machine_type, version, image)
    return msgspec.json.encode(Upload(made, base64.b64encode(image).decode()))


def sign_file(image: Path, key: Path, machine_type: str, version: str, out: Path) -> None:
    """Sign an image file and write the upload.

    Raises:
        Malformed: no such machine type, no version, no image, or one that is too large.
    """
    types = machines.library()
    if machine_type not in types:
        known = ", ".join(types) or "none"
        raise Malformed(f"there is no machine type {machine_type!r}; known are: {known}")
    if types[machine_type].firmware_block is None:
        raise Malformed(f"machine type {machine_type} cannot be updated: it has no firmware_block")
    if not re.fullmatch(r"\d{1,3}\.\d{1,3}\.\d{1,3}", version):
        raise Malformed(f"version {version!r} is not of the form 1.2.3")
    data = _read(image)
    if not 0 < len(data) <= firmware.MAX_IMAGE_BYTES:
        raise Malformed(
            f"{image} has {len(data)} bytes; an image has 1 to {firmware.MAX_IMAGE_BYTES}"
        )
    out.write_bytes(sign(read_key(key), machine_type, version, data))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Malformed(f"cannot read {path}: {error.strerror}") from error
