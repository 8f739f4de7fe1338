"""The floor and the clients that only receive, measured one after another on one broker."""

import statistics
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from msgspec import Struct

from cloud.adapters.broker import Broker
from contract import topics
from tests.bench import path_packets, path_process
from tests.bench.path_load import WINDOW, Order, Setup
from tests.bench.path_process import ROOT
from tests.bench.report import say

DEVICES = 100
TYPE = "ten_signals"
OTHERS = ROOT / "var" / "bench" / "clients"
"""Clients that cannot be installed beside our tests: gmqtt ships a package ``tests`` of its own."""
JOBS = (
    ("floor", 0),
    *((name, qos) for qos in (0, 1) for name in ("paho-mqtt", "aiomqtt", "gmqtt")),
)


class Received(Struct, frozen=True):
    """What receiving costs."""

    name: str
    version: str
    qos: int
    cpu_us: float
    """Per message, the median of the phases."""
    phases_cpu_us: list[float]
    messages_per_s: float
    rss_mib: float


def measure(broker: Broker, user: str, receiver: str, count: int, phases: int) -> list[Received]:
    """Measure every client that is here."""
    found = []
    for name, qos in JOBS:
        version = _version(name)
        if version is None:
            say(f"{name}: not installed, not measured")
            continue
        say(f"receive only: {name}, QoS {qos}")
        found.append(_one(broker, (user, receiver), (name, version, qos), count, phases))
    return found


def _version(name: str) -> str | None:
    if name == "floor":
        return ""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        place = next(OTHERS.glob(f"{name}-*.dist-info"), None)
        return place.name.split("-")[1].removesuffix(".dist") if place else None


def _one(
    broker: Broker, users: tuple[str, str], job: tuple[str, str, int], count: int, phases: int
) -> Received:
    (user, receiver), (name, version, qos) = users, job
    warmup = count // 10
    total = warmup + phases * count
    with tempfile.TemporaryDirectory(prefix="farfix-bench-") as folder:
        counter, log = Path(folder) / "count", Path(folder) / "receiver.log"
        counter.write_bytes(bytes(8))
        run = f"{time.monotonic_ns() % 10**8:08}"
        setup = Setup(
            port=broker.port, username=user, password=broker.password(user), machine_type=TYPE,
            devices=DEVICES, run=run, count_file=str(counter),
        )  # fmt: skip
        job_told = {
            "port": broker.port, "username": receiver, "password": broker.password(receiver),
            "pattern": topics.subscriptions(topics.Channel.TELEMETRY)[0], "qos": qos,
            "warmup": warmup, "count": count, "phases": phases, "bytes": size(setup, total),
            "count_file": str(counter),
        }  # fmt: skip
        command = [sys.executable, str(Path(__file__).with_name("path_clients.py")), name]
        with path_process.child(command, log, {"PYTHONPATH": str(OTHERS)}) as process:
            path_process.tell(process, job_told)
            path_process.line(process, log)
            with path_process.generator(setup, Path(folder)) as load:
                # Never a phase ahead: a receiver that wakes up late must not take two at once.
                load.begin(Order(total, qos, window=min(WINDOW, count // 2)))
                figures = path_process.report(path_process.line(process, log))
    cpu_us = [1e6 * seconds / count for seconds in figures["cpu_s"]]
    return Received(
        name=name,
        version=version,
        qos=qos,
        cpu_us=statistics.median(cpu_us),
        phases_cpu_us=cpu_us,
        messages_per_s=count / statistics.median(figures["wall_s"]),
        rss_mib=float(figures["rss_mib"]),  # type: ignore[arg-type]  # the one that is no list
    )


def size(setup: Setup, count: int) -> int:
    """Return how many bytes a generator's first messages take."""
    template = path_packets.template(setup.machine_type, setup.devices, setup.run)
    sent, acked = np.zeros(setup.devices, np.int64), np.zeros(setup.devices, np.int64)
    out, total = np.empty(1000 * path_packets.PACKET_MAX, np.uint8), 0
    for first in range(0, count, 1000):
        number = min(1000, count - first)
        total += path_packets.fill(out, *template, sent, acked, first, number, 10**18, 0)
    return total
