"""The load generator: a process of its own that publishes what `path_packets` writes.

Reads a `Setup` and then orders from standard input, one line of JSON each, and answers every order
with such a line. It never sends more than ``window`` messages ahead of what has come through, so
that no broker has to drop any; a load that is told a rate and cannot keep it says so by the seconds
it took.
"""

import select
import socket
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: the repository

from contract import topics
from tests.bench import path_packets
from tests.bench.path_packets import SITE

CHUNK = 256
"""Messages written at a time at most."""
PACE_S = 0.001
WINDOW, PUBACK_WINDOW = 4_000, 5_000


class Setup(Struct, frozen=True):
    """Whom to talk to, and as whom."""

    port: int
    username: str
    password: str
    machine_type: str
    devices: int
    run: str
    count_file: str = ""
    """Where the receiver counts; empty: acks are counted."""


class Order(Struct, frozen=True):
    """What to send."""

    count: int
    qos: int
    rate: float = 0.0
    """Messages a second; 0: as fast as they come through."""
    window: int = WINDOW
    patience_s: float = 30.0
    """Nothing came through for so long: the rest is lost."""


class Done(Struct, frozen=True):
    """What was sent and came through."""

    sent: int
    through: int
    seconds: float
    """Until the last message was on its way."""
    through_seconds: float
    """Until the last one was acknowledged."""
    cpu_s: float
    bytes_sent: int
    total: int
    """Messages since the start of this process."""


class Load:
    """One connection and everything that has been sent on it."""

    def __init__(self, setup: Setup) -> None:
        self._template = path_packets.template(setup.machine_type, setup.devices, setup.run)
        self._sent = np.zeros(setup.devices, np.int64)
        self._acked = np.zeros(setup.devices, np.int64)
        self._found = np.zeros(3, np.int64)
        self._out = np.empty(CHUNK * path_packets.PACKET_MAX, np.uint8)
        self._in, self._held = np.empty(1 << 20, np.uint8), 0
        self._pending = memoryview(b"")
        self._counted = None
        if setup.count_file:
            self._counted = np.memmap(setup.count_file, np.int64, "r")
        self._total = self._with_puback = self._bytes = 0
        self._progress = (0.0, (0, 0))
        self._socket = connect(setup)

    def _through(self) -> int:
        return int(self._found[0] if self._counted is None else self._counted[0])

    def run(self, order: Order) -> Done:
        """Send as ordered, and wait until all of it came through."""
        start, cpu = time.perf_counter(), time.process_time()
        first, bytes_before, through_before = self._total, self._bytes, self._through()
        last = first + order.count
        self._progress = (start, (-1, -1))
        while (self._total < last or self._pending) and not self._stalled(order.patience_s):
            elapsed_s = time.perf_counter() - start
            due = last if not order.rate else min(last, first + int(order.rate * elapsed_s))
            self._step(order, due)
        seconds = time.perf_counter() - start
        while not self._complete() and not self._stalled(order.patience_s):
            self._exchange(PACE_S)
        return Done(
            sent=self._total - first,
            through=self._through() - through_before,
            seconds=seconds,
            through_seconds=time.perf_counter() - start,
            cpu_s=time.process_time() - cpu,
            bytes_sent=self._bytes - bytes_before,
            total=self._total,
        )

    def _complete(self) -> bool:
        return self._through() >= self._total and self._found[1] >= self._with_puback

    def _stalled(self, patience_s: float) -> bool:
        """Tell whether messages are on their way and none has come through for too long."""
        now, state = time.perf_counter(), (self._through(), int(self._found[1]))
        since, before = self._progress
        if state != before or self._complete():
            self._progress = (now, state)
            return False
        return now - since > patience_s

    def _step(self, order: Order, due: int) -> None:
        room = order.window - (self._total - self._through())
        if order.qos:
            room = min(room, PUBACK_WINDOW - (self._with_puback - int(self._found[1])))
        count = min(CHUNK, due - self._total, room)
        if not self._pending and count > 0:
            size = path_packets.fill(
                self._out, *self._template, self._sent, self._acked, self._total, count,
                time.time_ns(), order.qos,  # noqa: TID251 - times are those of publishing
            )  # fmt: skip
            self._pending = self._out[:size].data
            self._total += count
            self._with_puback += count if order.qos else 0
            self._bytes += size
        self._exchange(0.0)
        if count < CHUNK:
            time.sleep(PACE_S)  # messages and acks pile up meanwhile: fewer, larger calls

    def _exchange(self, wait_s: float) -> None:
        """Send and receive what is possible, waiting a little where nothing is."""
        writers = [self._socket] if self._pending else []
        readable, writable, _ = select.select([self._socket], writers, [], wait_s)
        if writable:
            self._pending = self._pending[self._socket.send(self._pending) :]
        if readable:
            size = self._socket.recv_into(self._in[self._held :].data)
            if not size:
                raise ConnectionError("the broker ended the conversation")
            self._held += size
            used = path_packets.read_acks(self._in, self._held, self._acked, self._found)
            self._in[: self._held - used] = self._in[used : self._held]
            self._held -= used


def connect(setup: Setup) -> socket.socket:
    """Log in by MQTT 3.1.1, ask for the acks unless a receiver counts, and stop blocking."""
    link = socket.create_connection(("127.0.0.1", setup.port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fields = [f"load-{setup.run}", setup.username, setup.password]
    body = b"\0\4MQTT\4\xc2\0\0" + b"".join(len(f).to_bytes(2) + f.encode() for f in fields)
    link.sendall(bytes([0x10, len(body)]) + body)
    if link.recv(4, socket.MSG_WAITALL)[3]:
        raise ConnectionError("the broker refuses the load generator")
    if not setup.count_file:
        pattern = topics.site_filter(SITE, topics.Channel.ACK).encode()
        body = b"\0\1" + len(pattern).to_bytes(2) + pattern + b"\0"
        link.sendall(bytes([0x82, len(body)]) + body)
        if link.recv(5, socket.MSG_WAITALL)[4] > 2:
            raise ConnectionError("the broker lets the load generator read no acks")
    link.setblocking(False)
    return link


def main() -> None:
    """Obey until standard input ends."""
    load = Load(msgspec.json.decode(sys.stdin.readline(), type=Setup))
    for line in sys.stdin:
        done = load.run(msgspec.json.decode(line, type=Order))
        sys.stdout.write(msgspec.json.encode(done).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
