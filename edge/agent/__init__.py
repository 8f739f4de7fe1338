"""The agent's loops: poll, keep, converse, carry out."""

import asyncio
import logging
from collections import Counter

from contract import timescale
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.adapters.modbus import Bus
from edge.adapters.releases import Releases
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
        Malformed: ``trusted_root`` is not one to trust.
    """
    clock = Clock(timescale.parse(config.timescale))
    releases = Releases(config.trusted_root, config.data_dir / "tuf", clock, config.gateway_ca_file)
    wake = asyncio.Event()
    bounds = Bounds(config.spool_max_bytes, config.spool_max_age_s)
    disk = Disk(config.data_dir / "edge.db", bounds, clock, wake)
    if interrupted := await disk.run(disk.memory.after_restart, clock.now_ns()):
        log.warning("%d commands were interrupted when the agent stopped", interrupted)
    statuses = Statuses(config.site, config.agent, wake)
    buses = {bus.name: Bus(bus) for bus in config.buses}
    devices = [
        Device(entry.device, config.machine(entry), buses[entry.bus], entry.unit, clock)
        for entry in config.devices
    ]
    pollers = _pollers(devices, clock, disk, statuses, config.batch_ticks)
    commanders = {d.name: Commander(d, clock, disk, wake, releases) for d in devices}
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


def _pollers(
    devices: list[Device], clock: Clock, disk: Disk, statuses: Statuses, batch_ticks: int
) -> list[Poller]:
    """Make a poller for each device; those on one bus know of each other."""
    units = Counter(device.bus.name for device in devices)
    near = {name: Neighbours(count) for name, count in units.items()}
    return [
        Poller(
            device,
            near[device.bus.name],
            clock=clock,
            disk=disk,
            statuses=statuses,
            batch_ticks=batch_ticks,
        )
        for device in devices
    ]
