"""Receivers to compare with, each in a process of its own: it takes messages and does nothing.

    python tests/bench/path_clients.py NAME

Reads a `Job` from standard input, one line of JSON. Topic and payload of every message are touched,
as the laziest use would. The floor does not even find the messages in the bytes. Prints ``ready``,
then one JSON line. Stands alone: what it imports is what the measured client needs, and its
resident memory is that client's.
"""

import asyncio
import json
import mmap
import resource
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPORT_EVERY = 64
LOST_S = 20.0
"""So long nothing comes although messages are missing: at QoS 0 a broker may drop what piles up."""
DRAIN_EVERY_S = 0.005
"""The floor lets messages pile up, or it would pay for being woken by each of them."""


@dataclass(frozen=True)
class Job:
    """What to receive."""

    port: int
    username: str
    password: str
    pattern: str
    qos: int
    warmup: int
    """Messages before the first phase."""
    count: int
    """Messages of each phase."""
    phases: int
    bytes: int
    """What all of them take on the wire."""
    count_file: str


class Counter:
    """Counts messages, tells the load generator, and notes the time where phases meet."""

    def __init__(self, job: Job) -> None:
        with Path(job.count_file).open("r+b") as file:
            self._shared = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
        self._next, self._step = float(job.warmup), job.count
        self._left = job.phases + 1
        self._marks: list[tuple[float, float]] = []
        self.number = 0

    def one(self) -> bool:
        """Count a message; return true after the last."""
        self.number += 1
        if self.number % REPORT_EVERY == 0 or self.number >= self._next:
            self._shared[0] = self.number
        return self.number >= self._next and self._mark()

    def reached(self, number: float) -> bool:
        """Note how many messages have come by now; return true after the last."""
        self._shared[0] = int(number)
        return number >= self._next and self._mark()

    def _mark(self) -> bool:
        self._marks.append((time.process_time(), time.perf_counter()))
        self._next += self._step
        self._left -= 1
        return not self._left

    def report(self) -> None:
        """Print CPU and wall seconds of every phase, and the resident memory."""
        pairs = list(zip(self._marks, self._marks[1:], strict=False))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(  # noqa: T201 - what the program is for
            json.dumps(
                {
                    "cpu_s": [b[0] - a[0] for a, b in pairs],
                    "wall_s": [b[1] - a[1] for a, b in pairs],
                    "rss_mib": pages * resource.getpagesize() / 2**20,
                }
            )
        )


def ready() -> None:
    """Tell that messages may come."""
    print("ready", flush=True)  # noqa: T201 - what the parent waits for


def floor(job: Job) -> None:
    """Drain the socket; how many messages that was is told by the bytes."""
    link = socket.create_connection(("127.0.0.1", job.port))
    link.settimeout(LOST_S)
    fields = [b"floor", job.username.encode(), job.password.encode()]
    body = b"\0\4MQTT\4\xc2\0\0" + b"".join(len(f).to_bytes(2) + f for f in fields)
    link.sendall(bytes([0x10, len(body)]) + body)
    pattern = job.pattern.encode()
    body = b"\0\1" + len(pattern).to_bytes(2) + pattern + bytes([job.qos])
    link.sendall(bytes([0x82, len(body)]) + body)
    link.recv(4 + 5, socket.MSG_WAITALL)
    counter, buffer = Counter(job), bytearray(1 << 20)
    ready()
    messages, drained, over = job.warmup + job.phases * job.count, 0, False
    while not over:
        drained += link.recv_into(buffer)
        over = counter.reached(messages * drained / job.bytes)
        time.sleep(DRAIN_EVERY_S)
    counter.report()


def paho(job: Job) -> None:
    """The Eclipse client, its network loop in the main thread."""
    import paho.mqtt.client as mqtt  # noqa: PLC0415 - only this job's client is loaded
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="paho")
    client.username_pw_set(job.username, job.password)
    counter = Counter(job)

    def received(client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic and message.payload and counter.one():
            client.disconnect()

    client.on_message = received
    client.on_subscribe = lambda *_: ready()
    client.connect("127.0.0.1", job.port, keepalive=0)
    client.subscribe(job.pattern, job.qos)
    client.loop_forever()
    counter.report()


def aiomqtt(job: Job) -> None:
    """paho behind an asynchronous iterator, on asyncio's own loop."""
    import aiomqtt as library  # noqa: PLC0415

    counter = Counter(job)

    async def receive() -> None:
        async with library.Client(
            "127.0.0.1", job.port, username=job.username, password=job.password
        ) as client:
            await client.subscribe(job.pattern, job.qos)
            ready()
            async for message in client.messages:
                if message.topic.value and message.payload and counter.one():
                    return

    asyncio.run(receive())
    counter.report()


def gmqtt(job: Job) -> None:
    """The fastest asynchronous client that we know, on uvloop."""
    import gmqtt as library  # noqa: PLC0415
    import uvloop  # noqa: PLC0415

    counter = Counter(job)

    async def receive() -> None:
        client, over = library.Client("gmqtt"), asyncio.Event()

        def received(client: object, topic: str, payload: bytes, qos: int, more: object) -> int:
            if topic and payload and counter.one():
                over.set()
            return 0

        client.on_message = received
        client.on_subscribe = lambda *_: ready()
        client.set_auth_credentials(job.username, job.password)
        await client.connect("127.0.0.1", job.port, keepalive=60, version=4)
        client.subscribe(job.pattern, qos=job.qos)
        await over.wait()
        await client.disconnect()

    uvloop.run(receive())
    counter.report()


RECEIVERS: dict[str, Callable[[Job], None]] = {
    "floor": floor,
    "paho-mqtt": paho,
    "aiomqtt": aiomqtt,
    "gmqtt": gmqtt,
}


if __name__ == "__main__":
    RECEIVERS[sys.argv[1]](Job(**json.loads(sys.stdin.readline())))
