"""The firmware slots on disk: written whole or not at all, so that a power cut breaks nothing."""

import os
from pathlib import Path

import msgspec
from msgspec.structs import replace

from contract.errors import Malformed
from firmware_sim import images
from firmware_sim.bootloader import Loader


def load(file: Path, machine_type: str) -> Loader:
    """Return what is stored, or a machine fresh from the factory.

    Raises:
        Malformed: the file is not ours; delete it to begin with factory firmware.
    """
    if not file.exists():
        return Loader(slots=(images.factory(machine_type), b""))
    try:
        loader = msgspec.json.decode(file.read_bytes(), type=Loader)
    except msgspec.DecodeError as error:
        raise Malformed(f"{file}: {error}; delete it to begin with factory firmware") from error
    if images.read(loader.slots[loader.active]).machine_type != machine_type:
        raise Malformed(f"{file} holds firmware of another type than {machine_type}; delete it")
    return loader


def save(file: Path, loader: Loader) -> None:
    """Store the slots; a transfer that is not complete is forgotten.

    The file is whole on disk before it takes the old one's name, and the name is on disk before
    this returns: whenever the power goes, the old slots are there or the new ones.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(msgspec.json.encode(replace(loader, received=b"")))
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
