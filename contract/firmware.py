"""Firmware releases, and the register block by which a device is updated over Modbus.

A release is signed with ed25519 over `signed_bytes`; device and edge agent check the signature
and the hash of the image before the inactive slot is touched or booted.
"""

import hashlib
from enum import IntEnum, StrEnum
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from contract.errors import Malformed, Refused

MAX_IMAGE_BYTES = 64 * 1024
"""Of a bare image."""
MAX_BUNDLE_BYTES = 512 * 1024 * 1024
"""Of anything."""


class Format(StrEnum):
    """How a release is packed, and with it who installs it."""

    IMAGE = "image"
    """A bare image for the update block, sent by the edge agent."""
    SWU = "swu"
    """A bundle for swupdate, fetched over DDI by the machine itself."""


VERSION_PATTERN = r"^\d{1,3}\.\d{1,3}\.\d{1,3}$"
Version = Annotated[str, Meta(pattern=VERSION_PATTERN)]
Hardware = Annotated[int, Meta(ge=1, le=65535)]
"""Hardware revision, as the machine shows it."""


class Claims(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the signed metadata says about a release besides length and hash.

    It is the ``custom`` part of the release's TUF target.
    """

    machine_type: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Version
    format: Format = Format.IMAGE
    hardware: list[Hardware] = []
    """Revisions that it runs on; empty: all."""
    min_version: Version = "0.0.0"
    """A machine that runs something older must take a release in between first."""
    cures: list[Annotated[str, Meta(min_length=1, max_length=64)]] = []
    """Codes of faults that it is meant to cure."""
    high_risk: bool = False
    """A rollout of it needs a second person's yes."""
    notes: Annotated[str, Meta(max_length=2000)] = ""
    """What is new, for people."""
    signature: Annotated[str, Meta(pattern=r"^([0-9a-f]{128})?$")] = ""
    """Of `signed_bytes`, for the bootloader of a bare image: it knows nothing of TUF."""


class Release(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release as the signed metadata describes it."""

    size_bytes: Annotated[int, Meta(gt=0, le=MAX_BUNDLE_BYTES)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class ReleaseRef(Struct, frozen=True, kw_only=True):
    """Which release to install, and where the signed repository is.

    Nothing here is trusted: the agent takes length, hash and claims from metadata that it verifies
    by its own root.
    """

    machine_type: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Version
    repository: Annotated[str, Meta(max_length=500)]
    """Base URL; ``metadata/`` and ``targets/`` lie below it."""


def target_path(machine_type: str, version: str, format: Format = Format.IMAGE) -> str:  # noqa: A002
    """Return a release's path among the repository's targets."""
    ending = "img" if format is Format.IMAGE else "swu"
    return f"{machine_type}/{version}.{ending}"


def signed_bytes(machine_type: str, version: str, size_bytes: int, sha256: str) -> bytes:
    """Return what the signature covers: everything that decides whether an image may run."""
    return f"farfix-release-v1 {machine_type} {version} {size_bytes} {sha256}".encode()


def sign(key: Ed25519PrivateKey, machine_type: str, version: str, image: bytes) -> Release:
    """Make a release of an image. Belongs where the key lives, never on the gateway."""
    digest = hashlib.sha256(image).hexdigest()
    signature = key.sign(signed_bytes(machine_type, version, len(image), digest)).hex()
    return Release(
        machine_type=machine_type,
        version=version,
        size_bytes=len(image),
        sha256=digest,
        signature=signature,
    )


def verify(release: Release, image: bytes, key: Ed25519PublicKey) -> None:
    """Check that the image is what the release says and that the key's owner said so.

    Raises:
        Refused: wrong size, hash or signature.
    """
    if len(image) != release.size_bytes:
        raise Refused(f"image has {len(image)} bytes, the release says {release.size_bytes}")
    if hashlib.sha256(image).hexdigest() != release.sha256:
        raise Refused("image does not have the hash that the release says")
    try:
        key.verify(
            bytes.fromhex(release.signature),
            signed_bytes(release.machine_type, release.version, release.size_bytes, release.sha256),
        )
    except InvalidSignature as error:
        raise Refused("release is not signed by the key that this device trusts") from error


def version_number(version: str) -> int:
    """Return ``major * 1000000 + minor * 1000 + patch``: the number in the version register."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major * 1_000_000 + minor * 1_000 + patch


def version_text(number: float) -> str:
    """Read a version register back.

    Raises:
        Malformed: no version can have this number.
    """
    value = int(number)
    if value != number or not 0 <= value < 1_000_000_000:
        raise Malformed(f"{number} is no firmware version number")
    return f"{value // 1_000_000}.{value // 1_000 % 1_000}.{value % 1_000}"


# The update block: holding registers at the machine type's ``firmware_block`` address. Words are
# offsets from there. The writer sends BEGIN, then for each chunk its byte offset, its length and
# its data, then the signature's 32 words, VERIFY, BOOT_TRIAL, and CONFIRM when satisfied.
# REVERT alone boots the slot that ran before the last update again.
BLOCK_CONTROL = 0  # write an UpdateControl
BLOCK_STATE = 1  # read an UpdateState
BLOCK_OFFSET = 2  # two words, big-endian: byte offset of the chunk
BLOCK_LENGTH = 4  # bytes in the chunk, 1..CHUNK_BYTES
BLOCK_VERSION = 5  # two words: version_number of the image being sent
BLOCK_SIZE = 7  # two words: bytes of the image being sent
BLOCK_SIGNATURE = 9  # 32 words: ed25519 signature over signed_bytes
BLOCK_DATA = 41  # CHUNK_WORDS words
CHUNK_WORDS = 64
CHUNK_BYTES = 2 * CHUNK_WORDS
BLOCK_HARDWARE = BLOCK_DATA + CHUNK_WORDS  # read the hardware revision; it cannot be written
BLOCK_WORDS = BLOCK_HARDWARE + 1
REVERT_WITHIN_S = 7 * 86400
"""So long after an update was confirmed can it be reverted, once."""


class UpdateControl(IntEnum):
    """What the writer asks of the bootloader."""

    BEGIN = 1
    STORE_CHUNK = 2
    VERIFY = 3
    BOOT_TRIAL = 4
    CONFIRM = 5
    ABORT = 6
    REVERT = 7
    """Boot the other slot for good; rejected unless it ran, confirmed, before the last update."""


class UpdateState(IntEnum):
    """Where the bootloader stands."""

    IDLE = 0
    RECEIVING = 1
    VERIFIED = 2
    REJECTED = 3
    TRIAL = 4
    """Runs the new image; falls back to the old one at the next boot or after its trial time."""
    CONFIRMED = 5
    FELL_BACK = 6
    REVERTED = 7
    """Runs what it ran before the last update, because it was told to."""
