"""Worlds for the web's tests."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, expect, sync_playwright

from cloud.adapters import database
from cloud.adapters.value_store import ledger
from cloud.config import Config
from cloud.core.people import Role
from cloud.service.customers import Customers
from cloud.service.hooks import Hooks
from cloud.service.people import People
from cloud.service.value import Value
from cloud.web.app import create_api, create_app
from cloud.web.faces import Faces
from cloud.web.people_ports import COOKIE
from tests.web import fixture_rollouts, fixture_world
from tests.web.fixture_browser import DESKTOP, Visit
from tests.web.fixture_ddi import MemoryDesk
from tests.web.fixture_people import Crowd
from tests.web.fixture_rollouts import MemoryRollouts
from tests.web.fixture_world import WorldDesk

TOKEN = "a-test-token"
PATIENCE_S = 90.0
"""So long a browser and a server may take for anything on a busy machine."""
expect.set_options(PATIENCE_S * 1000)


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


@pytest.fixture
async def api_as(
    faces: Faces, config: Config
) -> AsyncIterator[Callable[[Role], Awaitable[httpx.AsyncClient]]]:
    """The same API with the token of a system that has a role."""
    assert isinstance(faces.people, People)
    app, crowd = create_api(faces, TOKEN, config), Crowd(faces.people)
    async with AsyncExitStack() as stack:

        async def made(role: Role) -> httpx.AsyncClient:
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://gateway",
                headers={"Authorization": f"Bearer {await crowd.token(role)}"},
            )
            return await stack.enter_async_context(client)

        yield made


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldDesk]:
    """The lively world, for the browser."""
    made = fixture_world.build(tmp_path_factory.mktemp("world"), speed=10.0)
    LIVELY.append(made)
    yield made
    LIVELY.remove(made)
    made.close()


LIVELY: list[WorldDesk] = []
"""The lively world, once it is made."""


@pytest.fixture(scope="module", autouse=True)
def as_it_was() -> Iterator[None]:
    """Take what a file of tests adds to the lively world out of it again: machines and value."""
    yield
    own = [device for device, *_ in fixture_world.FLEET]
    for made in LIVELY:
        with database.transaction(made.store.engine, writes=True) as connection:
            connection.execute(database.assets.delete().where(~database.assets.c.device.in_(own)))
            connection.execute(ledger.delete())


@pytest.fixture(scope="session")
def rollouts() -> MemoryRollouts:
    """Rollouts for the browser."""
    return fixture_rollouts.build()


@pytest.fixture(scope="session")
def gateway_faces(
    world: WorldDesk, rollouts: MemoryRollouts, tmp_path_factory: pytest.TempPathFactory
) -> Faces:
    """The service behind the browser's pages."""
    return faces_over(world, rollouts, tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="session")
def crowd(gateway_faces: Faces) -> Crowd:
    """Who may sign in at the browser's pages."""
    assert isinstance(gateway_faces.people, People)
    return Crowd(gateway_faces.people)


@pytest.fixture(scope="session")
def address(gateway_faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with the whole application; the console's pages are one per process."""
    app = create_app(gateway_faces, TOKEN, Config(data_dir=tmp_path_factory.mktemp("web")))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.started, f"the server did not start within {PATIENCE_S:g} s"
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit_as(
    browser: Browser, address: str, crowd: Crowd
) -> Iterator[Callable[[Role | None], Visit]]:
    """A tab in which somebody with a role is signed in; None: nobody."""
    with ExitStack() as stack:

        def made(role: Role | None) -> Visit:
            context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # as documented
            context.set_default_timeout(PATIENCE_S * 1000)
            stack.callback(context.close)
            if role is not None:
                cookie = {"name": COOKIE, "value": crowd.session(role), "url": address}
                context.add_cookies([cookie])  # type: ignore[list-item]  # as documented
            visit = Visit(context.new_page(), address)
            stack.callback(visit.check)
            return visit

        yield made


@pytest.fixture
def visit(visit_as: Callable[[Role | None], Visit]) -> Visit:
    """A tab in which an admin is signed in."""
    return visit_as(Role.ADMIN)
