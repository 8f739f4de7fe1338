"""What the agent says about its own spool: how full, how old, and at once when it loses data."""

import asyncio
import logging
from collections import Counter

from contract.status import Status
from edge.adapters.clock import Clock
from edge.adapters.spool import Bounds, Loss
from edge.agent.disk import Disk
from edge.agent.statuses import Statuses

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 60.0
MATERIAL_SHARE = 0.01
"""A change of the spool by this share of its bound is worth telling."""


class SpoolReport:
    """Keeps the agent's own status; `run` looks at the spool once a minute and at every alarm."""

    def __init__(self, bounds: Bounds, clock: Clock, disk: Disk, statuses: Statuses) -> None:
        self._bounds = bounds
        self._clock = clock
        self._disk = disk
        self._statuses = statuses
        self._told: Counter[Loss] = disk.dropped
        """Losses when the spool was last looked at by the minute."""
        self._full = ""

    def arrived(self) -> None:
        """Say that the agent is here, to a broker that may have sent its last will."""
        self._statuses.forget(self._statuses.agent)
        self._say()

    async def run(self) -> None:
        """Report until cancelled."""
        next_ns = self._clock.elapsed_ns()
        while True:
            next_ns += int(REPORT_INTERVAL_S * 1e9)
            while (left_ns := next_ns - self._clock.elapsed_ns()) > 0:
                if await self._alarmed(left_ns / 1e9):
                    self._at_once()
            self._by_the_minute()

    async def _alarmed(self, plant_s: float) -> bool:
        try:
            async with asyncio.timeout(self._clock.scale.wall_s(plant_s)):
                await self._disk.alarm.wait()
        except TimeoutError:
            return False
        self._disk.alarm.clear()
        return True

    def _at_once(self) -> None:
        """Say when data begins to be lost, or when another bound is the reason now."""
        reason = self._reason()
        if reason and reason != self._full:
            self._full = reason
            log.warning("%s", reason)
            self._say()

    def _by_the_minute(self) -> None:
        self._full = self._reason()
        dropped = self._disk.dropped
        if dropped != self._told:
            counts = ", ".join(f"{count} ({loss})" for loss, count in sorted(dropped.items()))
            log.warning("batches dropped so far, the oldest first: %s. %s", counts, self._full)
        self._told = dropped
        before = self._statuses.current(self._statuses.agent)
        if before is None or self._differs(before):
            self._say()

    def _differs(self, before: Status) -> bool:
        material = MATERIAL_SHARE * self._bounds.max_bytes
        return (
            abs(self._disk.spool.held_bytes - before.spool_bytes) > material
            or before.spool_dropped != self._disk.dropped.total()
            or before.spool_full != self._full
        )

    def _reason(self) -> str:
        """Return why batches are being lost, and what helps."""
        new = self._disk.dropped - self._told
        if self._disk.failing or new[Loss.DISK]:
            return (
                "the disk refuses the spool's writes: readings wait in memory, of too many the "
                "oldest are lost. Free some space in data_dir or replace the disk."
            )
        helps = "Restore the way to the gateway or raise"
        if new[Loss.BYTES]:
            most = self._bounds.max_bytes
            return f"the spool is full ({most} bytes): the oldest go. {helps} spool_max_bytes."
        if new[Loss.AGE]:
            most_s = self._bounds.max_age_s
            return f"telemetry older than {most_s:g} s is dropped. {helps} spool_max_age_s."
        return ""

    def _say(self) -> None:
        before = self._statuses.current(self._statuses.agent)
        self._statuses.say(
            self._statuses.agent,
            Status(
                online=True,
                at_ns=before.at_ns if before else self._clock.now_ns(),
                agent=self._statuses.agent,
                spool_bytes=self._disk.spool.held_bytes,
                spool_dropped=self._disk.dropped.total(),
                spool_oldest_ns=self._disk.spool.oldest_ns,
                spool_full=self._full,
            ),
        )
