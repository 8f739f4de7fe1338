"""The fixtures give peers that really work, so that other tests may rely on them."""

import subprocess

import httpx
import pytest
import sqlalchemy

from tests import peers

pytestmark = pytest.mark.real


def publish(broker: peers.Mosquitto, *credentials: str) -> int:
    tool = peers.program("mosquitto_pub", "mosquitto-clients")
    command = [tool, "-p", str(broker.port), "-t", "x", "-m", "y", "-q", "1", *credentials]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_broker_takes_the_gateway_and_nobody_else(mosquitto: peers.Mosquitto) -> None:
    assert publish(mosquitto, "-u", mosquitto.username, "-P", mosquitto.password) == 0
    assert publish(mosquitto) != 0
    assert publish(mosquitto, "-u", mosquitto.username, "-P", "wrong") != 0


def test_broker_comes_back_on_the_same_port(mosquitto: peers.Mosquitto) -> None:
    mosquitto.kill()
    assert not peers.listens(mosquitto.port)
    mosquitto.restart()
    assert publish(mosquitto, "-u", mosquitto.username, "-P", mosquitto.password) == 0


def test_databases_answer(influx_url: str, victoria_url: str, postgres_url: str) -> None:
    version = httpx.get(f"{influx_url}/ping").headers["X-Influxdb-Version"]
    assert version.startswith("1.")
    assert "vm_app_version" in httpx.get(f"{victoria_url}/metrics").text
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("select 6 * 7")).scalar() == 42
    engine.dispose()
