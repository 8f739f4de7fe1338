"""The agent's loops: poll, keep, converse, carry out."""

import asyncio
import logging

from contract import timescale
from contract.status import Status
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.adapters.modbus import Bus
from edge.agent.commanding import Commander
from edge.agent.disk import Disk
from edge.agent.polling import Neighbours, Poller
from edge.agent.statuses import Statuses
from edge.agent.stopping import end
from edge.agent.uplink import Uplink
from edge.config import Config

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 60.0
MATERIAL_SHARE = 0.01
"""A change of the spool by this share of its bound is worth telling."""


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run the agent until `stop` is set; then keep what is in memory and say goodbye.

    Raises:
        Unreachable: the data directory cannot be used.
    """
    clock = Clock(timescale.parse(config.timescale))
    wake = asyncio.Event()
    disk = Disk(config.data_dir / "edge.db", config.spool_max_bytes, wake)
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
    uplink = Uplink(
        config, clock=clock, disk=disk, statuses=statuses, commanders=commanders, wake=wake
    )
    work = [poller.run for poller in pollers] + [c.run for c in commanders.values()]
    work += [disk.write_forever, uplink.run, lambda: _report_spool(config, clock, disk, statuses)]
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


async def _report_spool(config: Config, clock: Clock, disk: Disk, statuses: Statuses) -> None:
    """Tell how full the spool is, when that has changed, at most once a minute."""
    while True:
        await clock.sleep(REPORT_INTERVAL_S)
        before = statuses.current(config.agent)
        held, dropped = disk.spool.held_bytes, disk.dropped
        if before is None:
            before = Status(online=True, at_ns=clock.now_ns(), agent=config.agent)
        if dropped > before.spool_dropped:
            log.warning(
                "the spool is full (%d bytes): %d batches dropped so far, the oldest first. "
                "Restore the way to the gateway or raise spool_max_bytes.",
                held,
                dropped,
            )
        changed = abs(held - before.spool_bytes) > MATERIAL_SHARE * config.spool_max_bytes
        if changed or dropped != before.spool_dropped:
            statuses.say(
                config.agent,
                Status(
                    online=True,
                    at_ns=before.at_ns,
                    agent=config.agent,
                    spool_bytes=held,
                    spool_dropped=dropped,
                ),
            )
