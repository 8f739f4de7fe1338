"""A real gateway in a process of its own, a real broker, and a plant that speaks MQTT by hand."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contract import codec, topics
from contract.telemetry import TelemetryBatch
from contract.topics import Channel
from tests import peers

SIGNALS = ["flow_m3h", "discharge_pressure_bar", "mode"]


def until(holds: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    """Wait until something holds, and say what did not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.05)


class Gateway:
    """The gateway as its users have it: a process with a config file."""

    def __init__(
        self,
        directory: Path,
        broker: peers.Mosquitto,
        site: str,
        settings: str = "",
        series: str = "",
    ) -> None:
        self.directory, self.site = directory, site
        self.port = peers.free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.config = directory / "cloud.toml"
        self.config.write_text(
            f'data_dir = "{directory / "data"}"\nhttp_port = {self.port}\n{settings}\n'
            f'[broker]\nurl = "{broker.url}"\npassword_file = "{broker.password_file}"\n'
            + series
            + "".join(
                f'[[assets]]\ndevice = "{site}-pump-{n}"\nsite = "{site}"\n'
                'machine_type = "centrifugal_pump"\n'
                for n in (1, 2)
            )
        )

    def start(self) -> None:
        """Start it and wait until it has its broker."""
        command = [sys.executable, "-P", "-m", "cloud", "--config", str(self.config)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: peers.answers(f"http://127.0.0.1:{self.port}/readyz"), "gateway is ready")

    def kill(self) -> None:
        """SIGKILL, without a word."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(peers.STOP_TIMEOUT_S)

    def get(self, path: str) -> object:
        """Read from the API."""
        token = (self.directory / "data" / "api-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def quarantined(self) -> list[str]:
        """Reasons of what was refused, newest first."""
        rows = self.get("/api/quarantine")
        assert isinstance(rows, list)
        return [row["reason"] for row in rows]

    def troubles(self) -> str:
        """What the gateway wants people to know."""
        return " ".join(map(str, self.get("/api/troubles")))  # type: ignore[call-overload]

    def stored(self, device: str) -> list[int]:
        """Event times that the series store holds for a device, in ns."""
        path = (
            f"/api/machines/{device}/telemetry?signals=flow_m3h&from=1&to={2**62}&max_points=1000"
        )
        found = self.get(path)
        assert isinstance(found, dict)
        return list(found["times_ns"])


class Plant:
    """An MQTT client that sends what it is told and remembers acknowledgements."""

    def __init__(self, broker: peers.Mosquitto, site: str, name: str = "plant") -> None:
        self.site = site
        self.acks: dict[tuple[str, str], int] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-{site}")
        self.client.username_pw_set(broker.username, broker.password)
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", broker.port)
        self.client.subscribe(f"{topics.PREFIX}/+/{site}/+/ack", qos=1)
        self.client.loop_start()

    def _message(self, client: object, data: object, message: paho.MQTTMessage) -> None:
        ack = json.loads(message.payload)
        self.acks[topics.parse(message.topic).device, ack["boot"]] = ack["sequence"]

    def raw(self, topic: str, payload: bytes) -> None:
        """Publish bytes and wait for the broker."""
        self.client.publish(topic, payload, qos=1).wait_for_publish(60)

    def send(self, device: str, sequence: int, time_ns: int, **changes: object) -> None:
        """Publish one batch, of one tick unless changed, and wait for the broker."""
        self.raw(*self.batch(device, sequence, time_ns, **changes))

    def flood(self, device: str, count: int, begin_ns: int) -> None:
        """Publish batches 1 to ``count`` as fast as that goes."""
        for n in range(1, count + 1):
            self.client.publish(*self.batch(device, n, begin_ns + n), qos=1)

    def batch(
        self, device: str, sequence: int, time_ns: int, **changes: object
    ) -> tuple[str, bytes]:
        """Return topic and payload of one batch."""
        fields: dict[str, object] = {
            "signals": SIGNALS,
            "times_ns": [time_ns],
            "values": [[50.0, 4.0, 2.0]],
            "boot": "b1",
            "sequence": sequence,
        }
        batch = TelemetryBatch(**(fields | changes))  # type: ignore[arg-type]  # as a test says
        return topics.build(self.site, device, Channel.TELEMETRY), codec.encode(batch)

    def close(self) -> None:
        """Disconnect."""
        self.client.loop_stop()
        self.client.disconnect()


@contextmanager
def running(
    directory: Path, broker: peers.Mosquitto, site: str, settings: str = "", series: str = ""
) -> Iterator[tuple[Gateway, Plant]]:
    """Run both and end both."""
    gateway, plant = Gateway(directory, broker, site, settings, series), Plant(broker, site)
    gateway.start()
    try:
        yield gateway, plant
    finally:
        plant.close()
        if gateway.process and gateway.process.poll() is None:
            gateway.kill()
