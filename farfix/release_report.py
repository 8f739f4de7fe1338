"""What ``farfix release`` tells the person at the terminal."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from contract.errors import Malformed
from farfix import device_view, keys, release_kit, repository
from farfix.api import Gateway
from farfix.device_view import View
from farfix.publishing import Published
from farfix.release_kit import Kit
from farfix.repository import Room, Standing

MAX_ROOT_BYTES = 512_000
"""As much as python-tuf's client takes."""


def tell_kit(kit: Kit) -> None:
    """Say which key belongs where."""
    print(f"{kit.room.first_root}: give it to gateways (release_root) and agents (trusted_root)")
    print(f"{kit.room.image_key}: goes into bootloaders: {kit.image_key}")
    for role, place in release_kit.PLACES.items():
        for file in kit.key_files(role):
            print(f"{file}: key {keys.read(file).public_key.keyid[:16]}, {place}")
    print("Move the private keys there now; whoever has them all decides what machines run.")


def tell_standings(standings: Sequence[Standing]) -> None:
    """Say how far the signing has come."""
    for standing in standings:
        name = f"{standing.role} version {standing.version}"
        if not standing.missing:
            print(f"{name}: signed; it counts from the next publish on")
            continue
        print(
            f"{name}: {standing.missing} more signature{'s' if standing.missing > 1 else ''} "
            f"needed, of key {' or '.join(keyid[:16] for keyid in standing.waiting_for)}: "
            "farfix release sign ROOM --key KEY"
        )


def tell_published(room: Room, made: Published) -> None:
    """Say what devices will see from now on, until when, and what stayed out."""
    versions = ", ".join(f"{role.name} {role.version}" for role in made.view.roles)
    news = "no other releases than before, dates renewed" if made.renewed_only else "published"
    print(f"{room.folder}: {news} ({versions})")
    print(f"devices believe it until {_day(made.expires)}: publish again before")
    if repository.anything_staged(room):
        print("what still waits for signatures stays out")


def hand_in(room: Room, url: str, token: str) -> None:
    """Hand a published room to a gateway, with a bar for what takes long."""
    gateway = Gateway(url, token)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    try:
        screen = Console(stderr=True)
        with Progress(
            *columns,
            TransferSpeedColumn(),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        ) as progress:
            bars: dict[str, TaskID] = {}

            def tell(path: str, sent: int, size_bytes: int) -> None:
                if path not in bars:
                    bars[path] = progress.add_task(path.rpartition("/")[2][-20:], total=size_bytes)
                progress.update(bars[path], completed=sent)

            sent = gateway.publish(room, tell)
    finally:
        gateway.close()
    print(f"{url} has taken it: {sent} new image{'' if sent == 1 else 's'}")


def look(where: str, root: Path, image_key: Path | None, state: Path | None) -> View:
    """Verify a room or a URL as a device does.

    Raises:
        Refused: it is not to be believed.
        Unreachable: something is missing, or does not answer.
        Malformed: there is no such room, root or key.
    """
    trusted = keys.read_file(root, MAX_ROOT_BYTES)
    if where.startswith(("http://", "https://")):
        key = keys.read_image_public(image_key) if image_key else None
        return device_view.view_url(where, trusted, key, state)
    if image_key is not None:
        raise Malformed("a room has its image.pub: --image-key is for URLs")
    return device_view.view_room(repository.open_room(Path(where)), trusted, state=state)


def tell_view(view: View) -> None:
    """Print releases and roles as tables."""
    roles = Table("role", "version", "expires (UTC)", title="Metadata, all believed")
    for role in view.roles:
        roles.add_row(role.name, str(role.version), _day(role.expires))
    images = "hash and image signature" if view.images_checked else "hash"
    title = f"Releases, {images} checked"
    columns = ("machine type", "version", "hardware", "from", "bytes", "risk", "notes")
    found = Table(*columns, title=title)
    for release in sorted(view.releases, key=lambda r: (r.machine_type, r.version)):
        found.add_row(
            release.machine_type,
            release.version,
            ", ".join(str(revision) for revision in release.hardware) or "all",
            release.min_version,
            str(release.size_bytes),
            "high" if release.high_risk else "",
            release.notes.partition("\n")[0],
        )
    console = Console()
    console.print(roles)
    console.print(found)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
