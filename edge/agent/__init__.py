"""The agent's loops: poll, keep, converse, carry out."""

import asyncio
import logging

from contract import timescale
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.adapters.modbus import Bus
from edge.adapters.spool import Bounds
from edge.agent.commanding import Commander
from edge.agent.disk import Disk
from edge.agent.polling import Neighbours, Poller
from edge.agent.reporting import SpoolReport
from edge.agent.statuses import Statuses
from edge.agent.stopping import end
from edge.agent.uplink import Uplink
from edge.config import Config

log = logging.getLogger(__name__)


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run the agent until `stop` is set; then keep what is in memory and say goodbye.

    Raises:
        Unreachable: the data directory cannot be used.
    """
    clock = Clock(timescale.parse(config.timescale))
    wake = asyncio.Event()
    bounds = Bounds(config.spool_max_bytes, config.spool_max_age_s)
    disk = Disk(config.data_dir / "edge.db", bounds, clock, wake)
    if interrupted := await disk.run(disk.memory.after_restart, clock.now_ns()):
        log.warning("%d commands were interrupted when the agent stopped", interrupted)
    statuses = Statuses(config.site, config.agent, wake)
    buses = {bus.name: Bus(bus) for bus in config.buses}
    neighbours = {name: Neighbours() for name in buses}
    pollers: list[Poller] = []
    commanders: dict[str, Commander] = {}
    for entry in config.devices:
        machine = config.machine(entry)
        device = Device(entry.device, machine, buses[entry.bus], entry.unit, clock)
        near = neighbours[entry.bus]
        near.units += 1
        pollers.append(
            Poller(
                device,
                near,
                clock=clock,
                disk=disk,
                statuses=statuses,
                batch_ticks=config.batch_ticks,
            )
        )
        commanders[entry.device] = Commander(device, clock, disk, wake, config.trusted_key)
    report = SpoolReport(bounds, clock, disk, statuses)
    uplink = Uplink(
        config,
        clock=clock,
        disk=disk,
        statuses=statuses,
        report=report,
        commanders=commanders,
        wake=wake,
    )
    work = [poller.run for poller in pollers] + [c.run for c in commanders.values()]
    work += [disk.write_forever, uplink.run, report.run]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job()) for job in work]
            await stop.wait()
            await end(tasks)
    finally:
        await disk.flush()
        disk.close()
        for bus in buses.values():
            bus.close()
