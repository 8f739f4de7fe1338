"""Signed release metadata, believed only in the client order of The Update Framework (TUF).

Everything happens in memory and without a key: whoever takes this gateway over can withhold
releases, not make them. The same order is followed by the machines' own clients.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from tuf.api.exceptions import EqualVersionNumberError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType, UpdaterConfig

from cloud.core.published import RepositoryState
from contract import trust
from contract.errors import Malformed, Refused
from contract.firmware import MAX_IMAGE_BYTES, Format, Release, version_number

# `TrustedMetadataSet` is python-tuf's own client order. Its public `Updater` wraps a network and
# a cache on disk around it, which a server that checks what is handed to it has no use for.

TIMESTAMP = "timestamp.json"
NAME = re.compile(r"timestamp\.json|[1-9][0-9]{0,8}\.(root|snapshot|targets)\.json")
"""Of a metadata file: consistent snapshots, no delegations."""
MACHINE_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Of a release: it becomes a part of paths and topics."""
FILES_MAX = 600
ROOTS_MAX = UpdaterConfig().max_root_rotations
"""So many roots a client follows; devices begin with the first."""
LENGTHS_MAX = {
    Root.type: 100_000,
    Timestamp.type: UpdaterConfig().timestamp_max_length,
    Snapshot.type: 100_000,
    Targets.type: 1_000_000,
}
"""So many bytes of a file of a role an edge agent reads (`edge.adapters.repository`)."""
WHENEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""At this time nothing has expired: for what was in time when it was taken in."""


class Verified(Struct, frozen=True, kw_only=True):
    """A repository that can be believed as a whole."""

    files: dict[str, bytes]
    """All roots, the timestamp, and the snapshot and targets that it leads to."""
    state: RepositoryState
    releases: tuple[Release, ...]


def check_names(metadata: Mapping[str, bytes]) -> None:
    """Check what can be said of metadata without looking at signatures.

    Raises:
        Malformed: too many files, a name that no client asks for, or a file too long for clients.
    """
    if len(metadata) > FILES_MAX:
        raise Malformed(f"{len(metadata)} metadata files; at most {FILES_MAX} are taken")
    for name, data in metadata.items():
        if NAME.fullmatch(name) is None:
            raise Malformed(
                f"{name[:100]!r} is no metadata file: there are N.root.json, N.targets.json, "
                "N.snapshot.json and timestamp.json"
            )
        longest = LENGTHS_MAX[name.removesuffix(".json").rpartition(".")[2]]
        if len(data) > longest:
            raise Malformed(f"{name} has {len(data)} bytes, and clients read at most {longest}")


def verify(
    files: Mapping[str, bytes], first_root: bytes, seen: Mapping[str, bytes], at: datetime
) -> Verified:
    """Follow the client order from a root that is trusted to the targets.

    Args:
        files: what is handed in, by name.
        first_root: the root that is trusted from the beginning.
        seen: the files that were believed last; nothing older than they are is believed.
        at: nothing may have expired at this time.

    Raises:
        Refused: says which check failed and what to do.
    """
    try:
        at_hand = {**seen, **files}
        chain = _roots(at_hand, first_root)
        _unchanged(files, seen)
        trusted = _follow(chain)
        trusted.reference_time = at
        _update_timestamp(trusted, at_hand, seen)
        _update_snapshot(trusted, at_hand, seen)
        targets = _named(at_hand, f"{trusted.snapshot.meta['targets.json'].version}.targets.json")
        trusted.update_targets(at_hand[targets])
    except RepositoryError as error:
        raise Refused(trust.explain(error)) from error
    snapshot = f"{trusted.snapshot.version}.snapshot.json"
    believed = {name: at_hand[name] for name in (TIMESTAMP, snapshot, targets)}
    return Verified(
        files={f"{number}.root.json": data for number, data in chain.items()} | believed,
        state=_state(trusted),
        releases=_releases(trusted.targets),
    )


def roots_fit(files: Mapping[str, bytes], first_root: bytes) -> bool:
    """Tell whether the roots among the files belong together and to the first root."""
    try:
        _follow(_roots(files, first_root))
    except (Refused, RepositoryError):
        return False
    return True


def lasting(files: Mapping[str, bytes], first_root: bytes) -> dict[str, bytes]:
    """Return what, of files that are not believed as a whole, still tells older ones apart.

    A timestamp counts later only if the roots of that time have signed it.
    """
    roots = {name: data for name, data in files.items() if name.endswith(".root.json")}
    kept = roots if roots_fit(roots, first_root) else {}
    return kept | {name: data for name, data in files.items() if name == TIMESTAMP}


def _unchanged(files: Mapping[str, bytes], seen: Mapping[str, bytes]) -> None:
    """Refuse a file that says something else than under the same number before.

    Clients that have the old one would never notice the new one. New signatures are fine.
    """
    for name in files.keys() & seen.keys() - {TIMESTAMP}:
        if files[name] != seen[name]:
            old: Metadata[Any] = Metadata.from_bytes(seen[name])
            new: Metadata[Any] = Metadata.from_bytes(files[name])
            if new.signed != old.signed:
                raise Refused(
                    f"{name} was published before with another content: sign it under a new version"
                )


def _roots(files: Mapping[str, bytes], first_root: bytes) -> dict[int, bytes]:
    """Return all roots at hand by number, without a gap."""
    names = [name for name in files if name.endswith(".root.json")]
    roots = {int(name.partition(".")[0]): files[name] for name in names}
    first = TrustedMetadataSet(first_root, EnvelopeType.METADATA).root.version
    if roots.setdefault(first, first_root) != first_root:
        raise Refused(
            f"{first}.root.json is not the root that this gateway trusts: 'release_root' in its "
            "settings belongs to another repository"
        )
    oldest, newest = min(roots), max(roots)
    if newest - oldest >= ROOTS_MAX:
        raise Refused(f"clients follow {ROOTS_MAX} roots at most; begin with a newer first root")
    missing = [number for number in range(oldest, newest) if number not in roots]
    if missing:
        raise Refused(f"{missing[0]}.root.json is missing, which leads to {newest}.root.json")
    return dict(sorted(roots.items()))


def _follow(chain: Mapping[int, bytes]) -> TrustedMetadataSet:
    """Check that each root is signed by the one before and by itself.

    Roots older than the trusted one are there for devices that begin with them. They are no
    source of trust here: the trusted root, whose bytes are known, is in the chain.
    """
    (oldest, data), *later = chain.items()
    trusted = TrustedMetadataSet(data, EnvelopeType.METADATA)
    if trusted.root.version != oldest:
        raise Refused(f"{oldest}.root.json says that it is version {trusted.root.version}")
    for _, newer in later:
        trusted.update_root(newer)
    if not trusted.root.consistent_snapshot:
        raise Refused("the root does not promise consistent snapshots, which clients here rely on")
    return trusted


def _update_timestamp(
    trusted: TrustedMetadataSet, files: Mapping[str, bytes], seen: Mapping[str, bytes]
) -> None:
    new, old = files[_named(files, TIMESTAMP)], seen.get(TIMESTAMP)
    if old is not None and old != new:
        # An old one that has expired, or whose key was replaced, is let go as clients do it.
        with suppress(RepositoryError):
            trusted.update_timestamp(old)
    try:
        trusted.update_timestamp(new)
    except EqualVersionNumberError as error:
        raise Refused(
            f"a timestamp of version {trusted.timestamp.version} with another content was "
            "published before: publish again, with a higher version"
        ) from error


def _update_snapshot(
    trusted: TrustedMetadataSet, files: Mapping[str, bytes], seen: Mapping[str, bytes]
) -> None:
    new = files[_named(files, f"{trusted.timestamp.snapshot_meta.version}.snapshot.json")]
    for name, old in seen.items():
        if name.endswith(".snapshot.json") and old != new:
            with suppress(
                RepositoryError
            ):  # it is there to be older, and may be signed by old keys
                trusted.update_snapshot(old, trusted=True)
    trusted.update_snapshot(new)
    if set(trusted.snapshot.meta) != {"targets.json"}:
        raise Refused("the snapshot must speak of targets.json, and of nothing else")


def _named(files: Mapping[str, bytes], name: str) -> str:
    if name not in files:
        raise Refused(f"{name} is missing: hand in all roots, timestamp, snapshot and targets")
    return name


def _releases(targets: Targets) -> tuple[Release, ...]:
    if targets.delegations is not None:
        raise Refused("targets are delegated to other roles, which this gateway does not follow")
    found: dict[tuple[str, int], Release] = {}
    for path, target in targets.targets.items():
        try:
            release = trust.release(path, target.length, target.hashes, target.custom)
        except Malformed as error:
            raise Refused(str(error)) from error
        if MACHINE_TYPE.fullmatch(release.machine_type) is None:
            raise Refused(f"target {path}: {release.machine_type!r} is no name of a machine type")
        if set(target.hashes) != {"sha256"}:
            raise Refused(f"target {path}: give its sha256 and no other hash; it is in its name")
        if release.format is Format.IMAGE and release.size_bytes > MAX_IMAGE_BYTES:
            raise Refused(f"target {path}: a bare image has at most {MAX_IMAGE_BYTES} bytes")
        key = (release.machine_type, version_number(release.version))
        if key in found:
            raise Refused(f"target {path}: there are two releases of this version")
        found[key] = release
    return tuple(found[key] for key in _newest_first(found))


def _newest_first(keys: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(keys, key=lambda key: (key[0], -key[1]))


def _state(trusted: TrustedMetadataSet) -> RepositoryState:
    root, targets, snapshot = trusted.root, trusted.targets, trusted.snapshot
    return RepositoryState(
        root_version=root.version,
        targets_version=targets.version,
        snapshot_version=snapshot.version,
        timestamp_version=trusted.timestamp.version,
        root_expires_ns=_ns(root.expires),
        targets_expires_ns=_ns(targets.expires),
        snapshot_expires_ns=_ns(snapshot.expires),
        timestamp_expires_ns=_ns(trusted.timestamp.expires),
    )


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9
