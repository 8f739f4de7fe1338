"""A small maker of real TUF repositories, which also makes bad ones."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from cloud.adapters import database
from cloud.adapters.clock import PlantClock
from cloud.adapters.repository import Repository
from cloud.adapters.store import Store
from contract.errors import Refused
from contract.firmware import Format, target_path

NOW_NS = PlantClock().now_ns() // 10**9 * 10**9
DAY_NS = 86_400 * 10**9
IMAGE, OTHER = b"\x01" * 3000, b"\x02" * 2000
CLAIMS = {"machine_type": "chiller", "format": "image"}


def key() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


def artifact_path(image: bytes, version: str, machine_type: str = "chiller") -> str:
    return f"{machine_type}/{hashlib.sha256(image).hexdigest()}.{version}.img"


class Room:
    """Keys and the state of a repository; `make` signs the next state of it."""

    def __init__(self) -> None:
        self.keys: dict[str, list[CryptoSigner]] = {
            "root": [key(), key(), key()],
            "targets": [key()],
            "snapshot": [key()],
            "timestamp": [key()],
        }
        self.thresholds = {"root": 2, "targets": 1, "snapshot": 1, "timestamp": 1}
        self.days = {"root": 365.0, "targets": 90.0, "snapshot": 14.0, "timestamp": 14.0}
        self.versions = {"root": 0, "targets": 0, "snapshot": 0, "timestamp": 0}
        self.roots: dict[str, bytes] = {}
        self.images: dict[str, bytes] = {}
        self.targets: dict[str, TargetFile] = {}
        self.consistent = True
        self.rotate(self.keys["root"])

    @property
    def first_root(self) -> bytes:
        return self.roots["1.root.json"]

    def rotate(self, signers: Sequence[Signer]) -> None:
        """Make the next root of the present keys and thresholds."""
        self.versions["root"] += 1
        root = Root(self.versions["root"], expires=self.expires("root"))
        root.consistent_snapshot = self.consistent
        for role, keys in self.keys.items():
            for each in keys:
                root.add_key(each.public_key, role)
            root.roles[role].threshold = self.thresholds[role]
        self.roots[f"{root.version}.root.json"] = signed(root, signers)

    def add(self, version: str, image: bytes = b"image", **claims: Any) -> str:
        """Add a release and return the path of its artifact."""
        custom = CLAIMS | {"version": version} | claims
        path = target_path(custom["machine_type"], version, Format(custom["format"]))
        target = TargetFile.from_data(path, image, ["sha256"])
        target.unrecognized_fields["custom"] = custom
        self.targets[path] = target
        name = f"{custom['machine_type']}/{target.hashes['sha256']}.{path.rpartition('/')[2]}"
        self.images[name] = image
        return name

    def expires(self, role: str) -> datetime:
        at_s = NOW_NS / 1e9
        return datetime.fromtimestamp(at_s, tz=UTC) + timedelta(days=self.days[role])

    def make(self, *, same: Sequence[Any] = (), **signers: Sequence[Signer]) -> dict[str, bytes]:
        """Sign the state of now; versions go up but those named by `same`."""
        for role in ("targets", "snapshot", "timestamp"):
            self.versions[role] += role not in same
        v = self.versions
        targets = Targets(v["targets"], expires=self.expires("targets"), targets=self.targets)
        snapshot = Snapshot(v["snapshot"], expires=self.expires("snapshot"))
        snapshot.meta["targets.json"].version = v["targets"]
        timestamp = Timestamp(v["timestamp"], expires=self.expires("timestamp"))
        timestamp.snapshot_meta.version = v["snapshot"]
        by = self.keys | signers
        return self.roots | {
            f"{v['targets']}.targets.json": signed(targets, by["targets"]),
            f"{v['snapshot']}.snapshot.json": signed(snapshot, by["snapshot"]),
            "timestamp.json": signed(timestamp, by["timestamp"]),
        }

    def upload(self, repository: Repository) -> None:
        """Hand in all artifacts."""
        for name, image in self.images.items():
            repository.put_artifact(name, incoming(repository, image))


def signed(part: Signed, signers: Sequence[Signer]) -> bytes:
    metadata: Metadata[Any] = Metadata(part)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def incoming(repository: Repository, data: bytes) -> Path:
    path = repository.incoming / "upload"
    path.write_bytes(data)
    return path


class Place:
    """A gateway's database and folder, in which repositories open one after the other."""

    def __init__(self, url: str, folder: Path) -> None:
        Store(url).close()
        self.engine = database.open_engine(url)
        self.folder = folder
        self.now_ns = NOW_NS

    def open(self, root: bytes | None) -> Repository:
        return Repository(self.engine, self.folder, root, lambda: self.now_ns)

    def rows(self) -> dict[str, bytes]:
        table = database.repository.c
        with database.transaction(self.engine, writes=False) as connection:
            found = connection.execute(sa.select(table.name, table.data))
            return {row.name: row.data for row in found}

    def names(self) -> set[str]:
        return set(self.rows())

    def overwrite(self, name: str, data: bytes) -> None:
        row: dict[str, object] = {"name": name, "data": data}
        with database.transaction(self.engine, writes=True) as connection:
            database.put(connection, database.repository, row)


def published(place: Place) -> tuple[Room, Repository]:
    """Return a repository with two releases, and the room that signed them."""
    room = Room()
    room.add("1.9.0", IMAGE, hardware=[2, 3], cures=["firmware_bug"])
    room.add("1.10.0", OTHER, high_risk=True, notes="What is new")
    repository = place.open(room.first_root)
    room.upload(repository)
    repository.publish(room.make())
    return room, repository


def refused(place: Place, repository: Repository, files: dict[str, bytes], why: str) -> None:
    """Check that metadata is refused for a reason, and that nothing of it is kept."""
    rows, kept, state = place.rows(), repository.kept(), repository.state()
    with pytest.raises(Refused, match=why):
        repository.publish(files)
    assert (place.rows(), repository.kept(), repository.state()) == (rows, kept, state)
