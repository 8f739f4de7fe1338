"""A signed repository as python-tuf sees it. Imported only when there is something to update."""

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct
from tuf.api.exceptions import (
    DownloadError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, TargetFile
from tuf.ngclient import Updater, UpdaterConfig

from contract import trust
from contract.errors import Malformed, Refused, Unreachable
from contract.firmware import Release, ReleaseRef, target_path
from edge.adapters import durable
from edge.adapters.web import Web

BOUNDS = UpdaterConfig(
    max_delegations=0,
    root_max_length=100_000,
    snapshot_max_length=100_000,
    targets_max_length=1_000_000,
)
"""What is parsed before it can be verified must fit into a small computer: some 1,800 releases."""
ATTEMPTS_MAX = 4
IMAGES_MAX = 8
"""Images, whole or in part, that stay on the disk."""


class Found(Struct, frozen=True):
    """A release that the repository's signers vouch for."""

    release: Release
    target: TargetFile


def read_root(file: Path) -> bytes:
    """Read the root metadata that the agent starts from.

    Raises:
        Malformed: it cannot be read, is not signed by its own keys, or is of no use here.
    """
    way_out = "trusted_root must be the repository's root.json, as its signers handed it out"
    try:
        data = file.read_bytes()
        root = Metadata[Root].from_bytes(data)
        if not isinstance(root.signed, Root):
            raise Malformed(f"{file} is {root.signed.type} metadata; {way_out}")
        root.verify_delegate(Root.type, root)
    except OSError as error:
        raise Malformed(f"{file} cannot be read ({error.strerror}); {way_out}") from error
    except RepositoryError as error:
        raise Malformed(f"{file}: {trust.explain(error)}; {way_out}") from error
    if not root.signed.consistent_snapshot:
        raise Malformed(f"{file} is of a repository without consistent snapshots; make it with")
    return data


def find(root: bytes, folder: Path, ref: ReleaseRef, web: Web, now_s: float) -> Found:
    """Verify the repository in the order of the TUF client and return one release of it.

    Args:
        root: what `read_root` returned.
        folder: where metadata that was verified is kept.
        ref: which release, and where the repository is; not trusted.
        web: asks for files.
        now_s: this computer's time, in seconds since 1970 UTC.

    Raises:
        Unreachable: the repository could not be asked, or the disk refuses.
        Refused: it is not believed, or it has no such release.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("tmp*"):
        left.unlink()  # python-tuf was killed while it wrote this
    path = target_path(ref.machine_type, ref.version)
    try:
        updater = Updater(
            str(folder),
            f"{ref.repository}/metadata/",
            fetcher=web,
            config=BOUNDS,
            bootstrap=root,
        )
        updater.refresh()
        _check_age(folder, now_s)
        target = updater.get_targetinfo(path)
    except (RepositoryError, DownloadError) as error:
        raise trust.translate(error) from error
    if target is None:
        raise Refused(f"the repository has no target {path}")
    try:
        custom = target.unrecognized_fields.get("custom")
        release = trust.release(path, target.length, target.hashes, custom)
    except Malformed as error:
        raise Refused(str(error)) from error
    return Found(release, target)


def download(found: Found, folder: Path, ref: ReleaseRef, web: Web) -> bytes:
    """Return a release's image, going on where an earlier try stopped.

    Raises:
        Unreachable: it could not be had whole; what came is kept for the next try.
        Refused: it is not what was signed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{found.release.sha256}.image"
    file.touch()
    _forget_old(folder)
    head, _, tail = found.target.path.rpartition("/")
    url = f"{ref.repository}/targets/{quote(head)}/{found.release.sha256}.{quote(tail)}"
    resumed = file.stat().st_size > 0
    while True:
        try:
            _fetch(url, file, found.target.length, web)
            data = file.read_bytes()
            found.target.verify_length_and_hashes(data)
        except LengthOrHashMismatchError as error:
            file.write_bytes(b"")
            if not resumed:
                raise trust.translate(error) from error
            resumed = False  # what lay on the disk may have been wrong: once more, all of it
        else:
            return data


def _fetch(url: str, file: Path, length: int, web: Web) -> None:
    """Complete a file, taking up a transfer that breaks off."""
    reason = ""
    for _ in range(ATTEMPTS_MAX):
        if file.stat().st_size >= length:
            return
        try:
            _fetch_rest(url, file, length, web)
        except DownloadError as error:
            ours = trust.translate(error)
            if isinstance(ours, Refused):
                raise ours from error
            reason = f": {ours}"
    if file.stat().st_size < length:
        raise Unreachable(f"the image could not be fetched{reason or ': it ends too early'}")


def _fetch_rest(url: str, file: Path, length: int, web: Web) -> None:
    start, chunks = web.get(url, file.stat().st_size)
    with file.open("r+b", buffering=0) as out:  # what came is kept if the agent dies
        out.truncate(start)
        size = out.seek(start)
        for chunk in chunks:
            size += len(chunk)
            if size > length:
                raise DownloadLengthMismatchError(f"{size} bytes of {length}")
            out.write(chunk)


def _forget_old(folder: Path) -> None:
    files = sorted(folder.glob("*.image"), key=lambda file: file.stat().st_mtime_ns)
    for file in files[:-IMAGES_MAX]:
        file.unlink()


def _check_age(folder: Path, now_s: float) -> None:
    """Keep what was verified through a power cut, and see that no clock makes it young again.

    python-tuf goes by this computer's clock, which may have been set back or may have stopped with
    the power. What was believed once is proof of a time: the latest such time is kept, and what
    had expired by then stays expired. It never lies beyond the expiry of signed metadata, so a
    clock that ran ahead for a while cannot lock the agent out for long.
    """
    note = folder / "seen_s"
    try:
        seen_s = float(note.read_text())
    except (FileNotFoundError, ValueError):
        seen_s = 0.0
    if now_s < seen_s:
        then = datetime.fromtimestamp(seen_s, UTC)
        for role in ("root", "timestamp", "snapshot", "targets"):
            if Metadata.from_file(str(folder / f"{role}.json")).signed.is_expired(then):
                raise Refused(
                    f"the {role} metadata had expired by {then:%Y-%m-%d %H:%M} UTC, when this "
                    "computer last looked; its clock has been set back since: set it right"
                )
    durable.write(note, f"{max(now_s, seen_s):.0f}".encode())
    for name in ("root", "timestamp", "snapshot", "targets"):
        durable.sync(folder / f"{name}.json")
    durable.sync(folder / "root_history")
    durable.sync(folder)
