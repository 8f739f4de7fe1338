"""What the gateway keeps of releases, and the lines of its audit log."""

from msgspec import Struct

from contract.firmware import Release


class AuditRow(Struct, frozen=True, kw_only=True):
    """One line of the audit log."""

    id: int
    at_ns: int
    by: str
    what: str
    text: str
    device: str
    rollout: int
    """Its number; 0: about none."""


class Digests(Struct, frozen=True):
    """Hashes of an artifact as DDI clients want them, in lower-case hex."""

    sha1: str
    md5: str
    sha256: str


class Kept(Struct, frozen=True, kw_only=True):
    """A release that is in the repository now."""

    release: Release
    digests: Digests
    barred: str = ""
    """Why it is offered to nobody any more, in words: a rollout of it was stopped."""


class RepositoryState(Struct, frozen=True, kw_only=True):
    """How the signed repository stands."""

    root_version: int
    targets_version: int
    snapshot_version: int
    timestamp_version: int
    root_expires_ns: int
    """Wall clock, like all of these."""
    targets_expires_ns: int
    snapshot_expires_ns: int
    timestamp_expires_ns: int
