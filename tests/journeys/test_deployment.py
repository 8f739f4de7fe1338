"""The commands of docker-compose.yml by hand, with its config files and its broker's config.

Only what containers would provide is replaced, by environment: names of hosts, paths, ports.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cloud.adapters import broker
from farfix import credentials
from tests import peers

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.journey, pytest.mark.real]


PLAIN = os.environ | {"PYTHONPATH": str(ROOT)}


def environment(folder: Path, name: str, **changes: str) -> dict[str, str]:
    """Return what the service's env_file says, and the replacements for a container's world."""
    lines = (folder / f"{name}.env").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines)
    return PLAIN | told | changes


def config(folder: Path, name: str, replaced: dict[str, str]) -> str:
    """Write a config of deploy/ with other paths, hosts and ports."""
    text = (ROOT / "deploy" / name).read_text()
    for old, new in ({"/run/secrets": str(folder)} | replaced).items():
        assert old in text or old == "/run/secrets", f"{name} does not speak of {old}"
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return str(folder / name)


@contextmanager
def running(folder: Path, name: str, command: list[str], env: dict[str, str]) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield
        assert process.poll() is None, (folder / f"{name}.log").read_text()[-2000:]
    finally:
        process.terminate()
        assert process.wait(30) == 0, (folder / f"{name}.log").read_text()[-2000:]


def farfix(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "farfix", *arguments]


def test_the_services_of_the_compose_file_work_together(tmp_path: Path, postgres_url: str) -> None:
    program = broker.mosquitto_program() or peers.missing("Mosquitto", "mosquitto")
    credentials.make(tmp_path)
    mqtt, http, modbus, control = (str(peers.free_port()) for _ in range(4))
    mosquitto = config(
        tmp_path,
        "mosquitto.conf",
        {"1883": f"{mqtt} 127.0.0.1", "/mosquitto/data/": f"{tmp_path}/"},
    )
    with Path(mosquitto).open("a") as text:
        text.write("user root\n" if os.geteuid() == 0 else "")
    url = f"mqtt://127.0.0.1:{mqtt}"
    cloud = config(
        tmp_path,
        "cloud.toml",
        {
            "mqtt://mosquitto:1883": url,
            '"0.0.0.0"': '"127.0.0.1"',
            "http_port = 8080": f"http_port = {http}",
            '"influx2"': '"sqlite"',
            '"/data"': f'"{tmp_path}/cloud"',
        },
    )
    fleet = config(
        tmp_path, "fleet.toml", {"15021": modbus, "15020": control, '"/data"': f'"{tmp_path}/sim"'}
    )
    edge = config(
        tmp_path,
        "edge.toml",
        {"mqtt://mosquitto:1883": url, "15021": modbus, '"/data"': f'"{tmp_path}/edge"'},
    )
    as_cloud = environment(tmp_path, "cloud", FARFIX_CLOUD_DATABASE_URL=postgres_url)
    with (
        running(tmp_path, "mosquitto", [program, "-c", mosquitto], dict(os.environ)),
        running(tmp_path, "cloud", farfix("cloud", "--config", cloud), as_cloud),
        running(tmp_path, "sim", farfix("sim", "--fleet", fleet), environment(tmp_path, "sim")),
        running(tmp_path, "edge", farfix("edge", "--config", edge), PLAIN),
    ):
        assert online(f"http://127.0.0.1:{http}") == {"pump-1", "compressor-1", "chiller-1"}
        healthy = subprocess.run(
            farfix("doctor", "--config", edge),
            env=PLAIN,
            capture_output=True,
            text=True,
            check=False,
        )
        assert healthy.returncode == 0, healthy.stdout


def online(base_url: str) -> set[str]:
    """Wait until machines have sent telemetry and return which did."""
    deadline_s = time.monotonic() + 60
    found: set[str] = set()
    while len(found) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.3)
        try:
            machines = httpx.get(f"{base_url}/api/fleet", timeout=5).json()["machines"]
        except httpx.TransportError:
            continue
        found = {m["device"] for m in machines if m["last_ns"] is not None}
    return found
