"""Signing keys as files: ed25519, PKCS #8 in PEM, mode 0600, never overwritten."""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey

from contract.errors import Malformed, Refused

MAX_KEY_BYTES = 16 * 1024


def make(path: Path) -> CryptoSigner:
    """Write a new private key and return it.

    Raises:
        Refused: the file exists and is left alone, or cannot be written.
    """
    signer = CryptoSigner.generate_ed25519()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Refused(f"{path} exists and is left alone: choose another name") from error
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(signer.private_bytes)
    return signer


def read(path: Path) -> CryptoSigner:
    """Read a key for signing metadata.

    Raises:
        Malformed: the file cannot be read or holds no key.
    """
    return CryptoSigner(read_private(path))


def read_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key as it is.

    Raises:
        Malformed: the file cannot be read or holds no key.
    """
    try:
        key = load_pem_private_key(read_file(path, MAX_KEY_BYTES), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Malformed(_no_key(path, "private")) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Malformed(_no_key(path, "private"))
    return key


def read_public(path: Path) -> SSlibKey:
    """Read the public half of a key from its private or its public PEM file.

    Raises:
        Malformed: the file cannot be read or holds no key.
    """
    data = read_file(path, MAX_KEY_BYTES)
    if b"PRIVATE KEY" in data:
        return read(path).public_key
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed(_no_key(path, "public or private")) from error
    if not isinstance(key, Ed25519PublicKey):
        raise Malformed(_no_key(path, "public or private"))
    return SSlibKey.from_crypto(key)


def read_image_public(path: Path) -> Ed25519PublicKey:
    """Read the public half of the key that bootloaders trust: 64 hexadecimal digits.

    Raises:
        Malformed: the file cannot be read or holds something else.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(read_file(path, 200).decode()))
    except ValueError as error:
        raise Malformed(f"{path} holds no public key of 64 hexadecimal digits") from error


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the public half in hexadecimal, as bootloaders are configured with it."""
    return key.public_key().public_bytes_raw().hex()


def read_file(path: Path, limit: int) -> bytes:
    """Read a file whole.

    Raises:
        Malformed: it cannot be read, or has more bytes than the limit.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Malformed(f"cannot read {path}: {error.strerror}") from error
    if len(data) > limit:
        raise Malformed(f"{path} has more than {limit} bytes")
    return data


def _no_key(path: Path, half: str) -> str:
    return (
        f"{path} holds no {half} ed25519 key in PEM without a password; "
        "make one with: farfix release key FILE"
    )
