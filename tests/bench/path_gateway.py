"""The real gateway as its users start it, with a broker and a store: fed, watched and counted."""

import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from cloud.adapters import broker
from cloud.config import Config
from cloud.core.intake import Limits
from contract.errors import Unreachable
from farfix.children import free_port, tail
from tests.bench import path_machines, path_packets, path_process
from tests.bench.path_load import Setup
from tests.bench.path_packets import SITE
from tests.bench.path_process import Cost, Generator
from tests.bench.path_stores import Embedded, Influx, Store, Victoria

COMMISSIONING_SAMPLES = 64
READY_S = 240.0
GATEWAY = "gateway"
METRICS = (
    "batches_accepted", "batches_repeated", "batches_throttled", "batches_refused",
    "messages_refused", "messages_quarantined", "readings_scored", "readings_late",
    "series_rows_written", "series_rows_rejected", "cases_opened", "journal_bytes",
)  # fmt: skip
LOSSES = (
    "batches_repeated", "batches_throttled", "batches_refused", "messages_refused",
    "messages_quarantined", "readings_late", "series_rows_rejected",
)  # fmt: skip
"""What must not happen while a figure is taken."""
_SAMPLE = re.compile(r"^farfix_(\w+?)(?:\{(\w+)=\"([^\"]*)\"\})? (\S+)$", re.MULTILINE)


class Seen(Struct, frozen=True):
    """What the gateway has counted so far."""

    counts: dict[str, float]
    states: dict[str, float]
    """Machines in each state."""
    delays: list[tuple[float, float]]
    """Upper bound in seconds, readings scored within it."""

    def since(self, before: "Seen", name: str) -> int:
        """Return how much a counter grew."""
        return int(self.counts.get(name, 0.0) - before.counts.get(name, 0.0))

    def delay_s(self, before: "Seen", share: float) -> float:
        """Return a quantile of the delays between two looks, inside its bucket by proportion."""
        known = dict(before.delays)
        grown = [(bound, count - known.get(bound, 0.0)) for bound, count in self.delays]
        if not grown or not grown[-1][1]:
            return float("nan")
        wanted, low, below = share * grown[-1][1], 0.0, 0.0
        for bound, count in grown:
            if count >= wanted:
                return low + (bound - low) * (wanted - below) / max(count - below, 1.0)
            low, below = bound, count
        return float("inf")


class Rig:
    """A gateway with everything around it."""

    def __init__(self, folder: Path, store: Store, machine_type: str, devices: int) -> None:
        self.folder, self.store, self.devices = folder, store, devices
        self.machine_type = machine_type
        self.broker: broker.Broker
        self.generator: Generator
        self._port, self._client = free_port(), httpx.Client(timeout=60.0)
        self._process: subprocess.Popen[bytes]

    def start(self, stack: ExitStack) -> None:
        """Start broker, store, gateway and load generator; the stack ends them."""
        users = [broker.User(GATEWAY), broker.User(SITE, SITE)]
        self.broker = stack.enter_context(
            broker.start(self.folder / "broker", users, kind=broker.Kind.MOSQUITTO)
        )
        self.store.start()
        command = [sys.executable, "-P", "-m", "cloud", "--config", str(self._write_config())]
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        stack.callback(path_process.end, self._process)
        self.until(self._ready, "the gateway is ready", READY_S)
        self.generator = stack.enter_context(path_process.generator(self.load(), self.folder))

    def load(self) -> Setup:
        """Return how a load generator reaches the broker."""
        return Setup(
            port=self.broker.port,
            username=SITE,
            password=self.broker.password(SITE),
            machine_type=self.machine_type,
            devices=self.devices,
            run=f"{time.monotonic_ns() % 10**8:08}",
        )

    def _write_config(self) -> Path:
        types, config = self.folder / "types", self.folder / "cloud.toml"
        path_machines.write_types(types)
        assets = "".join(
            f'[[assets]]\ndevice = "{path_packets.device(k)}"\nsite = "{SITE}"\n'
            f'machine_type = "{self.machine_type}"\n'
            for k in range(self.devices)
        )
        config.write_text(
            f'data_dir = "{self.folder / "data"}"\nmachine_types = "{types}"\n'
            f"http_port = {self._port}\n"
            f"{flood_config()}commissioning_s = 0.001\n"
            f"commissioning_samples = {COMMISSIONING_SAMPLES}\n"
            f'silent_after_s = 1e6\n[broker]\nurl = "{self.broker.url}"\n'
            f'password_file = "{self.broker.password_file(GATEWAY)}"\n{self.store.config()}{assets}'
        )
        return config

    def _ready(self) -> bool:
        try:
            return self._client.get(f"http://127.0.0.1:{self._port}/readyz").is_success
        except httpx.HTTPError:
            return False

    def until(self, holds: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until something holds.

        Raises:
            Unreachable: it did not in time, or the gateway ended.
        """
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            words = tail(self.folder / "gateway.log")
            if self._process.poll() is not None:
                raise Unreachable(f"the gateway ended: {words}")
            if time.monotonic() > deadline_s:
                raise Unreachable(f"waited {timeout_s:g} s in vain until {what}: {words}")
            time.sleep(0.05)

    def pids(self) -> list[int]:
        """Return the gateway's processes, the main one first."""
        return path_process.family(self._process.pid)

    def cost(self) -> Cost:
        """Measure all processes of the gateway."""
        return path_process.cost(self.pids())

    def seen(self) -> Seen:
        """Read the gateway's metrics."""
        text = self._client.get(f"http://127.0.0.1:{self._port}/metrics").text
        counts, states, delays = {}, {}, []
        for name, label, value, number in _SAMPLE.findall(text):
            if name.removesuffix("_total") in METRICS:
                counts[name.removesuffix("_total")] = float(number)
            elif name == "machines" and label == "state":
                states[value] = float(number)
            elif name == "detection_delay_seconds_bucket":
                delays.append((float(value.replace("+Inf", "inf")), float(number)))
        return Seen(counts, states, delays)


def flood_config() -> str:
    """Let one device send what ten thousand would: the bench wants to know what that costs."""
    return "device_batches_per_s = 1e6\n" if "device_batches_per_s" in Config.model_fields else ""


def most_per_s(devices: int) -> float:
    """Return how many messages a second the gateway takes of so many devices at most."""
    return math.inf if flood_config() else 0.9 * Limits().batches_per_s * devices


def store(name: str, folder: Path) -> Store:
    """Return a store by its name, not started yet."""
    if name == Embedded.name:
        return Embedded(folder / "data")
    return (Influx if name == Influx.name else Victoria)(folder)


@contextmanager
def rig(store_name: str, machine_type: str, devices: int) -> Iterator[Rig]:
    """Run a gateway with everything around it, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="farfix-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        kept = store(store_name, folder)
        stack.callback(kept.stop)
        found = Rig(folder, kept, machine_type, devices)
        found.start(stack)
        yield found
