"""``python -m cloud --config cloud.toml``: run the gateway."""

import asyncio
import logging
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from cloud import config as settings
from cloud.service import gateway
from cloud.worker import process
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
        if channel is not None:  # one of the gateway's own workers
            asyncio.run(process.run(socket.socket(fileno=channel)))
        else:
            asyncio.run(gateway.run(settings.load(config)))
    except FarfixError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


if __name__ == "__main__":
    typer.run(main)
