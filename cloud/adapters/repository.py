"""The signed repository of releases as this gateway keeps it and gives it out.

Metadata is rows of the database, swapped in one transaction; artifacts are files. Nothing is
given out that the metadata does not speak of, and the metadata is believed in TUF's client order
only, when it is handed in and again at each start. Methods block and may be called from any
thread; what only reads is a look into memory.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from cloud.adapters import database as db
from cloud.adapters import signed_metadata
from cloud.adapters.artifacts import Artifacts, digests
from cloud.adapters.clock import PlantClock
from cloud.adapters.signed_metadata import Verified
from cloud.core.published import Digests, Kept, RepositoryState
from contract.errors import Malformed, Refused, Unreachable
from contract.firmware import MAX_BUNDLE_BYTES, MAX_IMAGE_BYTES, Release, target_path

log = logging.getLogger(__name__)

ARTIFACT = re.compile(
    rf"{signed_metadata.MACHINE_TYPE.pattern}/(?P<sha256>[0-9a-f]{{64}})"
    r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.(?P<ending>img|swu)"
)
"""An artifact's name in the repository: its target's path, with the hash before the file's name."""
DIGESTS, RELEASED = "digests/", "released/"
"""Rows beside the metadata: hashes of an artifact; the hash that a target's path stands for."""
RELEASED_MAX = 50_000
NOTHING = "nothing was published yet: use 'farfix release publish'"
_IS_METADATA = db.repository.c.name.not_like("%/%")
_WALL = PlantClock()


class _Published(Struct, frozen=True, kw_only=True):
    """What is given out now."""

    verified: Verified
    kept: tuple[Kept, ...]
    files: dict[str, bytes]
    """Metadata; also the one before, for clients that are in the middle of it."""
    artifacts: dict[str, Path]
    """By name in the repository."""


