"""The agent's one thread for its disk: telemetry is written in groups, off the event loop."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from contract.errors import Unreachable
from contract.telemetry import Reading
from edge.adapters.clock import Clock
from edge.adapters.memory import Memory
from edge.adapters.spool import Acked, Batch, Bounds, Loss, Spool, open_database
from edge.core import lanes

log = logging.getLogger(__name__)

PENDING_MAX = 1000
"""Batches that may wait in memory for a disk that stalls or refuses."""
GROUP_S = 0.2
"""What comes within this time shares a transaction, and so a sync of the disk."""
RETRY_S = 2.0

P = ParamSpec("P")
T = TypeVar("T")


class Disk:
    """Spool and command memory, and what waits to be written to them."""

    def __init__(self, path: Path, bounds: Bounds, clock: Clock, wake: asyncio.Event) -> None:
        connection = open_database(path)
        self.spool = Spool(connection, bounds)
        self.memory = Memory(connection)
        self.failing = False
        """Whether the disk refuses writes at the moment."""
        self.alarm = asyncio.Event()
        """Set when batches are lost, or when the disk begins or ends to refuse writes."""
        self.owes_answers = True
        """Whether the memory may hold answers that the broker does not have."""
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._connection = connection
        self._boots: dict[str, str] = {}
        self._written: dict[tuple[str, str], int] = {}
        self._batches: list[tuple[str, tuple[Reading, ...]]] = []
        self._acks: dict[tuple[str, str], int] = {}
        self._work = asyncio.Event()
        self._wake = wake
        self._lost = 0
        self._find_numberings()

    def _find_numberings(self) -> None:
        """Begin new ones, but not for a device that has been interrupted too often already."""
        count: Counter[str] = Counter()
        last: dict[str, str] = {}
        for device, boot, sequence in self.spool.held():
            self._written[device, boot] = sequence
            count[device] += 1
            last[device] = boot
        self._boots = {d: boot for d, boot in last.items() if not lanes.may_begin(count[d])}

    @property
    def dropped(self) -> Counter[Loss]:
        """Batches lost so far, by reason."""
        return self.spool.dropped + Counter({Loss.DISK: self._lost})

    def boot(self, device: str) -> str:
        """Return the numbering that a device's new batches get."""
        return self._boots.setdefault(device, secrets.token_hex(8))

    def renumber(self, device: str) -> None:
        """Give what is written from now on a new numbering."""
        self._boots[device] = secrets.token_hex(8)

    def take_written(self) -> dict[tuple[str, str], int]:
        """Return the highest sequence of each device and boot written since the last call."""
        written, self._written = self._written, {}
        return written

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the spool or the memory on the disk's thread."""
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def keep(self, device: str, ticks: tuple[Reading, ...]) -> None:
        """Write a batch soon; of too many that wait for a stalled disk, the oldest go."""
        if not ticks:
            return
        self._batches.append((device, ticks))
        self._bound_pending()
        self._work.set()

    def forget(self, device: str, boot: str, sequence: int) -> None:
        """Delete soon what the gateway holds; acknowledgements are cumulative."""
        self._acks[device, boot] = max(sequence, self._acks.get((device, boot), 0))
        self._work.set()

    async def write_forever(self) -> None:
        """Write what waits, a few times a second."""
        while True:
            await self._work.wait()
            await asyncio.sleep(GROUP_S)
            self._work.clear()
            await self.flush()
            if self.failing:
                await asyncio.sleep(RETRY_S)
                self._work.set()

    async def flush(self) -> None:
        """Write everything that waits, in one transaction; what is refused goes on waiting."""
        waiting, self._batches = self._batches, []
        acks, self._acks = self._acks, {}
        if not waiting and not acks:
            return
        lost, self._lost = self._lost, 0
        before = self.spool.dropped.total()
        try:
            written = await self.run(
                self.spool.commit,
                [Batch(device, self.boot(device), ticks) for device, ticks in waiting],
                [Acked(device, boot, sequence) for (device, boot), sequence in acks.items()],
                now_ns=self._clock.now_ns(),
                lost=lost,
            )
        except Unreachable as error:
            self._batches = waiting + self._batches
            self._acks = acks | self._acks
            self._lost += lost
            self._bound_pending()
            self._note_failing(str(error))
            return
        self._note_failing("")
        self._written |= written
        if self.spool.dropped.total() > before:
            self.alarm.set()
        if written:
            self._wake.set()

    def _bound_pending(self) -> None:
        over = len(self._batches) - PENDING_MAX
        if over > 0:
            del self._batches[:over]
            self._lost += over
            self.alarm.set()

    def _note_failing(self, error: str) -> None:
        if bool(error) == self.failing:
            return
        self.failing = bool(error)
        self.alarm.set()
        if error:
            log.error(
                "%s; readings wait in memory, %d batches at most. Free some space in data_dir.",
                error,
                PENDING_MAX,
            )
        else:
            log.warning("the spool works again; %d batches were lost so far", self.dropped.total())

    def close(self) -> None:
        """Wait for the thread and close the file."""
        self._thread.shutdown()
        self._connection.close()
