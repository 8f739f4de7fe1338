"""The commands of docker-compose.yml by hand, with its config files and its broker's config.

Only what containers would provide is replaced, by environment: names of hosts, paths, ports.
"""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.adapters import broker, series_influx
from contract.errors import Unreachable
from farfix import credentials
from tests import peers

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.journey, pytest.mark.real, pytest.mark.timeout(300)]


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
        assert process.wait(60) == 0, (folder / f"{name}.log").read_text()[-2000:]


def farfix(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "farfix", *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The secrets and certificates of an installation."""
    credentials.make(tmp_path)
    return tmp_path


def test_the_services_of_the_compose_file_work_together_by_tls(folder: Path) -> None:
    program = broker.mosquitto_program() or peers.missing("Mosquitto", "mosquitto")
    mqtt, http, modbus, control, influx_port = (str(peers.free_port()) for _ in range(5))
    mosquitto = config(
        folder,
        "mosquitto.conf",
        {"8883": f"{mqtt} 127.0.0.1", "/mosquitto/data/": f"{folder}/"},
    )
    with Path(mosquitto).open("a") as text:
        text.write("user root\n" if os.geteuid() == 0 else "")
    url = f"mqtts://localhost:{mqtt}"
    cloud = config(
        folder,
        "cloud.toml",
        {
            "mqtts://mosquitto:8883": url,
            '"0.0.0.0"': '"127.0.0.1"',
            "http_port = 8080": f"http_port = {http}",
            '"influx2"': '"influx1"',
            "https://influxdb:8086": f"https://localhost:{influx_port}",
            '"/data"': f'"{folder}/cloud"',
        },
    )
    fleet = config(
        folder, "fleet.toml", {"15021": modbus, "15020": control, '"/data"': f'"{folder}/sim"'}
    )
    edge = config(
        folder,
        "edge.toml",
        {"mqtts://mosquitto:8883": url, "15021": modbus, '"/data"': f'"{folder}/edge"'},
    )
    with ExitStack() as stack:
        (folder / "influx").mkdir()
        stack.enter_context(peers.influx(folder / "influx", int(influx_port), folder))
        database = stack.enter_context(peers.postgres(folder)).replace("127.0.0.1", "localhost")
        database += f"?sslmode=verify-full&sslrootcert={folder}/ca.crt"
        as_cloud = environment(folder, "cloud", FARFIX_CLOUD_DATABASE_URL=database)
        for name, command, env in (
            ("mosquitto", [program, "-c", mosquitto], dict(os.environ)),
            ("cloud", farfix("cloud", "--config", cloud), as_cloud),
            ("sim", farfix("sim", "--fleet", fleet), environment(folder, "sim")),
            ("edge", farfix("edge", "--config", edge), PLAIN),
        ):
            stack.enter_context(running(folder, name, command, env))
        seen = online(folder, f"https://localhost:{http}")
        assert seen == {"pump-1", "compressor-1", "chiller-1"}
        assert stored(folder, f"https://localhost:{influx_port}") > 0
        healthy = subprocess.run(
            farfix("doctor", "--config", edge),
            env=PLAIN,
            capture_output=True,
            text=True,
            check=False,
        )
        assert healthy.returncode == 0, healthy.stdout


def client(folder: Path) -> httpx.Client:
    """Return a client that believes this installation's authority and nobody else."""
    known = ssl.create_default_context(cafile=folder / "ca.crt")
    token = (folder / "api.token").read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(verify=known, headers=headers, timeout=60, trust_env=False)


def online(folder: Path, base_url: str) -> set[str]:
    """Wait until three machines have sent telemetry and return which did."""
    found: set[str] = set()
    with client(folder) as asks:
        while len(found) < 3:
            time.sleep(0.3)
            try:
                machines = asks.get(f"{base_url}/api/fleet").json()["machines"]
            except httpx.TransportError:
                continue
            found = {m["device"] for m in machines if m["last_ns"] is not None}
    return found


def stored(folder: Path, url: str) -> int:
    """Wait until readings are in the time-series store and return how many."""
    query = {"db": "farfix", "q": 'SELECT count("quality") FROM "centrifugal_pump"'}
    with client(folder) as asks:
        while True:
            (result,) = asks.get(f"{url}/query", params=query).json()["results"]
            if result.get("series"):
                return int(result["series"][0]["values"][0][1])
            time.sleep(0.5)


def test_who_is_not_certified_is_not_believed(folder: Path, tmp_path_factory: Any) -> None:
    other = tmp_path_factory.mktemp("other")
    credentials.make(other)
    (folder / "influx").mkdir()
    with peers.influx(folder / "influx", 0, folder) as url:
        name = url.replace("127.0.0.1", "localhost")
        assert series_influx.v1(name, "d", ca_file=folder / "ca.crt").last("m", "x") == {}
        with pytest.raises(Unreachable, match="certificate verify failed"):
            series_influx.v1(name, "d", ca_file=other / "ca.crt").last("m", "x")
