"""The bootloader: a pure state machine over the update block, with two slots.

    IDLE ─ BEGIN ─► RECEIVING ─ VERIFY ─► VERIFIED ─ BOOT_TRIAL, reboot ─► TRIAL
    RECEIVING ─ anything wrong ─► REJECTED
    TRIAL ─ CONFIRM ─► CONFIRMED
    TRIAL ─ not confirmed in time, or another boot ─► FELL_BACK
    CONFIRMED ─ REVERT within a week, reboot ─► REVERTED

The inactive slot is written only by a VERIFY that succeeds. An order that does not fit changes
nothing. CONFIRMED, FELL_BACK and REVERTED take a new BEGIN, like IDLE; ABORT leads back to IDLE.
After CONFIRM the inactive slot holds what ran before, which was confirmed in its time: that is
what REVERT boots again, until something else is written there.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct
from msgspec.structs import replace

from contract import firmware
from contract.errors import FarfixError, Refused
from contract.firmware import UpdateControl, UpdateState
from firmware_sim import images

TRIAL_S = 240.0
"""How long a new image may run unconfirmed."""

_CAN_BEGIN = (
    UpdateState.IDLE,
    UpdateState.RECEIVING,
    UpdateState.VERIFIED,
    UpdateState.REJECTED,
    UpdateState.CONFIRMED,
    UpdateState.FELL_BACK,
    UpdateState.REVERTED,
)
_STAYS = (UpdateState.CONFIRMED, UpdateState.FELL_BACK, UpdateState.REVERTED)
"""States that a boot does not change."""


class Trust(Struct, frozen=True):
    """What is burned into the bootloader."""

    machine_type: str
    key: Ed25519PublicKey | None
    """Who may sign firmware; without it, every update is refused."""
    hardware: int = 1
    """The machine's hardware revision."""


class Loader(Struct, frozen=True, kw_only=True):
    """The two slots, and where an update stands."""

    slots: tuple[bytes, bytes]
    active: Annotated[int, Meta(ge=0, le=1)] = 0
    """The slot that a confirmed machine boots; the other one is for updates."""
    state: UpdateState = UpdateState.IDLE
    trial_until_ns: int = 0
    boot_other: bool = False
    """The next boot shall try the other slot."""
    revert_until_ns: int = 0
    """Until then the other slot may be booted again for good; 0: it may not."""
    reverting: bool = False
    """The next boot shall do so."""
    received: bytes = b""
    reason: str = ""
    """Why the last update was rejected, for the log."""


def running(loader: Loader) -> images.Image:
    """Return the image that runs: the other slot's while it is on trial."""
    slot = 1 - loader.active if loader.state is UpdateState.TRIAL else loader.active
    return images.read(loader.slots[slot])


def order(loader: Loader, block: Sequence[int], trust: Trust, now_ns: int) -> Loader:
    """Carry out what stands in the block's control word.

    Args:
        loader: where the bootloader stands.
        block: all words of the update block.
        trust: whom it believes.
        now_ns: plant time.
    """
    after = loader
    match block[firmware.BLOCK_CONTROL]:
        case UpdateControl.BEGIN if loader.state in _CAN_BEGIN:
            after = _idle(loader, UpdateState.RECEIVING)
        case UpdateControl.STORE_CHUNK if loader.state is UpdateState.RECEIVING:
            after = _store(loader, block)
        case UpdateControl.VERIFY if loader.state is UpdateState.RECEIVING:
            after = _verify(loader, block, trust)
        case UpdateControl.BOOT_TRIAL if loader.state is UpdateState.VERIFIED:
            after = replace(loader, boot_other=True)
        case UpdateControl.CONFIRM if loader.state is UpdateState.TRIAL:
            after = replace(
                loader,
                active=1 - loader.active,
                state=UpdateState.CONFIRMED,
                revert_until_ns=now_ns + firmware.REVERT_WITHIN_S * 10**9,
            )
        case UpdateControl.ABORT if loader.state in _CAN_BEGIN:
            after = _idle(loader, UpdateState.IDLE)
        case UpdateControl.REVERT if loader.state in _CAN_BEGIN:
            after = _revert(loader, now_ns)
    return after


