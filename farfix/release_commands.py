"""``farfix release VERB``: signing keys and the signed repository, away from the gateway."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Make signing keys, sign firmware, publish it.")


@app.command()
def keygen(key: Annotated[Path, typer.Argument(help="File to make for the private key.")]) -> None:
    """Make a signing key; prints the public key that devices shall trust."""
    from farfix import releases  # noqa: PLC0415 - verbs load only what they need

    print(releases.make_key(key))


@app.command()
def sign(
    image: Annotated[Path, typer.Argument(help="The firmware image.")],
    key: Annotated[Path, typer.Option(help="Private key from `release keygen`.")],
    machine_type: Annotated[str, typer.Option(help="What kind of machine it is for.")],
    version: Annotated[str, typer.Option(help="For example 1.1.0.")],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("release.json"),
) -> None:
    """Sign a firmware image; the file that comes out is for `POST /api/releases`."""
    from farfix import releases  # noqa: PLC0415 - verbs load only what they need

    releases.sign_file(image, key, machine_type, version, out)
    print(f"{out}: {machine_type} {version}, signed")
