"""Publish a room: sign snapshot and timestamp over it, if a device would believe the result."""

from datetime import datetime

from msgspec import Struct
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

from contract.errors import Malformed
from farfix import device_view, keys, repository
from farfix.device_view import View
from farfix.repository import Room


class Published(Struct, frozen=True):
    """What came of it."""

    view: View
    renewed_only: bool
    """There was no change to the releases: only dates were renewed."""
    expires: datetime
    """Devices believe it until then: publish again before."""


def publish(
    room: Room, snapshot_key: CryptoSigner, timestamp_key: CryptoSigner, days: float
) -> Published:
    """Sign a new snapshot and timestamp over the newest root and targets.

    What waits for signatures stays out. A new device looks at the result first: if it would
    refuse it, nothing is changed.

    Raises:
        Refused: a device would refuse it, and why.
        Malformed: the room cannot be read.
    """
    targets = repository.targets(room).signed
    before = _snapshot(room)
    snapshot = Metadata(
        Snapshot(
            version=before.version + 1 if before else 1,
            expires=repository.in_days(days),
            meta={"targets.json": MetaFile(targets.version)},
        )
    )
    timestamp = Metadata(
        Timestamp(
            version=_timestamp_version(room) + 1,
            expires=snapshot.signed.expires,
            snapshot_meta=MetaFile(snapshot.signed.version),
        )
    )
    snapshot.sign(snapshot_key)
    timestamp.sign(timestamp_key)
    made = {
        f"metadata/{snapshot.signed.version}.snapshot.json": snapshot.to_bytes(),
        "metadata/timestamp.json": timestamp.to_bytes(),
    }
    view = device_view.view_room(room, room.first_root.read_bytes(), made)
    for name, data in made.items():  # the timestamp last: it makes the rest count
        repository.write(room.folder / name, data)
    return Published(
        view=view,
        renewed_only=before is not None and before.meta["targets.json"].version == targets.version,
        expires=min(role.expires for role in view.roles),
    )


def metadata_texts(room: Room) -> dict[str, str]:
    """Return what a gateway needs of the metadata, by name: all roots, and what is current.

    Raises:
        Malformed: the room was not published, or cannot be read.
    """
    snapshot = _published(room)
    names = [file.name for file in sorted(room.metadata.glob("*.root.json"))]
    names += [
        f"{snapshot.meta['targets.json'].version}.targets.json",
        f"{snapshot.version}.snapshot.json",
        "timestamp.json",
    ]
    limit = repository.MAX_METADATA_BYTES
    return {name: keys.read_file(room.metadata / name, limit).decode() for name in names}


def image_paths(room: Room) -> list[str]:
    """Return the paths of all published images below ``targets/``, with their hash in front.

    Raises:
        Malformed: the room was not published, or cannot be read.
    """
    version = _published(room).meta["targets.json"].version
    targets = repository.load(room.metadata / f"{version}.targets.json", Targets).signed
    return [target.get_prefixed_paths()[0] for target in targets.targets.values()]


def _published(room: Room) -> Snapshot:
    snapshot = _snapshot(room)
    if snapshot is None:
        raise Malformed(f"{room.folder} was not published yet: farfix release publish")
    return snapshot


def _snapshot(room: Room) -> Snapshot | None:
    """Return what was published last."""
    file = room.metadata / "timestamp.json"
    if not file.exists():
        return None
    version = repository.load(file, Timestamp).signed.snapshot_meta.version
    return repository.load(room.metadata / f"{version}.snapshot.json", Snapshot).signed


def _timestamp_version(room: Room) -> int:
    file = room.metadata / "timestamp.json"
    return repository.load(file, Timestamp).signed.version if file.exists() else 0
