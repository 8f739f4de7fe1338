"""``python -m cloud --config cloud.toml``: run the gateway."""

import asyncio
import logging
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from contract.errors import FarfixError


def main(
    config: Annotated[Path | None, typer.Option(help="TOML file; see `farfix validate`.")] = None,
    channel: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the gateway: intake, detection, cases, console and API."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        if channel is None:
            _gateway(config)
        else:
            _worker(channel)
    except FarfixError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


def _gateway(config: Path | None) -> None:
    from cloud import config as settings  # noqa: PLC0415 - each process loads only what it needs
    from cloud.service import gateway  # noqa: PLC0415

    asyncio.run(gateway.run(settings.load(config)))


def _worker(channel: int) -> None:
    """Be one of the gateway's own workers."""
    from cloud.worker import process  # noqa: PLC0415

    asyncio.run(process.run(socket.socket(fileno=channel)))


if __name__ == "__main__":
    typer.run(main)
