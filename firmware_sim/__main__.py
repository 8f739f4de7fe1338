"""Start the simulated fleet: ``python -m firmware_sim --fleet fleet.toml``."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from contract.errors import FarfixError
from firmware_sim import fleet as simulated
from firmware_sim.config import Config, load


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await simulated.serve(config, stop)


def main(fleet: Path) -> None:
    """Run the fleet until it is told to stop; a bad configuration ends with exit code 2."""
    logging.basicConfig(
        level=os.environ.get("FARFIX_LOG", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        asyncio.run(_serve(load(fleet)))
    except FarfixError as error:
        sys.stderr.write(f"farfix sim: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="farfix sim", description="Farfix simulated fleet")
    parser.add_argument("--fleet", type=Path, default=Path("fleet.toml"))
    main(parser.parse_args().fleet)