class Repository:
    """Releases of one gateway."""

    def __init__(
        self,
        engine: sa.Engine,
        folder: Path,
        root: bytes | None,
        wall_ns: Callable[[], int] = _WALL.now_ns,
    ) -> None:
        """Load what was published and check it again.

        Args:
            engine: of the migrated database.
            folder: for artifacts; it belongs to this object.
            root: the first trusted root (``1.root.json``); None takes nothing and offers nothing.
            wall_ns: the wall clock, in ns since 1970 UTC: metadata expires by it.

        Raises:
            Malformed: the root is none.
            Unreachable: database or disk.
        """
        if root is not None and not signed_metadata.roots_fit({}, root):
            raise Malformed(
                "'release_root' in the settings is no root of a release repository: "
                "it is the file 1.root.json that 'farfix release keygen' made"
            )
        self._engine, self._root, self._wall_ns = engine, root, wall_ns
        self._artifacts = Artifacts(folder)
        self._lock = threading.Lock()
        self._seen: Mapping[str, bytes] = {}
        self._published: _Published | None = None
        self._trouble = ""
        if root is None:
            self._trouble = "this gateway has no 'release_root' in its settings"
        else:
            self._load(root)

    @property
    def incoming(self) -> Path:
        """Folder for files that will be given to `put_artifact`."""
        return self._artifacts.incoming

    def kept(self) -> list[Kept]:
        """Return the releases, newest version first within a machine type."""
        return list(self._published.kept) if self._published else []

    def state(self) -> RepositoryState | None:
        """Return how the repository stands; None while there is none to be believed."""
        return self._published.verified.state if self._published else None

    def metadata(self, name: str) -> bytes | None:
        """Return a metadata file as it was published, such as ``2.root.json``."""
        return self._published.files.get(name) if self._published else None

    def artifact(self, name: str) -> Path | None:
        """Return the file of a target by its name in the repository, hash and all."""
        return self._published.artifacts.get(name) if self._published else None

    def path_of(self, release: Release) -> Path | None:
        """Return the file of a release that is kept."""
        return self.artifact(artifact_name(release))

    def fresh(self, now_ns: int) -> str:
        """Return why releases must not be offered now; empty: they may.

        Args:
            now_ns: wall clock, in ns since 1970 UTC.
        """
        state = self.state()
        if state is None:
            return self._trouble or NOTHING
        for role in ("timestamp", "snapshot", "targets", "root"):
            expires_ns: int = asdict(state)[f"{role}_expires_ns"]
            if now_ns >= expires_ns:
                return (
                    f"the {role} of the release repository has expired since "
                    f"{_moment(expires_ns):%Y-%m-%d %H:%M} UTC: publish again"
                )
        return ""

    def trouble(self) -> str:
        """Return what people must know of the stored repository; empty: all is well."""
        return self._trouble if self._root is not None else ""

    def put_artifact(self, path: str, file: Path) -> None:
        """Take a file in that metadata will speak of. The file is moved.

        Args:
            path: its name in the repository, such as ``chiller/<sha256>.1.1.0.img``.
            file: in `incoming`.

        Raises:
            Malformed: no such name.
            Refused: the file is not what its name says, or too much is kept.
            Unreachable: database or disk.
        """
        named, longest = parse_name(path)
        if self._root is None:
            raise Refused(f"{self._trouble}, so no artifact is taken")
        found = digests(file)
        if found.sha256 != named:
            raise Refused(f"the file has SHA-256 {found.sha256}, its name says {named}")
        if not 0 < file.stat().st_size <= longest:
            raise Refused(f"the file is empty or has more than {longest} bytes")
        with self._lock:
            self._sweep()
            self._artifacts.take(file, found.sha256)
            self._write({DIGESTS + found.sha256: msgspec.json.encode(found)})

    def publish(self, metadata: Mapping[str, bytes]) -> list[Kept]:
        """Take signed metadata in, all or nothing. Files that it does not lead to are left out.

        Raises:
            Malformed: a name that no metadata file has, or too much of it.
            Refused: says which check of the client order failed, and what to do.
            Unreachable: database or disk; nothing has changed.
        """
        signed_metadata.check_names(metadata)
        if self._root is None:
            raise Refused(f"{self._trouble}, so nothing can be published here")
        with self._lock:
            now = _moment(self._wall_ns())
            verified = signed_metadata.verify(metadata, self._root, self._seen, now)
            released = self._released(verified.releases)
            known = self._known_digests()
            kept = [self._keep(release, known) for release in verified.releases]
            old = [name for name in self._rows(_IS_METADATA) if name not in verified.files]
            self._write(verified.files | released, gone=old)
            before = self._published.verified.files if self._published else {}
            self._give_out(verified, kept, before)
            try:
                self._sweep()
            except Unreachable as error:
                log.warning("old artifacts stay until the next upload: %s", error)
            return self.kept()

    def _load(self, root: bytes) -> None:
        stored = self._rows(_IS_METADATA)
        if not stored:
            return
        try:
            verified = signed_metadata.verify(stored, root, {}, signed_metadata.WHENEVER)
        except Refused as error:
            self._seen = signed_metadata.lasting(stored, root)
            self._warn(
                f"the stored release metadata is not believed and nothing is offered: {error}. "
                "Publish again; if it was not you who changed it, find out who did"
            )
            return
        kept, missing = [], []
        known = self._known_digests()
        for release in verified.releases:
            try:
                kept.append(self._keep(release, known))
            except Refused as error:
                missing.append(str(error))
        self._give_out(verified, kept, {})
        if missing:
            self._warn("; ".join(missing))

    def _warn(self, trouble: str) -> None:
        self._trouble = trouble
        log.error("%s", trouble)

    def _give_out(
        self, verified: Verified, kept: Iterable[Kept], before: Mapping[str, bytes]
    ) -> None:
        shelf = tuple(kept)
        paths = {artifact_name(k.release): self._file(k.release) for k in shelf}
        self._published = _Published(
            verified=verified,
            kept=shelf,
            files={**before, **verified.files},
            artifacts={name: path for name, path in paths.items() if path is not None},
        )
        self._seen, self._trouble = verified.files, ""

    def _file(self, release: Release) -> Path | None:
        return self._artifacts.find(release.sha256, release.size_bytes)

    def _known_digests(self) -> dict[str, bytes]:
        return self._rows(db.repository.c.name.startswith(DIGESTS))

    def _keep(self, release: Release, known: Mapping[str, bytes]) -> Kept:
        """Look for a release's artifact and what is known of it."""
        path = self._file(release)
        if path is None:
            raise Refused(
                f"the artifact {artifact_name(release)} is not here with "
                f"{release.size_bytes} bytes: upload it, then publish again"
            )
        found = _read_digests(known.get(DIGESTS + release.sha256, b""))
        if found is None or found.sha256 != release.sha256:
            found = digests(path)
            self._write({DIGESTS + found.sha256: msgspec.json.encode(found)})
        if found.sha256 != release.sha256:
            raise Refused(f"the artifact {artifact_name(release)} is damaged: upload it again")
        return Kept(release=release, digests=found)

    def _released(self, releases: Iterable[Release]) -> dict[str, bytes]:
        """Return rows that say which bytes a version is; they never change.

        Raises:
            Refused: a version was published before with other bytes, even if withdrawn since.
        """
        known = self._rows(db.repository.c.name.startswith(RELEASED))
        added = {}
        for release in releases:
            path = target_path(release.machine_type, release.version, release.format)
            sha256 = release.sha256.encode()
            if RELEASED + path not in known:
                added[RELEASED + path] = sha256
            elif known[RELEASED + path] != sha256:
                raise Refused(
                    f"release {path} was published before with other bytes, and a version never "
                    "changes: release it under a new version"
                )
        if len(known) + len(added) > RELEASED_MAX:
            raise Refused(f"{RELEASED_MAX} releases were published, and no more are kept in mind")
        return added

    def _sweep(self) -> None:
        kept = self._published.verified.releases if self._published else ()
        gone = self._artifacts.sweep({r.sha256 for r in kept}, self._wall_ns())
        if gone:
            self._write({}, gone=[DIGESTS + sha256 for sha256 in gone])

    def _rows(self, which: sa.ColumnElement[bool]) -> dict[str, bytes]:
        query = sa.select(db.repository.c.name, db.repository.c.data).where(which)
        with db.transaction(self._engine, writes=False) as connection:
            return {row.name: row.data for row in connection.execute(query)}

    def _write(self, rows: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
        with db.transaction(self._engine, writes=True) as connection:
            for name in gone:
                connection.execute(db.repository.delete().where(db.repository.c.name == name))
            for name, data in rows.items():
                db.put(connection, db.repository, {"name": name, "data": data})


def artifact_name(release: Release) -> str:
    """Return the name of a release's file below ``targets/``."""
    path = target_path(release.machine_type, release.version, release.format)
    folder, _, name = path.rpartition("/")
    return f"{folder}/{release.sha256}.{name}"


def parse_name(name: str) -> tuple[str, int]:
    """Return the SHA-256 in an artifact's name, and how many bytes such an artifact may have.

    Raises:
        Malformed: no such name.
    """
    found = ARTIFACT.fullmatch(name)
    if found is None:
        raise Malformed(
            f"{name[:200]!r} is no name of an artifact: use "
            "MACHINE_TYPE/SHA256.VERSION.img, or .swu"
        )
    return found["sha256"], MAX_IMAGE_BYTES if found["ending"] == "img" else MAX_BUNDLE_BYTES


def _read_digests(row: bytes) -> Digests | None:
    """Return what a row says; None: nothing that can be used."""
    try:
        return msgspec.json.decode(row, type=Digests)
    except msgspec.DecodeError:
        return None


def _moment(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, tz=UTC)
