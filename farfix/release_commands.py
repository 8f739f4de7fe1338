"""``farfix release VERB``: signing keys and the signed repository, away from the gateway."""

from pathlib import Path
from typing import Annotated

import typer

from contract.errors import Malformed, Refused

app = typer.Typer(no_args_is_help=True, help="Make signing keys, sign firmware, publish it.")

Room = Annotated[Path, typer.Argument(help="The release room: a folder made by keygen.")]


def _many(help_text: str, *names: str) -> object:
    return typer.Option(*names, default_factory=list, show_default=False, help=help_text)


Keys = Annotated[list[Path], _many("Private key to sign with; repeat it.", "--key")]
Days = Annotated[float, typer.Option(min=0.01, max=3650, help="Until it expires.")]
Count = typer.Option(min=1, max=9)


@app.command()
def keygen(
    folder: Annotated[Path, typer.Argument(help="Folder to make: room/ and keys/ in it.")],
    root_keys: Annotated[int, Count] = 3,
    root_threshold: Annotated[int, Count] = 2,
    targets_keys: Annotated[int, Count] = 1,
    targets_threshold: Annotated[int, Count] = 1,
) -> None:
    """Make the keys of all roles and a release room with its first root."""
    from farfix import release_kit, release_report  # noqa: PLC0415 - verbs load what they need

    kit = release_kit.make(folder, root_keys, root_threshold, targets_keys, targets_threshold)
    release_report.tell_kit(kit)


@app.command()
def key(file: Annotated[Path, typer.Argument(help="File to make for the private key.")]) -> None:
    """Make one more signing key, to be added to a role with rotate."""
    from farfix import keys  # noqa: PLC0415 - verbs load what they need

    print(f"{file}: key {keys.make(file).public_key.keyid[:16]}")


@app.command()
def sign(
    room: Room,
    image: Annotated[
        Path | None, typer.Argument(help="Firmware image to add; left out: only sign.")
    ] = None,
    *,
    key: Keys,
    machine_type: Annotated[str, typer.Option(help="What kind of machine it is for.")] = "",
    version: Annotated[str, typer.Option(help="For example 1.1.0.")] = "",
    min_version: Annotated[str, typer.Option(help="What must run before it.")] = "0.0.0",
    hardware: Annotated[list[int], _many("Revision that it runs on; repeat it.")],
    cures: Annotated[list[str], _many("Fault that it is meant to cure.")],
    high_risk: Annotated[bool, typer.Option(help="A rollout needs a second person.")] = False,
    notes: Annotated[str, typer.Option(help="What is new, for people.")] = "",
    image_key: Annotated[Path | None, typer.Option(help="Signs bare images.")] = None,
    days: Days = 90.0,
) -> None:
    """Add an image to the staged releases, and sign whatever is staged.

    With neither an image nor anything staged, the releases are renewed for --days.
    """
    from contract.firmware import Claims  # noqa: PLC0415 - verbs load what they need
    from farfix import keys, release_report, releases, repository  # noqa: PLC0415 - as above

    here = repository.open_room(room)
    signers = [keys.read(file) for file in key]
    if image is not None:
        claims = Claims(
            machine_type=machine_type,
            version=version,
            min_version=min_version,
            hardware=hardware,
            cures=cures,
            high_risk=high_risk,
            notes=notes,
        )
        private = None if image_key is None else keys.read_private(image_key)
        made = releases.add(here, image, claims, private, days)
        print(f"added: {made.machine_type} {made.version}, {made.size_bytes} bytes")
    elif machine_type or version:
        raise Malformed("there is a machine type or a version, but no image: name its file")
    elif not repository.anything_staged(here):
        releases.renew(here, days)
        print(f"nothing was staged: the releases are renewed for {days:g} days")
    release_report.tell_standings(repository.sign(here, signers))


@app.command()
def withdraw(
    room: Room,
    machine_type: Annotated[str, typer.Argument(help="What kind of machine it was for.")],
    version: Annotated[str, typer.Argument(help="For example 1.1.0.")],
    *,
    key: Keys,
    days: Days = 90.0,
) -> None:
    """Take a release out of the repository; its version is never used again."""
    from farfix import keys, release_report, releases, repository  # noqa: PLC0415 - as above

    here = repository.open_room(room)
    signers = [keys.read(file) for file in key]
    releases.withdraw(here, machine_type, version, days)
    release_report.tell_standings(repository.sign(here, signers))


@app.command()
def rotate(
    room: Room,
    role: Annotated[str, typer.Argument(help="root, targets, snapshot or timestamp.")],
    *,
    key: Keys,
    add: Annotated[list[Path], _many("Key file, private or public half.")],
    remove: Annotated[list[str], _many("Id of a key, or its beginning.")],
    threshold: Annotated[int | None, Count] = None,
    days: Days = 365.0,
) -> None:
    """Make the next root: with other keys for a role, or only renewed."""
    from farfix import keys, release_report, repository, rotation  # noqa: PLC0415 - as above

    standings = rotation.rotate(
        repository.open_room(room),
        role,
        [keys.read(file) for file in key],
        days=days,
        add=[keys.read_public(file) for file in add],
        remove=remove,
        threshold=threshold,
    )
    release_report.tell_standings(standings)


@app.command()
def publish(
    room: Room,
    *,
    snapshot_key: Annotated[Path, typer.Option(help="Private key of the snapshot role.")],
    timestamp_key: Annotated[Path, typer.Option(help="Private key of the timestamp role.")],
    days: Days = 14.0,
    gateway: Annotated[str, typer.Option(help="URL to hand it in at.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="The gateway's API token.")] = None,
) -> None:
    """Sign snapshot and timestamp, check all as a device does, and hand it to a gateway."""
    from farfix import keys, publishing, release_report, repository  # noqa: PLC0415 - as above

    here = repository.open_room(room)
    made = publishing.publish(here, keys.read(snapshot_key), keys.read(timestamp_key), days)
    release_report.tell_published(here, made)
    if gateway:
        token = keys.read_file(token_file, 1000).decode().strip() if token_file else ""
        release_report.hand_in(here, gateway, token)


@app.command()
def verify(
    where: Annotated[str, typer.Argument(help="A release room, or a repository's URL.")],
    root: Annotated[Path, typer.Option(help="The first root: 1.root.json.")],
    image_key: Annotated[
        Path | None, typer.Option(help="image.pub, to check a URL's images as bootloaders do.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder to remember what was seen: refuses older states.")
    ] = None,
) -> None:
    """Do what a device does: verify everything, fetch every image, say what is there."""
    from farfix import release_report  # noqa: PLC0415 - verbs load what they need

    try:
        view = release_report.look(where, root, image_key, state)
    except Refused as error:
        raise Refused(f"{where} is not to be believed: {error}") from error
    release_report.tell_view(view)
