"""Firmware images of the simulated controllers: small JSON that names the defects they carry."""

import msgspec
from msgspec import Struct

from contract.errors import Malformed
from firmware_sim.faults import CATALOGUE

FACTORY_VERSION = "1.0.0"


class Image(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a controller runs."""

    machine_type: str
    version: str
    defects: tuple[str, ...] = ()


def build(machine_type: str, version: str, defects: tuple[str, ...] = ()) -> bytes:
    """Return the image of a firmware version, ready to be signed."""
    return msgspec.json.encode(Image(machine_type=machine_type, version=version, defects=defects))


def read(data: bytes) -> Image:
    """Read an image.

    Raises:
        Malformed: not an image.
    """
    try:
        return msgspec.json.decode(data, type=Image)
    except msgspec.DecodeError as error:
        raise Malformed(f"not a firmware image: {error}") from error


def factory(machine_type: str) -> bytes:
    """Return the image that a machine leaves the factory with: all known defects are in it."""
    defects = {model.defect for model in CATALOGUE[machine_type].values() if model.defect}
    return build(machine_type, FACTORY_VERSION, tuple(sorted(defects)))