def boot(loader: Loader, now_ns: int) -> Loader:
    """Start: into the other slot, if that was ordered; an unconfirmed trial is over."""
    if loader.reverting:
        return replace(
            _idle(loader, UpdateState.REVERTED), active=1 - loader.active, revert_until_ns=0
        )
    if loader.boot_other:
        until_ns = now_ns + int(TRIAL_S * 1e9)
        return replace(
            loader, boot_other=False, received=b"", state=UpdateState.TRIAL, trial_until_ns=until_ns
        )
    if loader.state is UpdateState.TRIAL:
        return replace(loader, state=UpdateState.FELL_BACK, reason="the trial was not confirmed")
    if loader.state in _STAYS:
        return loader
    return _idle(loader, UpdateState.IDLE)


def trial_expired(loader: Loader, now_ns: int) -> bool:
    """Tell whether the machine must reboot because nobody confirmed its trial in time."""
    return loader.state is UpdateState.TRIAL and now_ns >= loader.trial_until_ns


def _idle(loader: Loader, state: UpdateState) -> Loader:
    return replace(loader, state=state, received=b"", boot_other=False, reverting=False, reason="")


def _revert(loader: Loader, now_ns: int) -> Loader:
    if loader.revert_until_ns == 0:
        return _reject(loader, "the other slot holds nothing that was confirmed and replaced")
    if now_ns >= loader.revert_until_ns:
        return _reject(loader, "the update was confirmed too long ago to be reverted")
    return replace(_idle(loader, UpdateState.IDLE), reverting=True)


def _reject(loader: Loader, reason: str) -> Loader:
    return replace(loader, state=UpdateState.REJECTED, received=b"", reason=reason)


def _long(block: Sequence[int], offset: int) -> int:
    return block[offset] << 16 | block[offset + 1]


def _bytes(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in words)


def _store(loader: Loader, block: Sequence[int]) -> Loader:
    """Append a chunk; a repeated chunk overwrites itself, a gap spoils the transfer."""
    offset, length = _long(block, firmware.BLOCK_OFFSET), block[firmware.BLOCK_LENGTH]
    if not 1 <= length <= firmware.CHUNK_BYTES:
        return _reject(loader, f"a chunk of {length} bytes; {firmware.CHUNK_BYTES} fit")
    if offset > len(loader.received):
        return _reject(loader, f"chunk at {offset}, but only {len(loader.received)} bytes are here")
    if offset + length > firmware.MAX_IMAGE_BYTES:
        return _reject(loader, f"an image has at most {firmware.MAX_IMAGE_BYTES} bytes")
    words = block[firmware.BLOCK_DATA : firmware.BLOCK_DATA + firmware.CHUNK_WORDS]
    chunk = _bytes(words)[:length]
    received = loader.received[:offset] + chunk + loader.received[offset + length :]
    return replace(loader, received=received)


def _verify(loader: Loader, block: Sequence[int], trust: Trust) -> Loader:
    """Check everything; only then write the inactive slot."""
    try:
        _check(loader, block, trust)
    except FarfixError as error:
        return _reject(loader, str(error))
    first, second = loader.slots
    slots = (first, loader.received) if loader.active == 0 else (loader.received, second)
    return replace(loader, slots=slots, state=UpdateState.VERIFIED, received=b"", revert_until_ns=0)


def _check(loader: Loader, block: Sequence[int], trust: Trust) -> None:
    if trust.key is None:
        raise Refused("this bootloader trusts no key")
    data = loader.received
    version = firmware.version_text(_long(block, firmware.BLOCK_VERSION))
    signature = _bytes(block[firmware.BLOCK_SIGNATURE : firmware.BLOCK_DATA])
    release = firmware.Release(
        machine_type=trust.machine_type,
        version=version,
        size_bytes=_long(block, firmware.BLOCK_SIZE),
        sha256=hashlib.sha256(data).hexdigest(),
        signature=signature.hex(),
    )
    firmware.verify(release, data, trust.key)
    image = images.read(data)
    if (image.machine_type, image.version) != (trust.machine_type, version):
        raise Refused(
            f"image is {image.machine_type} {image.version}, announced as "
            f"{trust.machine_type} {version}"
        )
    if image.hardware and trust.hardware not in image.hardware:
        raise Refused(f"image runs on hardware {image.hardware}, this is {trust.hardware}")
    now = running(loader).version
    if firmware.version_number(version) < firmware.version_number(now):
        raise Refused(f"version {version} is older than the running {now}")
    if firmware.version_number(now) < firmware.version_number(image.min_version):
        raise Refused(f"version {version} needs {image.min_version} to run first, not {now}")
