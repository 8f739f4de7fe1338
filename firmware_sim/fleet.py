"""A whole simulated fleet: built from its configuration, served, and taken down again."""

import asyncio
import logging
from contextlib import AsyncExitStack

from contract import timescale
from contract.errors import Refused
from firmware_sim import bus, control, plant
from firmware_sim.bootloader import Trust
from firmware_sim.config import BusConfig, Config, library
from firmware_sim.physics import build
from firmware_sim.plant import Plant
from firmware_sim.serial_line import SerialLine
from firmware_sim.unit import Unit

log = logging.getLogger(__name__)


async def serve(config: Config, stop: asyncio.Event) -> None:
    """Run the fleet until ``stop`` is set.

    Raises:
        Refused: a port or serial line cannot be had.
    """
    # pymodbus dumps frames for every error reply, and error replies are normal here.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    scale = timescale.parse(config.timescale)
    units = _units(config)
    by_device = {unit.machine.device: unit for unit in units.values()}
    site = Plant(by_device, plant.plant_now(scale))
    async with AsyncExitStack() as stack:
        for line in config.buses:
            members = {unit: units[name, unit] for name, unit in units if name == line.name}
            await _serve_bus(line, members, stack)
        if config.control_port:
            await _serve_control(config.control_port, site, stack)
        keeping_time = asyncio.create_task(plant.run(site, scale))
        stopping = asyncio.create_task(stop.wait())
        stack.callback(keeping_time.cancel)
        stack.callback(stopping.cancel)
        log.info("%d machines on %d buses", len(units), len(config.buses))
        await asyncio.wait((keeping_time, stopping), return_when=asyncio.FIRST_COMPLETED)
        if keeping_time.done():
            keeping_time.result()


def _units(config: Config) -> dict[tuple[str, int], Unit]:
    """Return the machines by bus and unit number."""
    return {
        (m.bus, m.unit): Unit(
            library()[m.machine_type],
            build(m.machine_type, m.device, config.seed),
            Trust(m.machine_type, config.key(), m.hardware),
            config.state_dir,
        )
        for m in config.machines
    }


async def _serve_bus(line: BusConfig, members: dict[int, Unit], stack: AsyncExitStack) -> None:
    if line.path is None:
        server = await bus.serve_tcp(line.port, members)
        stack.push_async_callback(server.shutdown)
        return
    wire = SerialLine(line.path)
    stack.callback(wire.close)
    serial = await bus.serve_rtu(wire.server_path, members)
    stack.push_async_callback(serial.shutdown)


async def _serve_control(port: int, site: Plant, stack: AsyncExitStack) -> None:
    try:
        server = await control.serve(port, site)
    except OSError as error:
        raise Refused(f"cannot serve control on port {port}: {error.strerror}") from error
    stack.callback(server.close)
