"""What the edge agent costs: memory and processor of the real process, polling a whole line.

    python tests/bench/edge_cost.py --devices 32 --seconds 60

The agent runs as in a plant: Modbus TCP on one side, a real Mosquitto on the other, and somebody
behind the broker who acknowledges every batch with QoS 0, as the gateway does. Plant and receiver
live in this process, so that they are not counted. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import aiomqtt
from msgspec import Struct

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: the repository

from contract import codec, machines, topics
from contract.telemetry import Ack, TelemetryBatch
from contract.topics import Channel
from tests import peers
from tests.edge import plant

SITE = "north"
WARM_UP_S = 10.0
START_TIMEOUT_S = 30.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Heard(Struct):
    """What came through the broker."""

    readings: int = 0
    values: int = 0
    acknowledged: int = 0
    historical: int = 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--registers", type=int, default=30)
    return parser.parse_args()


def _machine(registers: int) -> tuple[machines.MachineType, str]:
    """Return a machine type of as many input registers, some of two words, polled every second."""
    lines = ['name = "bench"', 'title = "Bench machine"', "poll_interval_s = 1.0"]
    address = 0
    for number in range(registers):
        kind, words = ("FLOAT32", 2) if number % 5 == 4 else ("INT16", 1)
        lines += ["[[signals]]", f'name = "signal_{number}"', f'title = "Signal {number}"']
        lines += ['unit = "bar"', "range = [0, 100]", "[signals.modbus]", 'register = "input"']
        lines += [f"address = {address}", f'type = "{kind}"', "scale = 0.01"]
        address += words
    text = "\n".join(lines)
    return machines.parse(text, "bench"), text


def _write_config(folder: Path, broker: peers.Mosquitto, port: int, devices: int) -> Path:
    lines = [
        'agent = "edge-bench"',
        f'site = "{SITE}"',
        f'data_dir = "{folder / "data"}"',
        f'machine_types = "{folder / "types"}"',
        "[broker]",
        f'url = "{broker.url}"',
        f'username = "{broker.username}"',
        f'password_file = "{broker.password_file}"',
        "[[buses]]",
        'name = "hall"',
        'kind = "tcp"',
        'host = "127.0.0.1"',
        f"port = {port}",
    ]
    for unit in range(1, devices + 1):
        lines += ["[[devices]]", f'device = "machine-{unit}"', 'machine_type = "bench"']
        lines += ['bus = "hall"', f"unit = {unit}"]
    path = folder / "edge.toml"
    path.write_text("\n".join(lines))
    return path


async def _acknowledge(client: aiomqtt.Client, heard: Heard) -> None:
    async for message in client.messages:
        topic = topics.parse(str(message.topic))
        assert isinstance(message.payload, bytes)
        batch = codec.decode(message.payload, TelemetryBatch)
        heard.readings += len(batch.times_ns)
        heard.values += len(batch.times_ns) * len(batch.signals)
        heard.historical += batch.historical
        ack = codec.encode(Ack(boot=batch.boot, sequence=batch.sequence))
        await client.publish(topics.build(SITE, topic.device, Channel.ACK), ack, qos=0)
        heard.acknowledged += 1


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def _rss_mib(pid: int) -> float:
    return (
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    )


async def _measure(pid: int, heard: Heard, seconds: float) -> dict[str, float]:
    async with asyncio.timeout(START_TIMEOUT_S):
        while not heard.readings:  # noqa: ASYNC110 - counted elsewhere, a look now and then does
            await asyncio.sleep(0.1)
    await asyncio.sleep(WARM_UP_S)
    before, cpu_s, start_s = heard.readings, _cpu_s(pid), time.monotonic()
    values, acknowledged, peak_mib = heard.values, heard.acknowledged, 0.0
    while (spent_s := time.monotonic() - start_s) < seconds:
        await asyncio.sleep(min(1.0, seconds - spent_s))
        peak_mib = max(peak_mib, _rss_mib(pid))
    return {
        "rss_mib": round(peak_mib, 1),
        "cpu_share": round((_cpu_s(pid) - cpu_s) / spent_s, 4),
        "readings": heard.readings - before,
        "values": heard.values - values,
        "readings_per_s": round((heard.readings - before) / spent_s, 1),
        "acknowledged": heard.acknowledged - acknowledged,
        "historical": heard.historical,
    }


async def _run(
    folder: Path, broker: peers.Mosquitto, options: argparse.Namespace
) -> dict[str, float]:
    machine, text = _machine(options.registers)
    (folder / "types").mkdir()
    (folder / "types" / "bench.toml").write_text(text)
    units = {unit: plant.Unit() for unit in range(1, options.devices + 1)}
    for unit in units.values():
        unit.show(machine)
    heard = Heard()
    async with (
        plant.running(units) as served,
        aiomqtt.Client(
            "127.0.0.1", broker.port, username=broker.username, password=broker.password
        ) as client,
    ):
        await client.subscribe(topics.subscriptions(Channel.TELEMETRY)[0], qos=1)
        receiver = asyncio.create_task(_acknowledge(client, heard))
        config = _write_config(folder, broker, served.port, options.devices)
        environment = {**os.environ, "FARFIX_LOG": "WARNING"}
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "edge", "--config", str(config), env=environment
        )
        try:
            found = await _measure(agent.pid, heard, options.seconds)
        finally:
            agent.terminate()
            await asyncio.wait_for(agent.wait(), 15)
            receiver.cancel()
    wanted = {name: getattr(options, name) for name in ("devices", "registers", "seconds")}
    return wanted | found


def main() -> None:
    """Measure once and print the figures."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="farfix-edge-") as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        with peers.mosquitto(folder / "broker") as broker:
            print(json.dumps(asyncio.run(_run(folder, broker, options))))  # noqa: T201


if __name__ == "__main__":
    main()
