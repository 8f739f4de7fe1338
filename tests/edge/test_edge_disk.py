"""A disk that refuses: nothing is lost for a while, what is lost is said at once, and why."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract.commands import Command
from contract.errors import Unreachable
from contract.status import Status
from contract.telemetry import Quality, Reading
from contract.timescale import Timescale
from edge.adapters.clock import Clock
from edge.adapters.spool import Bounds, Loss
from edge.agent import disk, reporting
from edge.agent.disk import PENDING_MAX, Disk
from edge.agent.reporting import SpoolReport
from edge.agent.statuses import Statuses


class Heard(Statuses):
    """Remembers all that was said of the spool's fullness."""

    def __init__(self, site: str, agent: str, wake: asyncio.Event) -> None:
        super().__init__(site, agent, wake)
        self.said = ""

    def say(self, device: str, status: Status) -> None:
        self.said += status.spool_full
        super().say(device, status)


class Stand:
    """A disk with its report, and ways to fill it."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        clock = Clock(Timescale(speed=20.0, origin_ns=time.time_ns()))  # noqa: TID251 - wall time
        self.disk = Disk(folder / "edge.db", bounds, clock, asyncio.Event())
        self.statuses = Heard("north", "edge-1", asyncio.Event())
        self.report = SpoolReport(bounds, clock, self.disk, self.statuses)
        self.clock = clock

    def status(self) -> Status:
        status = self.statuses.current("edge-1")
        assert status is not None
        return status

    async def until_full(self, reason: str) -> None:
        """Wait until a status has given a reason."""
        async with asyncio.timeout(60):
            while reason not in self.statuses.said:  # noqa: ASYNC110 - says it by no event
                await asyncio.sleep(0.02)

    async def until_over(self) -> None:
        """Wait until the status gives no reason any more."""
        async with asyncio.timeout(60):
            while self.status().spool_full:  # noqa: ASYNC110 - the latest counts
                await asyncio.sleep(0.02)

    def keep(self, width: int = 1) -> None:
        names = [f"s{i}" for i in range(width)]
        good = dict.fromkeys(names, Quality.GOOD)
        tick = Reading(self.clock.now_ns(), dict.fromkeys(names, 1.5), good)
        self.disk.keep("a", (tick,))

    def set_pages(self, most: int) -> None:
        """Let the disk be full; SQLite answers as it does to a real one."""
        self.disk._connection.execute(f"PRAGMA max_page_count = {most}")


@asynccontextmanager
async def standing(folder: Path, bounds: Bounds) -> AsyncIterator[Stand]:
    stand = Stand(folder, bounds)
    stand.report.arrived()
    jobs = [asyncio.create_task(j()) for j in (stand.report.run, stand.disk.write_forever)]
    try:
        yield stand
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        stand.disk.close()


async def test_what_the_disk_refuses_waits_in_memory_and_is_written_when_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "RETRY_S", 0.2)
    monkeypatch.setattr(reporting, "REPORT_INTERVAL_S", 10.0)
    async with standing(tmp_path, Bounds(10**9)) as stand:
        stand.set_pages(1)
        for _ in range(50):
            stand.keep(width=200)
        await stand.until_full("Free some space in data_dir")
        assert stand.disk.failing
        assert stand.disk.dropped.total() == 0
        for _ in range(PENDING_MAX):
            stand.keep()
        async with asyncio.timeout(60):
            while not stand.disk.dropped:  # noqa: ASYNC110 - some may be at the disk yet
                await asyncio.sleep(0.02)
        stand.set_pages(10**6)
        async with asyncio.timeout(60):
            while stand.disk.failing:  # noqa: ASYNC110 - a flag
                await asyncio.sleep(0.02)
        ((_, _, newest),) = stand.disk.spool.held()
        assert newest == PENDING_MAX
        assert stand.disk.dropped == {Loss.DISK: 50}, "the oldest of too many"
        await stand.until_over()
    assert caplog.text.count("readings wait in memory, 1000 batches at most") == 1
    assert "the spool works again" in caplog.text


async def test_a_full_spool_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "REPORT_INTERVAL_S", 1e6)
    async with standing(tmp_path, Bounds(20_000)) as stand:
        for _ in range(30):
            stand.keep(width=200)
        await stand.until_full("raise spool_max_bytes")
        assert stand.status().spool_dropped > 0
        assert 0 < stand.status().spool_oldest_ns <= stand.clock.now_ns()


async def test_that_a_spool_is_full_no_more_is_said_by_the_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(reporting, "REPORT_INTERVAL_S", 10.0)
    async with standing(tmp_path, Bounds(20_000)) as stand:
        for _ in range(30):
            stand.keep(width=200)
        await stand.until_full("raise spool_max_bytes")
        await stand.until_over()
        assert stand.status().spool_dropped == stand.disk.dropped[Loss.BYTES]
    assert "batches dropped so far" in caplog.text


async def test_what_is_too_old_has_its_own_reason(tmp_path: Path) -> None:
    async with standing(tmp_path, Bounds(10**9, max_age_s=5.0)) as stand:
        stand.keep()
        async with asyncio.timeout(60):
            while not stand.disk.dropped[Loss.AGE]:
                await asyncio.sleep(0.1)
                stand.keep()
        await stand.until_full("raise spool_max_age_s")


async def test_a_command_that_cannot_be_written_down_is_unreachable(tmp_path: Path) -> None:
    async with standing(tmp_path, Bounds(10**9)) as stand:
        stand.set_pages(1)
        command = Command(id="c" * 60, name="n" * 60, issued_ns=0, expires_ns=1)

        def write_many() -> None:
            for number in range(500):
                stand.disk.memory.start("a", replace(command, id=f"{command.id}{number:03}"))

        with pytest.raises(Unreachable, match="memory of commands cannot be used"):
            await stand.disk.run(write_many)
