"""Start the edge agent: ``python -m edge --config edge.toml``."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from contract.errors import FarfixError
from edge import agent
from edge.config import Config, load


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await agent.run(config, stop)


def main(config: Path) -> None:
    """Run the agent until it is told to stop; a bad configuration ends with exit code 2."""
    logging.basicConfig(
        level=os.environ.get("FARFIX_LOG", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        asyncio.run(_serve(load(config)))
    except FarfixError as error:
        sys.stderr.write(f"farfix edge: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="farfix edge", description="Farfix edge agent")
    parser.add_argument("--config", type=Path, default=Path("edge.toml"))
    main(parser.parse_args().config)
