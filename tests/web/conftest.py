"""Worlds for the web's tests."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright

from cloud.config import Config
from cloud.service.customers import Customers
from cloud.service.hooks import Hooks
from cloud.service.people import People
from cloud.service.value import Value
from cloud.web.app import create_api, create_app
from cloud.web.faces import Faces
from tests.web import fixture_rollouts, fixture_world
from tests.web.fixture_browser import DESKTOP, Visit
from tests.web.fixture_ddi import MemoryDesk
from tests.web.fixture_rollouts import MemoryRollouts
from tests.web.fixture_world import WorldDesk

TOKEN = "a-test-token"


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
def config(tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path)


def faces_over(desk: WorldDesk, rollouts: MemoryRollouts, folder: Path) -> Faces:
    """The service over a world's store: real but for the desk, rollouts and DDI."""
    config = Config(data_dir=folder)
    store = desk.store
    return Faces(
        desk, rollouts, MemoryDesk(folder, []), People(store, config), Hooks(store, config),
        Value(store, config), Customers(store, config, desk.now_ns, TOKEN),
    )  # fmt: skip


@pytest.fixture
def faces(desk: WorldDesk, tmp_path: Path) -> Faces:
    """The small world, and rollouts in memory."""
    return faces_over(desk, fixture_rollouts.build(), tmp_path)


@pytest.fixture
async def api(faces: Faces, config: Config) -> AsyncIterator[httpx.AsyncClient]:
    """The API over that world, with the token."""
    app = create_api(faces, TOKEN, config)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as client:
        yield client


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldDesk]:
    """The lively world, for the browser."""
    made = fixture_world.build(tmp_path_factory.mktemp("world"), speed=40.0)
    yield made
    made.close()


@pytest.fixture(scope="session")
def rollouts() -> MemoryRollouts:
    """Rollouts for the browser."""
    return fixture_rollouts.build()


@pytest.fixture(scope="session")
def address(
    world: WorldDesk, rollouts: MemoryRollouts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A real server with the whole application; the console's pages are one per process."""
    folder = tmp_path_factory.mktemp("gateway")
    faces = faces_over(world, rollouts, folder)
    app = create_app(faces, "token", Config(data_dir=folder))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.started, "the server did not start within 20 s"
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # as documented
    visit = Visit(context.new_page(), address)
    yield visit
    visit.check()
    context.close()
