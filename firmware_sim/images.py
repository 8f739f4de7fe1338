"""Firmware images of the simulated controllers: small JSON that names the defects they carry."""

import msgspec
from msgspec import Struct

from contract.errors import Malformed
from contract.firmware import Hardware, Version
from firmware_sim.faults import CATALOGUE

FACTORY_VERSION = "1.0.0"


class Image(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a controller runs."""

    machine_type: str
    version: Version
    hardware: list[Hardware] = []
    """Revisions that it runs on; empty: all."""
    min_version: Version = "0.0.0"
    """What must run already where it is installed."""
    defects: tuple[str, ...] = ()
    defects_on: dict[int, tuple[str, ...]] = {}
    """Further defects that show only on these hardware revisions."""

    def defects_with(self, hardware: int) -> tuple[str, ...]:
        """Return the defects that show on a hardware revision."""
        return (*self.defects, *self.defects_on.get(hardware, ()))


def build(
    machine_type: str,
    version: str,
    defects: tuple[str, ...] = (),
    *,
    defects_on: dict[int, tuple[str, ...]] | None = None,
    hardware: list[int] | None = None,
    min_version: str = "0.0.0",
) -> bytes:
    """Return the image of a firmware version, ready to be signed."""
    image = Image(
        machine_type=machine_type,
        version=version,
        hardware=hardware or [],
        min_version=min_version,
        defects=defects,
        defects_on=defects_on or {},
    )
    return msgspec.json.encode(image)


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
    """Return the image that a machine leaves the factory with: what updates cure is in it."""
    defects = {model.defect for model in CATALOGUE[machine_type].values() if model.defect}
    return build(machine_type, FACTORY_VERSION, tuple(sorted(defects)))
