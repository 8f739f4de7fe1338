"""The worker process: its parts and its loops."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import numpy as np
from msgspec import Struct

from cloud.adapters.board import Board
from cloud.adapters.clock import PlantClock
from cloud.adapters.inlet import Inlet
from cloud.adapters.journal import Checkpoint, Journal
from cloud.adapters.series_stores import open_series
from cloud.adapters.wire import Reader, Taken
from cloud.config import Config
from cloud.core.intake import Limits
from cloud.worker import places
from cloud.worker.channel import Channel
from cloud.worker.feed import Feed
from cloud.worker.messages import (
    Attend,
    Leaving,
    Mark,
    Pulse,
    Quarantined,
    Release,
    Saved,
    Start,
    Stop,
    ToWorker,
    to_worker,
)
from cloud.worker.silence import Silence
from cloud.worker.troubles import Troubles
from cloud.worker.watch import Scores, Watch
from contract import machines, timescale, topics
from contract.errors import Malformed, Refused, Unreachable
from models.settings import Settings

log = logging.getLogger(__name__)

BURST_S = 10.0
"""Batches of so many seconds at the highest rate may come at once, as after an outage."""
PULSE_S = 0.25
CHECKPOINT_S = 1.0
CHECKPOINT_ROUNDS = 60
"""Every machine is saved once in so many checkpoints: what a crash makes us score again at most."""
SNAPSHOT_EVERY = 10
"""Checkpoints for each that also saves what the dedupe knows."""
REPLAY_BYTES = 1_000_000
REFUSED_PAUSE_S = 1.0
QUARANTINE_LIMIT = 1000
FAREWELL_S = 5.0


async def run(end: socket.socket) -> None:
    """Work until the main process says stop or is gone."""
    channel: Channel[ToWorker] = await Channel.open(end, to_worker)
    for sent in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sent, channel.send, Leaving())
    messages = channel.messages()
    start = await anext(messages)
    if not isinstance(start, Start):
        raise TypeError(f"the main process began with {start!r}")
    with ExitStack() as stack:
        worker = Worker(start, channel, stack)
        hearing = asyncio.create_task(worker.hear(messages))
        loops = [worker.take_part(), worker.pulse(), worker.checkpoints(), worker.feed.run()]
        tasks = [asyncio.create_task(loop) for loop in loops]
        done, _ = await asyncio.wait([hearing, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            for task in done:
                task.result()  # a loop that ended by itself has failed: say why
            if worker.stopping:
                await worker.farewell(messages)
        except ConnectionError:
            log.warning("the main process is gone; its next one goes on from the journal")
    channel.close()


class _Capture(Struct):
    """Machines as they were at a mark, until the main process has saved its side."""

    mark: int
    checkpoints: list[Checkpoint]
    quarantined: int


class Worker:
    """Everything that one worker owns."""

    def __init__(self, start: Start, channel: Channel[ToWorker], stack: ExitStack) -> None:
        config, number = Config.model_validate_json(start.config), start.number
        self._channel, self._clock = channel, PlantClock(timescale.parse(config.timescale))
        workers, library = config.workers, machines.library(config.machine_types)
        mine = {a.device: a for a in start.assets if places.owner(a.device, workers) == number}
        file = places.journal(config.data_dir, number, workers)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(file, config.journal_max_bytes, config.journal_max_age_s)
        stack.callback(self._journal.close)
        limits = Limits(
            batches_per_s=config.device_batches_per_s,
            burst_batches=BURST_S * config.device_batches_per_s,
        )
        self._reader = Reader(mine, library, limits)
        self._board = Board.create(
            places.board(config.data_dir, number, workers), self._reader.devices, self._reader.width
        )
        settings = Settings(
            commissioning_s=config.commissioning_s,
            commissioning_samples=config.commissioning_samples,
        )
        self.watch = Watch(mine, library, settings, self._board, channel.send)
        polls = [library[a.machine_type].poll_interval_s for a in self.watch.assets]
        self._silence = Silence(polls, config.silent_after_s, self._clock.now_ns())
        series = open_series(config.series, places.series(config.data_dir, number), self._clock)
        stack.callback(series.close)
        self.feed = Feed(self._journal, self._reader, self.watch, series, self._board, self._reject)
        self._inlet = Inlet(
            start.broker_url, start.username, start.password,
            f"{start.client_id}-{number}-of-{workers}",
            topics.subscriptions(topics.Channel.TELEMETRY, number, workers),
            ca_file=config.broker.ca_file,
        )  # fmt: skip
        self.stopping, self._ready = False, False
        self._writing = asyncio.Lock()
        """Held from taking to committing: what is saved of the dedupe is never ahead of the log."""
        self._captured: _Capture | None = None
        self._mark = self._told = 0
        self._snapshot = 0, b""
        self._troubles = Troubles()

    # Telemetry.

    async def take_part(self) -> None:
        """Work off the journal, then take telemetry until cancelled."""
        self.watch.warm_up()
        await self._replay()
        self._ready = True
        await self._inlet.run(self._handle)

    async def _handle(self, data: bytearray) -> Taken:
        """Take what has come in, commit it, acknowledge it, and score it."""
        now_ns = self._clock.now_ns()
        async with self._writing:
            taken = self._reader.take(data, now_ns, time.monotonic())
            if not (taken.packets or taken.quarantined):
                self._count(taken)
                self._inlet.send(self._reader.acks())
                return taken
            try:
                group = await asyncio.to_thread(
                    self._journal.append, taken.packets, taken.accepted, now_ns, taken.quarantined
                )
            except Refused as error:
                self._reader.undo()
                self._troubles.refused(str(error))
                self._board.count("refused", taken.accepted)
                group = None
        if group is None:
            await asyncio.sleep(REFUSED_PAUSE_S)
            return taken._replace(used=0, pubacks=b"", others=[])
        self._count(taken)  # what was refused is taken again, and counts once it is kept
        self._inlet.send(self._reader.acks())
        if taken.quarantined:
            self._tell_quarantined()
        if taken.packets:
            scores = self.watch.take(group, taken.rows, self._clock.now_ns())
            self._journal.note_scores(group, scores.pack())
            self.feed.offer(group, taken.rows, scores)
            self._silence.hear(taken.rows.device)
        await self._channel.drained()
        return taken

    def _count(self, taken: Taken) -> None:
        counted = {
            "accepted": taken.accepted, "repeated": taken.repeated,
            "throttled": sum(taken.throttled.values()), "quarantined": len(taken.quarantined),
        }  # fmt: skip
        for name, count in counted.items():
            if count:
                self._board.count(name, count)
        for device, count in taken.throttled.items():
            self._troubles.flooded(self.watch.devices[device], count)

    async def _replay(self) -> None:
        """Score what the journal holds beyond the checkpoints; the dedupe learns from it too."""
        self._restore()
        covered = self._restore_positions()
        after = 0
        while found := self._journal.read(after, REPLAY_BYTES):
            for group in found:
                read = self._reader.rows if group.id <= covered else self._reader.replay
                rows = read(group.packets)
                scores = self.watch.take(group.id, rows, self._clock.now_ns())
                if group.scores is None:
                    self._journal.note_scores(group.id, scores.pack())
                else:
                    scores = Scores.unpack(group.scores)
                self._silence.hear(rows.device)
                self.feed.offer(group.id, rows, scores)
            after = found[-1].id
            await self._channel.drained()
            await asyncio.sleep(0)

    def _restore(self) -> None:
        saved = self._journal.checkpoints()
        for i, device in enumerate(self.watch.devices):
            if device not in saved:
                continue
            self._silence.hear(i)
            try:
                self.watch.restore(i, saved[device])
            except Malformed as error:
                log.warning("%s is commissioned anew: %s", device, error)

    def _restore_positions(self) -> int:
        """Give the dedupe what was saved of it; return the group up to which that counts."""
        for old in self._journal.inherited():
            self._reader.restore(old)
        found = self._journal.positions()
        if found is None:
            return 0
        self._reader.restore(found[1])
        return found[0]

    def _reject(self, topic: str, payload: bytes, reason: str) -> None:
        self._channel.send(Quarantined(topic, payload, reason))

    # How it is.

    async def pulse(self) -> None:
        """Tell the main process several times a second how things are."""
        while True:
            now_ns, connected = self._clock.now_ns(), self._inlet.connected
            silent = self._silence.look(now_ns, listening=self._ready and connected)
            self._tell_quarantined()
            fill = self._journal.fill(now_ns)
            troubles = self._troubles.told(fill, self.feed.problem, time.monotonic())
            names = [self.watch.devices[i] for i in silent]
            self._channel.send(Pulse(self._ready, connected, names, troubles))
            self._board.show_journal(
                fed=self.feed.fed, newest=self._journal.newest(), journal_bytes=fill.bytes
            )
            self.watch.show_progress()
            await self._channel.drained()
            await asyncio.sleep(PULSE_S)

    def _tell_quarantined(self) -> None:
        for number, _, topic, payload, reason in self._journal.quarantined(QUARANTINE_LIMIT):
            if number > self._told:
                self._channel.send(Quarantined(topic, payload, reason))
                self._told = number

    # Checkpoints.

    async def checkpoints(self) -> None:
        """Save some of the machines again and again, until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            if self._ready and self._captured is None:
                dirty = np.flatnonzero(self.watch.dirty_from)
                self._capture(dirty[dirty % CHECKPOINT_ROUNDS == turn])
                turn = (turn + 1) % CHECKPOINT_ROUNDS

    def _capture(self, devices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> None:
        """Keep some machines as they are now, to be saved when the main process has saved too."""
        self._mark += 1
        found = [self.watch.save(int(device)) for device in devices]
        self._captured = _Capture(self._mark, found, self._told)
        self._channel.send(Mark(self._mark))

    async def confirmed(self, mark: int) -> None:
        """Save what was captured at a mark: the main process holds all that was said before."""
        captured = self._captured
        if captured is None or captured.mark != mark:
            return
        done = {checkpoint.device: checkpoint.position for checkpoint in captured.checkpoints}
        async with self._writing:
            if self.stopping or mark % SNAPSHOT_EVERY == 1:
                self._snapshot = self._journal.newest(), self._reader.positions()
                fresh = self._snapshot
            else:  # writing it each time costs more than scanning some groups again
                fresh = None
            fed = self.feed.fed
        prune_to = min(self.watch.saved(done, fed), self._snapshot[0])
        await asyncio.to_thread(
            self._journal.save, captured.checkpoints, fed=fed, positions=fresh, prune_to=prune_to
        )
        self._journal.forget_quarantined(captured.quarantined)
        self._captured = None

    async def hear(self, messages: AsyncIterator[ToWorker]) -> None:
        """Take what the main process says, until it says stop or is gone."""
        async for message in messages:
            match message:
                case Attend(devices):
                    self.watch.attend(devices, on=True)
                case Release(devices):
                    self.watch.attend(devices, on=False)
                case Saved(mark):
                    await self.confirmed(mark)
                case Stop():
                    self.stopping = True
                    return
                case Start():
                    raise TypeError("the main process began twice")

    async def farewell(self, messages: AsyncIterator[ToWorker]) -> None:
        """Write what is left and save every machine, as far as that goes quickly."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self.feed.finish()
        except (Unreachable, TimeoutError) as error:
            log.warning("the journal keeps what the time-series store has not: %s", error)
        self._tell_quarantined()
        self._capture(np.flatnonzero(self.watch.dirty_from))
        async for message in messages:
            if isinstance(message, Saved):
                await self.confirmed(message.mark)
            if self._captured is None:
                return
