"""Fixtures that every kind of test shares: real peers, started once per test process."""

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import peers

# Hypothesis' own profile for machines whose speed nobody knows: no limit of time, and the same
# examples everywhere. Look for others by: make test ARGS="--hypothesis-profile=search"
settings.register_profile("search", settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Mosquitto]:
    """A real MQTT broker; a test that kills it restarts it."""
    with peers.mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="session")
def influx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real InfluxDB 1.x. Each test makes a database of its own."""
    with peers.influx(tmp_path_factory.mktemp("influx")) as url:
        yield url


@pytest.fixture(scope="session")
def victoria_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real VictoriaMetrics."""
    with peers.victoria(tmp_path_factory.mktemp("victoria")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL; the user may create databases."""
    with peers.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of a Chromium that Playwright can drive."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return peers.missing("Chromium", "chromium")
