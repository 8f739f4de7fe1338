"""From the journal to the time-series store, at its own pace: detection never waits for it."""

import asyncio
import logging
from collections.abc import Callable

from cloud.adapters.journal import Entry
from cloud.adapters.series import Row
from cloud.service.parts import Parts
from cloud.service.watch import Watch
from cloud.web import metrics
from contract import codec
from contract.errors import Unreachable
from contract.telemetry import Quality, TelemetryBatch, readings

log = logging.getLogger(__name__)

POSITION = "series-feed"
"""Name under which the feed keeps its journal position among the checkpoints."""
READ_ENTRIES = 500
IDLE_S = 0.2
RETRY_S = 3.0


class Feed:
    """Hands what the journal holds to the store, at least once; points are idempotent."""

    def __init__(
        self, parts: Parts, watch: Watch, quarantine: Callable[[str, bytes, str], None]
    ) -> None:
        self._journal, self._memory, self._series = parts.journal, parts.store.memory, parts.series
        self._assets, self._machines = parts.assets, parts.machines
        self._watch, self._quarantine = watch, quarantine
        saved = self._memory.checkpoint(POSITION)
        self.position = saved.position if saved else 0
        self.problem = ""
        """Why the store is not reached; empty when it is."""

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            try:
                written = await self._some()
                self.problem = ""
            except Unreachable as error:
                if not self.problem:
                    log.warning("time-series store: %s; the journal keeps the data", error)
                self.problem = str(error)
                await asyncio.sleep(RETRY_S)
                continue
            if not written:
                await asyncio.sleep(IDLE_S)

    async def _some(self) -> int:
        found = self._journal.read(self.position, READ_ENTRIES)
        scores = [self._watch.scores.popleft() for _ in range(len(self._watch.scores))]
        rows = scores + [row for _, entry in found for row in self._rows(entry)]
        if rows:
            try:
                rejected = await asyncio.to_thread(self._series.write, rows)
            except Unreachable:
                self._watch.scores.extendleft(reversed(scores))
                raise
            for row, reason in rejected:
                self._quarantine(f"series/{row.measurement}", repr(row).encode(), reason)
            metrics.written_rows.inc(len(rows) - len(rejected))
            metrics.rejected_rows.inc(len(rejected))
        if found:
            self.position = found[-1][0]
        return len(rows)

    def checkpoint(self) -> int:
        """Save the position; return it."""
        self._memory.save_checkpoint(POSITION, self.position, b"", {})
        return self.position

    def _rows(self, entry: Entry) -> list[Row]:
        asset = self._assets.get(entry.device)
        if asset is None:
            return []  # taken out of the list of assets since it was received
        machine = self._machines[asset.machine_type]
        known = {signal.name for signal in machine.signals}
        tags = {"device": entry.device, "site": entry.site}
        rows = []
        for reading in readings(codec.decode(entry.payload, TelemetryBatch)):
            fields = {
                signal: value
                for signal, value in reading.values.items()
                if signal in known and value is not None and reading.quality[signal] < Quality.BAD
            }
            fields["quality"] = float(max(reading.quality.values()))
            rows.append(Row(asset.machine_type, tags, fields, reading.time_ns))
        return rows
