"""The agent's one thread for its disk: telemetry is written in groups, off the event loop."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from contract.errors import Unreachable
from contract.telemetry import Reading
from edge.adapters.memory import Memory
from edge.adapters.spool import Acked, Spool, open_database

log = logging.getLogger(__name__)

PENDING_MAX = 1000
"""Batches that may wait for a disk that stalls."""

P = ParamSpec("P")
T = TypeVar("T")


class Disk:
    """Spool and command memory, and what waits to be written to them."""

    def __init__(self, path: Path, max_bytes: int, wake: asyncio.Event) -> None:
        connection = open_database(path)
        self.spool = Spool(connection, max_bytes)
        self.memory = Memory(connection)
        self.newest = self.spool.newest()
        """Number of each device's newest batch on disk."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._connection = connection
        self._batches: list[tuple[str, tuple[Reading, ...]]] = []
        self._acks: dict[tuple[str, str], Acked] = {}
        self._work = asyncio.Event()
        self._wake = wake
        self._refused = 0
        self._failing = False

    @property
    def dropped(self) -> int:
        """Batches lost so far because the spool was full or the disk refused them."""
        return self.spool.dropped + self._refused

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the spool or the memory on the disk's thread."""
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def keep(self, device: str, ticks: tuple[Reading, ...]) -> None:
        """Write a batch soon; of too many that wait for a stalled disk, the oldest go."""
        if not ticks:
            return
        self._batches.append((device, ticks))
        if len(self._batches) > PENDING_MAX:
            del self._batches[0]
            self._refused += 1
        self._work.set()

    def forget(self, ack: Acked) -> None:
        """Delete soon what the gateway holds; acknowledgements are cumulative, the last counts."""
        self._acks[ack.device, ack.boot] = ack
        self._work.set()

    async def write_forever(self) -> None:
        """Write what waits; what comes meanwhile goes into the next transaction."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write everything that waits, in one transaction."""
        batches, self._batches = self._batches, []
        acks, self._acks = list(self._acks.values()), {}
        if not batches and not acks:
            return
        try:
            newest = await self.run(self.spool.commit, batches, acks)
        except Unreachable as error:
            self._refused += len(batches)
            if not self._failing:
                log.exception("telemetry is being lost; free some space: %s", error)  # noqa: TRY401
            self._failing = True
            return
        if self._failing:
            log.warning("the spool works again; %d batches were lost so far", self.dropped)
        self._failing = False
        self.newest.update(newest)
        self._wake.set()

    def close(self) -> None:
        """Wait for the thread and close the file."""
        self._thread.shutdown()
        self._connection.close()
