"""From the watch to the time-series store, at its own pace: detection never waits for it.

What is fresh comes from memory. After an outage of the store the journal is read again, so that
memory stays bounded whatever happens.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud.adapters.board import Board
from cloud.adapters.journal import Journal
from cloud.adapters.series import Frame, Row, Series
from cloud.adapters.wire import Reader, Rows
from cloud.worker.watch import UNSCORED, Scores, Watch
from contract.errors import Unreachable
from contract.machines import MachineType
from contract.telemetry import Quality

log = logging.getLogger(__name__)

EXTRA_FIELDS = ("quality", "score", "alarm")
"""What a row of the store holds beside its machine type's signals."""
WAIT_S = 0.25
"""Rows of so long are written together."""
ROWS_MAX = 5000
"""Rows of one write: the store answers within 0.1 s and gains nothing from more."""
MEMORY_ROWS = 100_000
"""Rows that wait in memory at most; the others are read from the journal again."""
READ_BYTES = 1_000_000
RETRY_S = 2.0

Reject = Callable[[str, bytes, str], None]


class _Waiting(NamedTuple):
    group_id: int
    rows: Rows
    scores: Scores


class Feed:
    """Hands what was scored to the store, at least once and in order; points are idempotent."""

    def __init__(  # noqa: PLR0917  # all parts of a worker
        self, journal: Journal, reader: Reader, watch: Watch, series: Series, board: Board,
        reject: Reject,
    ) -> None:  # fmt: skip
        self._journal, self._reader, self._watch = journal, reader, watch
        self._series, self._board, self._reject = series, board, reject
        self.fed = journal.fed()
        """Groups up to this one are in the store."""
        self.scored = self.fed
        """Groups up to this one have their scores."""
        self.problem = ""
        """Why the store is not reached; empty when it is."""
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._more = asyncio.Event()

    def offer(self, group_id: int, rows: Rows, scores: Scores) -> None:
        """Take a group that was just scored."""
        self.scored = group_id
        self._waiting.append(_Waiting(group_id, rows, scores))
        self._rows += len(rows.device)
        while self._rows > MEMORY_ROWS:
            self._rows -= len(self._waiting.popleft().rows.device)
        if self._rows >= ROWS_MAX:
            self._more.set()

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            try:
                if not await self._some():
                    await self._rest()
            except Unreachable as error:
                if not self.problem:
                    log.warning("time-series store: %s; the journal keeps the data", error)
                self.problem = str(error)
                await asyncio.sleep(RETRY_S)

    async def finish(self) -> None:
        """Write what is left, before the end.

        Raises:
            Unreachable: the store does not answer; the journal keeps the rest.
        """
        while await self._some():
            pass

    async def _rest(self) -> None:
        self._more.clear()
        try:
            async with asyncio.timeout(WAIT_S):
                await self._more.wait()
        except TimeoutError:
            return

    async def _some(self) -> bool:
        """Write the next groups; return whether there were any."""
        groups = self._next()
        if not groups:
            return False
        frames = [f for _, rows, scores in groups for f in self._frames(rows, scores)]
        rejected = await asyncio.to_thread(self._series.write, frames)
        for row, reason in rejected:
            self._reject(f"series/{row.measurement}", _text(row), reason)
        if self.problem:
            log.info("the time-series store is reached again")
        self.problem, self.fed = "", groups[-1].group_id
        self._board.count("written", sum(len(f.times_ns) for f in frames) - len(rejected))
        self._board.count("rejected", len(rejected))
        return True

    def _next(self) -> list[_Waiting]:
        """Return the groups that follow what was fed, from memory if they are there."""
        while self._waiting and self._waiting[0].group_id <= self.fed:
            self._rows -= len(self._waiting.popleft().rows.device)
        if self.fed >= self.scored:
            return []
        if not self._waiting or self._waiting[0].group_id > self.fed + 1:
            return self._again()
        found, count = list[_Waiting](), 0
        for waiting in self._waiting:
            if found and count + len(waiting.rows.device) > ROWS_MAX:
                break
            found.append(waiting)
            count += len(waiting.rows.device)
        return found

    def _again(self) -> list[_Waiting]:
        """Read groups from the journal again."""
        found = []
        for group in self._journal.read(self.fed, READ_BYTES):
            if group.id > self.scored:
                break
            rows = self._reader.rows(group.packets)
            if group.scores is None:
                raise ValueError(f"group {group.id} was scored and its scores are not kept")
            found.append(_Waiting(group.id, rows, Scores.unpack(group.scores)))
        return found

    def _frames(self, rows: Rows, scores: Scores) -> list[Frame]:
        """Put the rows of a group into the shape of the store, by machine type."""
        watch = self._watch
        kinds = watch.kind_of[rows.device]
        found = []
        for k, kind in enumerate(watch.kinds):
            some = np.flatnonzero(kinds == k)
            if len(some):
                found.append(_frame(kind.machine, watch, rows, scores, some))
        return found


def _frame(
    machine: MachineType, watch: Watch, rows: Rows, scores: Scores, some: NDArray[np.int64]
) -> Frame:
    fields = tuple(signal.name for signal in machine.signals)
    width = len(fields)
    quality = rows.quality[some, :width]
    came = quality < Quality.MISSING
    values = np.empty((len(some), width + len(EXTRA_FIELDS)))
    values[:, :width] = np.where(quality < Quality.BAD, rows.values[some, :width], np.nan)
    worst = np.where(came, quality, 0).max(axis=1)
    values[:, width] = np.where(came.any(axis=1), worst, Quality.MISSING)
    values[:, width + 1] = scores.score[some]
    alarm = scores.alarm[some]
    values[:, width + 2] = np.where(alarm == UNSCORED, np.nan, alarm)
    device = rows.device[some]
    return Frame(
        machine.name,
        (*fields, *EXTRA_FIELDS),
        watch.names[device].tolist(),
        watch.sites[device].tolist(),
        rows.times_ns[some],
        values,
    )


def _text(row: Row) -> bytes:
    return repr(row).encode()
