"""A repository behind its routes, for the web's tests."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import httpx
from fastapi import FastAPI

from cloud.adapters import database
from cloud.adapters.repository import Repository
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core.published import Kept
from cloud.service.people import People
from cloud.web import guard, problems, releases
from cloud.web.rollout_ports import Rollouts
from tests.adapters.release_room import NOW_NS, Room

Client = httpx.AsyncClient
TOKEN = "a-test-token"
IMAGE = bytes(range(256)) * 40


class Shelf:
    """The part of the service's face that these routes use, over the real repository."""

    def __init__(self, repository: Repository) -> None:
        self.kept = repository.kept
        self.repository = repository.state
        self.metadata = repository.metadata
        self.artifact = repository.artifact
        self._repository = repository
        self.said: list[str] = []

    async def put_artifact(self, path: str, file: Path) -> None:
        await asyncio.to_thread(self._repository.put_artifact, path, file)

    async def publish(self, metadata: Mapping[str, bytes], by: str) -> list[Kept]:
        self.said.append(by)
        return await asyncio.to_thread(self._repository.publish, metadata)


class World:
    """A repository with its routes, and the room that signs for it."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'cases.db'}"
        self.store = Store(url)
        doors = guard.Doors(People(self.store, Config(data_dir=folder)), TOKEN)
        self.engine = database.open_engine(url)
        self.room = Room()
        self.folder = folder / "artifacts"
        self.repository = Repository(self.engine, self.folder, self.room.first_root, lambda: NOW_NS)
        self.shelf = Shelf(self.repository)
        self.app = FastAPI()
        self.app.add_middleware(guard.BodyLimit)
        problems.install(self.app)
        desk = cast("Rollouts", self.shelf)
        incoming = self.repository.incoming
        self.app.include_router(releases.routes(desk, doors, incoming))

    def client(self, token: str = TOKEN) -> Client:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://gateway",
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )

    def left(self) -> list[str]:
        """Name the uploads that lie about."""
        return [path.name for path in self.repository.incoming.iterdir()]


async def put(api: Client, name: str, data: bytes) -> httpx.Response:
    return await api.put(f"/api/repository/targets/{name}", content=data)


async def publish(api: Client, metadata: Mapping[str, bytes]) -> httpx.Response:
    texts = {name: data.decode() for name, data in metadata.items()}
    return await api.put("/api/repository", json={"metadata": texts})


async def published(api: Client, world: World) -> str:
    """Publish one release and return its artifact's name."""
    name = world.room.add("1.4.1", IMAGE, hardware=[2], cures=["firmware_bug"], notes="Good")
    assert (await put(api, name, IMAGE)).status_code == 204
    answer = await publish(api, world.room.make())
    assert answer.status_code == 200, answer.text
    return name


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])
