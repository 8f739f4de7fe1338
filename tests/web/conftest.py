"""Worlds for the web's tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.web.app import create_api
from tests.web import fixture_world
from tests.web.fixture_world import WorldDesk

TOKEN = "a-test-token"


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[WorldDesk]:
    """A small world: two pumps and a chiller, one of them recorded."""
    made = WorldDesk(tmp_path)
    made.add_machine("pump-1", "centrifugal_pump", "Circulation pump", "north")
    made.add_machine("pump-2", "centrifugal_pump", "", "north")
    made.add_machine("chiller-1", "chiller", "Cold store", "south")
    made.record("pump-1", "cavitation", from_s=-900, to_s=1)
    yield made
    made.close()


@pytest.fixture
async def api(desk: WorldDesk, signing_key: Ed25519PrivateKey) -> AsyncIterator[httpx.AsyncClient]:
    """The API over that world, with the token."""
    public = signing_key.public_key().public_bytes_raw().hex()
    app = create_api(desk, TOKEN, public)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as client:
        yield client


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldDesk]:
    """The lively world, for the browser."""
    made = fixture_world.build(tmp_path_factory.mktemp("world"), speed=40.0)
    yield made
    made.close()
