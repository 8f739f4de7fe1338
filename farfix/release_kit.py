"""Keys of all roles and a room, made together: the beginning of an installation.

Whoever holds the whole folder can publish alone: right for demonstrations and drills. For machines
that matter the keys move to where `PLACES` says.
"""

import tempfile
from pathlib import Path

from msgspec import Struct

from contract.errors import Malformed, Refused
from contract.firmware import Claims, Release
from farfix import keys, publishing, releases, repository
from farfix.publishing import Published
from farfix.repository import Room

DAYS = 365.0
"""So long the first root is believed."""
PUBLISHED_DAYS = 14.0
KEYS_MAX = 9
PLACES = {
    "root": "each offline in a separate place (a safe, a token), with a separate person",
    "targets": "with the people who release firmware",
    "snapshot": "with whoever publishes; never on the gateway",
    "timestamp": "with whoever publishes; never on the gateway",
    "image": "with the people who release firmware; its public half is in every bootloader",
}
"""Where the private keys belong."""


class Kit(Struct, frozen=True):
    """A folder with ``room/`` and ``keys/``."""

    folder: Path

    @property
    def room(self) -> Room:
        """The repository."""
        return Room(self.folder / "room")

    @property
    def image_key(self) -> str:
        """The public key of bootloaders, in hexadecimal."""
        return self.room.image_key.read_text().strip()

    def key_files(self, role: str) -> list[Path]:
        """Return the files of a role's private keys."""
        folder = self.folder / "keys"
        return sorted(file for file in folder.glob("*.pem") if file.stem.split("-")[0] == role)


def make(
    folder: Path,
    root_keys: int = 3,
    root_threshold: int = 2,
    targets_keys: int = 1,
    targets_threshold: int = 1,
) -> Kit:
    """Make keys of all roles and a room with its first root.

    Raises:
        Malformed: a threshold is above the number of keys.
        Refused: there are keys or a room already, or the folder cannot be written.
    """
    for role, count, threshold in (
        ("root", root_keys, root_threshold),
        ("targets", targets_keys, targets_threshold),
    ):
        if not 1 <= threshold <= count <= KEYS_MAX:
            raise Malformed(
                f"{threshold} of {count} {role} keys makes no sense: give 1 to {KEYS_MAX} keys, "
                "and a threshold up to their number"
            )
    kit = Kit(folder)
    private = folder / "keys"
    if private.exists() or kit.room.folder.exists():
        raise Refused(f"{folder} has keys or a room already and is left alone: choose another")
    try:
        private.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise Refused(f"cannot make {private}: {error.strerror}") from error
    root = [keys.make(private / f"root-{n}.pem") for n in range(1, root_keys + 1)]
    targets = [keys.make(private / f"targets-{n}.pem") for n in range(1, targets_keys + 1)]
    snapshot, timestamp = (keys.make(private / f"{r}.pem") for r in ("snapshot", "timestamp"))
    roles = {
        "root": ([signer.public_key for signer in root], root_threshold),
        "targets": ([signer.public_key for signer in targets], targets_threshold),
        "snapshot": ([snapshot.public_key], 1),
        "timestamp": ([timestamp.public_key], 1),
    }
    repository.make_room(kit.room.folder, roles, [*root, *targets], DAYS)
    keys.make(private / "image.pem")
    public = keys.public_hex(keys.read_private(private / "image.pem"))
    repository.write(kit.room.image_key, f"{public}\n".encode())
    return kit


def release(kit: Kit, claims: Claims, image: bytes) -> Release:
    """Add an image, signed by all keys of the kit that may.

    Raises:
        Malformed: the image or what is claimed cannot be right.
        Refused: the version is taken, or the machine type takes no updates.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(image)
        file.flush()
        image_key = keys.read_private(kit.folder / "keys" / "image.pem")
        made = releases.add(kit.room, Path(file.name), claims, image_key)
    repository.sign(kit.room, [keys.read(file) for file in kit.key_files("targets")])
    return made


def publish(kit: Kit, days: float = PUBLISHED_DAYS) -> Published:
    """Sign what devices ask for first, for so many days.

    Raises:
        Refused: a device would not believe it.
    """
    snapshot, timestamp = (
        keys.read(kit.folder / "keys" / f"{role}.pem") for role in ("snapshot", "timestamp")
    )
    return publishing.publish(kit.room, snapshot, timestamp, days)
