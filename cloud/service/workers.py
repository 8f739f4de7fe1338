"""The main process's side of the workers: start them, hear them, and start them again.

A worker that dies loses nothing: its journal holds what it has acknowledged, and the next one goes
on from there. What a worker says is acted on in order; a mark is answered once all before it is
saved.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from cloud.adapters.board import Board
from cloud.service.parts import Parts
from cloud.worker import places
from cloud.worker.channel import Channel
from cloud.worker.messages import (
    Attend,
    DayEnded,
    HourEnded,
    Leaving,
    Mark,
    Pulse,
    Quarantined,
    Release,
    Saved,
    Start,
    Stop,
    ToMain,
    Verdict,
    to_main,
)
from contract.errors import Unreachable

log = logging.getLogger(__name__)

RESTART_S = 0.5
RESTART_MAX_S = 30.0
STEADY_S = 60.0
"""A worker that has run for so long starts again at once when it dies."""
STOP_TIMEOUT_S = 8.0

Said = Verdict | HourEnded | DayEnded | Quarantined


class Line(Struct):
    """One worker, as the main process knows it."""

    number: int
    board: Board | None = None
    channel: Channel[ToMain] | None = None
    pulse: Pulse = Pulse(ready=False, connected=False, silent=[], troubles=[])
    told: set[str] = set()
    """Devices whose every verdict it was asked for."""
    owed: int = 0
    """A mark that is not answered yet."""


class Workers:
    """All workers of this gateway."""

    def __init__(
        self, parts: Parts, hear: Callable[[Said], None], save: Callable[[], None]
    ) -> None:
        """Prepare them.

        Args:
            parts: the gateway's adapters.
            hear: acts on what a worker says.
            save: makes all that was heard durable; raises Unreachable when it cannot yet.
        """
        self._parts, self._hear, self._save = parts, hear, save
        self.lines = [Line(number) for number in range(parts.config.workers)]
        self.ready = asyncio.Event()
        """Set once all have worked off what came in before their start."""
        self._stopping = False

    def silent(self) -> list[str]:
        """Return the devices that have sent before and send nothing now."""
        return [device for line in self.lines for device in line.pulse.silent]

    def troubles(self) -> list[str]:
        """Say what people should know."""
        return [trouble for line in self.lines for trouble in line.pulse.troubles]

    def unready(self) -> list[str]:
        """Say in sentences which workers do not do their work, and why."""
        count = len(self.lines)
        found = []
        for line in self.lines:
            if line.channel is None:
                found.append(f"worker {line.number + 1} of {count} is being started")
            elif not line.pulse.ready:
                found.append(f"worker {line.number + 1} of {count} works off its journal")
            elif not line.pulse.connected:
                found.append(f"worker {line.number + 1} of {count} does not reach the MQTT broker")
        return found

    def line(self, device: str) -> Line:
        """Return the worker that owns a device."""
        return self.lines[places.owner(device, len(self.lines))]

    def attend(self, wanted: Iterable[str]) -> None:
        """Ask for every verdict on these devices, and for alarms alone on all others."""
        now = set(wanted)
        for line in self.lines:
            mine = {device for device in now if self.line(device) is line}
            if line.channel is not None and mine != line.told:
                line.channel.send(Attend(sorted(mine - line.told)))
                line.channel.send(Release(sorted(line.told - mine)))
                line.told = mine

    def settle(self) -> None:
        """Answer marks that could not be answered when they came."""
        for line in self.lines:
            if line.owed:
                self._answer(line)

    async def run(self) -> None:
        """Keep all workers running until `stop`."""
        async with asyncio.TaskGroup() as group:
            for line in self.lines:
                group.create_task(self._keep(line))

    async def stop(self) -> None:
        """Let every worker save and end; `run` returns then."""
        self._stopping = True
        for line in self.lines:
            if line.channel is not None:
                line.channel.send(Stop())
        await asyncio.sleep(0)

    async def _keep(self, line: Line) -> None:
        pause_s, loop = RESTART_S, asyncio.get_running_loop()
        while not self._stopping:
            began_s = loop.time()
            await self._life(line)
            if self._stopping:
                return
            pause_s = RESTART_S if loop.time() - began_s > STEADY_S else min(
                pause_s * 2, RESTART_MAX_S
            )  # fmt: skip
            await asyncio.sleep(pause_s)

    async def _life(self, line: Line) -> None:
        """Start a worker and hear it until it is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "cloud", "--channel", str(theirs.fileno()),
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        try:
            await self._converse(line, ours)
        finally:
            line.channel, line.owed, line.told = None, 0, set()
            line.pulse = Pulse(ready=False, connected=False, silent=[], troubles=[])
            code = await _ended(process)
        if not self._stopping:
            log.warning("worker %d ended with code %d; starting it again", line.number + 1, code)

    async def _converse(self, line: Line, end: socket.socket) -> None:
        channel = await Channel.open(end, to_main)
        link, parts = self._parts.link, self._parts
        channel.send(
            Start(
                config=parts.config.model_dump_json().encode(),
                number=line.number,
                client_id=link.client_id,
                broker_url=link.url,
                username=link.username,
                password=link.password,
                assets=list(parts.assets.values()),
            )
        )
        line.channel = channel
        if self._stopping:
            channel.send(Stop())
        try:
            async for message in channel.messages():
                self._take(line, message)
                await asyncio.sleep(0)
        finally:
            channel.close()

    def _take(self, line: Line, message: ToMain) -> None:
        match message:
            case Mark(number):
                line.owed = number
                self._answer(line)
            case Pulse():
                if message.ready and not line.pulse.ready:
                    line.board = Board.open(self._board(line))
                line.pulse = message
                if all(other.pulse.ready for other in self.lines):
                    self.ready.set()
            case Leaving():
                if line.channel is not None:
                    line.channel.send(Stop())
            case Verdict():
                line.told.add(message.device)
                self._hear(message)
            case _:
                self._hear(message)

    def _answer(self, line: Line) -> None:
        try:
            self._save()
        except Unreachable as error:
            log.warning("a checkpoint waits for the database: %s", error)
            return
        if line.channel is not None:
            line.channel.send(Saved(line.owed))
        line.owed = 0

    def _board(self, line: Line) -> Path:
        return places.board(self._parts.config.data_dir, line.number, len(self.lines))


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Wait until a worker has ended, by force if it does not."""
    try:
        return await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        return await process.wait()
