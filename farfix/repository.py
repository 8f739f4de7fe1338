"""The room where releases are signed: a TUF repository as files, offline.

``metadata/`` holds what is signed by enough keys (``N.root.json``, ``N.targets.json``,
``N.snapshot.json``, ``timestamp.json``), ``targets/`` the images, ``staged/`` the next root and
targets while signatures are missing. Private keys are never in the room.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from cloud.adapters.clock import PlantClock
from contract import trust
from contract.errors import Malformed, Refused
from edge.adapters import durable
from farfix import keys

MAX_METADATA_BYTES = 5_000_000
"""As much as python-tuf's client takes."""

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)
Staged = Metadata[Root] | Metadata[Targets]


class Room(Struct, frozen=True):
    """A folder with a repository in it."""

    folder: Path

    @property
    def metadata(self) -> Path:
        """What enough keys have signed."""
        return self.folder / "metadata"

    @property
    def targets(self) -> Path:
        """Images, under the names that the metadata gives them, with their hash in front."""
        return self.folder / "targets"

    @property
    def staged(self) -> Path:
        """What waits for signatures."""
        return self.folder / "staged"

    @property
    def image_key(self) -> Path:
        """The public half of the key that bootloaders trust, in hexadecimal."""
        return self.folder / "image.pub"

    @property
    def first_root(self) -> Path:
        """What gateways, agents and machines carry from the beginning."""
        return self.metadata / "1.root.json"


class Standing(Struct, frozen=True):
    """How far the signing of the next root or targets has come."""

    role: str
    version: int
    missing: int
    """So many signatures at least; 0: it is signed and lies in ``metadata/``."""
    waiting_for: list[str]
    """Ids of keys whose signatures would count."""


def open_room(folder: Path) -> Room:
    """Return the room of a folder.

    Raises:
        Malformed: there is none.
    """
    room = Room(folder)
    if not room.first_root.is_file():
        raise Malformed(f"{folder} is no release room: make one with: farfix release keygen FOLDER")
    return room


def make_room(
    folder: Path,
    roles: Mapping[str, tuple[Sequence[SSlibKey], int]],
    signers: Sequence[CryptoSigner],
    days: float,
) -> Room:
    """Make a room with its first root and targets without releases, signed.

    Args:
        folder: is made.
        roles: keys of each role, and how many of them must sign.
        signers: sign the root, and the targets with their keys.
        days: until the root and the empty targets expire.

    Raises:
        Refused: the folder exists, cannot be written, or the signers are too few.
    """
    room = Room(folder)
    if folder.exists():
        raise Refused(f"{folder} exists and is left alone: choose another name")
    root = Root(expires=in_days(days), consistent_snapshot=True)
    for role, (public_keys, threshold) in roles.items():
        for key in public_keys:
            root.add_key(key, role)
        root.roles[role].threshold = threshold
    try:
        for part in (room.metadata, room.targets, room.staged):
            part.mkdir(parents=True)
    except OSError as error:
        raise Refused(f"cannot make {folder}: {error.strerror}") from error
    stage(room, Metadata(root))
    stage(room, Metadata(Targets(expires=in_days(days))))
    if any(standing.missing for standing in sign(room, signers)):
        raise Refused("the first root needs more signatures than there are keys")
    return room


