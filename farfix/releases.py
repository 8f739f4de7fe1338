"""Put a firmware image into the room, with what must hold before a machine may run it."""

import shutil
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import TargetFile

from contract import firmware, machines, trust
from contract.errors import Malformed, Refused
from contract.firmware import Claims, Format, Release
from contract.machines import MachineType
from farfix import keys, repository
from farfix.repository import Room

DAYS = 90.0
"""So long targets are believed, if not said otherwise."""


def add(
    room: Room, image: Path, claims: Claims, image_key: Ed25519PrivateKey | None, days: float = DAYS
) -> Release:
    """Add a release to the staged targets; it waits for signatures then.

    Args:
        room: where the repository is.
        image: the file; it is copied.
        claims: what must hold; format and signature are filled in here.
        image_key: signs bare images for bootloaders; bundles need none.
        days: until the targets expire.

    Raises:
        Malformed: no such machine type or fault, a claim out of bounds, an image that is too
            large or cannot be read.
        Refused: the version is taken, the machine type takes no updates, or the key is not the
            one that bootloaders trust.
    """
    claims = _checked(claims)
    most = firmware.MAX_IMAGE_BYTES if claims.format is Format.IMAGE else firmware.MAX_BUNDLE_BYTES
    try:
        size_bytes = image.stat().st_size
    except OSError as error:
        raise Malformed(f"cannot read {image}: {error.strerror}") from error
    if not 0 < size_bytes <= most:
        raise Malformed(f"{image} has {size_bytes} bytes; {claims.format.value} has 1 to {most}")
    path = firmware.target_path(claims.machine_type, claims.version, claims.format)
    metadata = repository.next_targets(room, days)
    if path in metadata.signed.targets or _was_signed(room, path):
        raise Refused(
            f"{claims.machine_type} {claims.version} was signed before, and a version never "
            "changes: give the image a new version"
        )
    if claims.format is Format.IMAGE:
        signature = _sign_image(room, image, claims, image_key)
        claims = msgspec.structs.replace(claims, signature=signature)
    target = TargetFile.from_file(path, str(image), ["sha256"])
    target.unrecognized_fields["custom"] = msgspec.to_builtins(claims)
    release = trust.release(path, target.length, target.hashes, target.custom)
    _copy(image, room.targets / target.get_prefixed_paths()[0])
    metadata.signed.targets[path] = target
    repository.stage(room, metadata)
    return release


def withdraw(room: Room, machine_type: str, version: str, days: float = DAYS) -> None:
    """Take a release out of the staged targets; its version stays used.

    Raises:
        Refused: there is no such release.
    """
    metadata = repository.next_targets(room, days)
    paths = [firmware.target_path(machine_type, version, each) for each in Format]
    found = [path for path in paths if path in metadata.signed.targets]
    if not found:
        known = ", ".join(metadata.signed.targets) or "none"
        raise Refused(f"there is no release {machine_type} {version}; there are: {known}")
    for path in found:
        del metadata.signed.targets[path]
    repository.stage(room, metadata)


def renew(room: Room, days: float) -> None:
    """Stage the targets as they are for another span of time."""
    repository.stage(room, repository.next_targets(room, days))


def _checked(claims: Claims) -> Claims:
    """Check claims against bounds and machine type, and fill in the format."""
    types = machines.library()
    if claims.machine_type not in types:
        known = ", ".join(types)
        raise Malformed(f"there is no machine type {claims.machine_type!r}; known are: {known}")
    machine = types[claims.machine_type]
    try:
        msgspec.convert(msgspec.to_builtins(claims), Claims)
    except msgspec.ValidationError as error:
        raise Malformed(f"the release cannot say this: {error}") from error
    number = firmware.version_number(claims.version)
    if firmware.version_text(number) != claims.version:
        raise Malformed(f"version {claims.version!r} is not of the form 1.2.3, without more zeros")
    if firmware.version_number(claims.min_version) > number:
        raise Malformed(f"{claims.version} would ask for {claims.min_version} before it")
    for code in claims.cures:
        if machine.fault(code) is None:
            known = ", ".join(fault.code for fault in machine.faults) or "none"
            raise Malformed(f"{machine.name} has no fault {code!r}; known are: {known}")
    return msgspec.structs.replace(claims, format=_format(machine))


def _format(machine: MachineType) -> Format:
    if machine.ddi:
        return Format.SWU
    if machine.firmware_block is None:
        raise Refused(
            f"machine type {machine.name} cannot be updated: it has neither firmware_block nor ddi"
        )
    return Format.IMAGE


def _was_signed(room: Room, path: str) -> bool:
    """Tell whether any targets ever listed this path, also if it was withdrawn since."""
    quoted = f'"{path}"'.encode()  # reading hundreds of files as JSON would take seconds
    return any(
        quoted in keys.read_file(file, repository.MAX_METADATA_BYTES)
        for file in room.metadata.glob("*.targets.json")
    )


def _sign_image(
    room: Room, image: Path, claims: Claims, image_key: Ed25519PrivateKey | None
) -> str:
    if image_key is None:
        raise Refused(f"bootloaders of {claims.machine_type} ask for a signature: give --image-key")
    trusted = keys.read_image_public(room.image_key)
    if image_key.public_key() != trusted:
        raise Refused(
            f"this is not the image key of {room.folder}: bootloaders trust "
            f"{trusted.public_bytes_raw().hex()}"
        )
    data = keys.read_file(image, firmware.MAX_IMAGE_BYTES)
    return firmware.sign(image_key, claims.machine_type, claims.version, data).signature


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise Refused(f"cannot copy {source} to {target}: {error.strerror}") from error