def in_days(days: float) -> datetime:
    """Return when something expires that is signed now."""
    now = datetime.fromtimestamp(PlantClock().now_ns() // 1_000_000_000, UTC)
    return now + timedelta(days=days)


def root(room: Room) -> Metadata[Root]:
    """Return the newest root that is signed by enough keys.

    Raises:
        Malformed: it cannot be read.
    """
    return load(_newest(room.metadata, "root"), Root)


def targets(room: Room) -> Metadata[Targets]:
    """Return the newest targets that were signed by enough keys when they were.

    Raises:
        Malformed: they cannot be read.
    """
    return load(_newest(room.metadata, "targets"), Targets)


def staged_root(room: Room) -> Metadata[Root] | None:
    """Return the next root while it waits for signatures."""
    file = room.staged / f"{_version(_newest(room.metadata, 'root')) + 1}.root.json"
    return load(file, Root) if file.exists() else None


def staged_targets(room: Room) -> Metadata[Targets] | None:
    """Return the next targets while they wait for signatures."""
    file = room.staged / f"{_version(_newest(room.metadata, 'targets')) + 1}.targets.json"
    return load(file, Targets) if file.exists() else None


def anything_staged(room: Room) -> bool:
    """Tell whether something waits for signatures."""
    return staged_root(room) is not None or staged_targets(room) is not None


def next_targets(room: Room, days: float) -> Metadata[Targets]:
    """Return targets to change: the staged ones, or the next version of what was signed."""
    metadata = staged_targets(room)
    if metadata is None:
        metadata = targets(room)
        metadata.signed.version += 1
    metadata.signed.expires = in_days(days)
    return metadata


def stage(room: Room, metadata: Staged) -> None:
    """Keep metadata that was changed; what had signed it before does not count any more."""
    metadata.signatures.clear()
    write(_staged_file(room, metadata), metadata.to_bytes())


def sign(room: Room, signers: Sequence[CryptoSigner]) -> list[Standing]:
    """Add signatures to whatever is staged; what has enough of them moves to ``metadata/``.

    When a new root does not trust those who signed the targets any more, the targets are staged
    again under their next version.

    Raises:
        Refused: a key is not among those that may sign.
    """
    known = _may_sign(room)
    for signer in signers:
        if signer.public_key.keyid not in known:
            raise Refused(
                f"key {signer.public_key.keyid[:16]} signs neither the root nor the targets of "
                f"{room.folder}; those that do: {', '.join(sorted(k[:16] for k in known))}"
            )
    standings = []
    next_root = staged_root(room)
    if next_root is not None:
        standings.append(_sign_root(room, next_root, signers))
        if not standings[-1].missing and (room.metadata / "1.targets.json").exists():
            renew_orphans(room)
    next_up = staged_targets(room)
    if next_up is not None:
        standings.append(_sign_targets(room, next_up, signers))
    return standings


def renew_orphans(room: Room) -> None:
    """Stage the targets anew if the root does not trust those who signed them any more."""
    current = targets(room)
    trusted = root(room).signed.get_verification_result(
        "targets", current.signed_bytes, current.signatures
    )
    if not trusted and staged_targets(room) is None:
        current.signed.version += 1
        stage(room, current)


def _sign_root(room: Room, metadata: Metadata[Root], signers: Sequence[CryptoSigner]) -> Standing:
    before = root(room).signed if metadata.signed.version > 1 else None
    trusted = metadata.signed.roles["root"].keyids + (before.roles["root"].keyids if before else [])
    _add_signatures(metadata, signers, trusted)
    result = metadata.signed.get_root_verification_result(
        before, metadata.signed_bytes, metadata.signatures
    )
    both = (result.first, result.second)
    waiting_for = {keyid for side in both if side.missing for keyid in side.unsigned}
    return _settle(room, metadata, max(side.missing for side in both), sorted(waiting_for))


def _sign_targets(
    room: Room, metadata: Metadata[Targets], signers: Sequence[CryptoSigner]
) -> Standing:
    trusting = root(room).signed
    _add_signatures(metadata, signers, trusting.roles["targets"].keyids)
    result = trusting.get_verification_result("targets", metadata.signed_bytes, metadata.signatures)
    return _settle(room, metadata, result.missing, sorted(result.unsigned))


def _add_signatures(
    metadata: Staged,
    signers: Sequence[CryptoSigner],
    trusted: Sequence[str],
) -> None:
    for signer in signers:
        if signer.public_key.keyid in trusted:
            metadata.sign(signer, append=True)


def _settle(
    room: Room,
    metadata: Staged,
    missing: int,
    unsigned: list[str],
) -> Standing:
    """Write what was signed where it belongs now."""
    file = _staged_file(room, metadata)
    if missing:
        write(file, metadata.to_bytes())
    else:
        write(room.metadata / file.name, metadata.to_bytes())
        file.unlink()
    kind = metadata.signed.type
    return Standing(kind, metadata.signed.version, missing, unsigned if missing else [])


def _may_sign(room: Room) -> set[str]:
    roots = [staged_root(room)]
    if room.first_root.exists():
        roots.append(root(room))
    return {
        keyid
        for metadata in roots
        if metadata is not None
        for role in ("root", "targets")
        for keyid in metadata.signed.roles[role].keyids
    }


def _staged_file(room: Room, metadata: Staged) -> Path:
    return room.staged / f"{metadata.signed.version}.{metadata.signed.type}.json"


def _newest(folder: Path, role: str) -> Path:
    """Return the file with the highest version; where there is none, one with version 0."""
    files = [file for file in folder.glob(f"*.{role}.json") if file.name.split(".")[0].isdigit()]
    return max(files, key=_version, default=folder / f"0.{role}.json")


def _version(file: Path) -> int:
    return int(file.name.split(".")[0])


def load(file: Path, kind: type[T]) -> Metadata[T]:
    """Read a metadata file; nothing is verified.

    Raises:
        Malformed: it cannot be read, or is no metadata of this kind.
    """
    try:
        metadata = Metadata[T].from_bytes(keys.read_file(file, MAX_METADATA_BYTES))
    except DeserializationError as error:
        raise Malformed(f"{file}: {trust.explain(error)}") from error
    if metadata.signed.type != kind.type:
        raise Malformed(f"{file} holds {metadata.signed.type} metadata, not {kind.type}")
    return metadata


def write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        Refused: it cannot be written.
    """
    try:
        file.parent.mkdir(exist_ok=True)  # version controls drop empty folders
        durable.write(file, data)
    except OSError as error:
        raise Refused(f"cannot write {file}: {error.strerror}") from error
