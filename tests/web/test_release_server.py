"""The repository on a real server, asked by a real TUF client and by clients that break off."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.ngclient import Updater

from tests.adapters.release_room import Room
from tests.web.fixture_releases import IMAGE, TOKEN, World

ROUTES = "/api/repository/targets"


class Served:
    """A world behind uvicorn on a port of its own."""

    def __init__(self, world: World, port: int) -> None:
        self.world, self.port = world, port
        self.url = f"http://127.0.0.1:{port}"
        self.api = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"})

    def publish(self) -> None:
        for name, image in self.world.room.images.items():
            self.api.put(f"{ROUTES}/{name}", content=image).raise_for_status()
        texts = {name: data.decode() for name, data in self.world.room.make().items()}
        self.api.put("/api/repository", json={"metadata": texts}).raise_for_status()

    def talk(self, *sent: bytes, answers: int = 0) -> bytes:
        """Send bytes as they are; read until so many status lines came, or to the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=90) as connection:
            heard = b""
            for data in sent:
                connection.sendall(data)
            while answers and heard.count(b"HTTP/1.1 ") < answers:
                if not (more := connection.recv(65536)):
                    break
                heard += more
            return heard


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    world = World(tmp_path)
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="error", lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        made = Served(world, listening.getsockname()[1])
        while not server.started:
            time.sleep(0.01)
        yield made
        made.api.close()
        server.should_exit = True
        thread.join(90)
    world.engine.dispose()


def device(served: Served, folder: Path, root: bytes) -> Updater:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    return Updater(
        str(folder),
        f"{served.url}/repository/metadata/",
        str(folder / "images"),
        f"{served.url}/repository/targets/",
        bootstrap=root,
    )


def test_a_device_s_own_client_takes_it_from_here(served: Served, tmp_path: Path) -> None:
    room = served.world.room
    room.add("1.4.1", IMAGE)
    served.publish()
    first = device(served, tmp_path / "d1", room.first_root)
    info = first.get_targetinfo("chiller/1.4.1.img")
    assert info is not None
    assert Path(first.download_target(info)).read_bytes() == IMAGE
    room.rotate(room.keys["root"])
    room.add("1.4.2", IMAGE[::-1])
    served.publish()
    for folder in ("d1", "d2"):  # one that was here before, and a new one
        client = device(served, tmp_path / folder, room.first_root)
        info = client.get_targetinfo("chiller/1.4.2.img")
        assert info is not None
        assert Path(client.download_target(info)).read_bytes() == IMAGE[::-1]


def test_a_device_of_another_repository_takes_nothing(served: Served, tmp_path: Path) -> None:
    served.world.room.add("1.4.1", IMAGE)
    with pytest.raises(DownloadHTTPError):
        device(served, tmp_path / "d0", served.world.room.first_root).refresh()
    served.publish()
    with pytest.raises(RepositoryError):
        device(served, tmp_path / "d1", Room().first_root).refresh()


def test_an_upload_that_breaks_off_leaves_nothing(served: Served) -> None:
    name = served.world.room.add("1.4.1", IMAGE)
    head = f"PUT {ROUTES}/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    served.talk(head, f"Content-Length: {len(IMAGE)}\r\n\r\n".encode(), IMAGE[:-1])
    served.talk(head, b"Transfer-Encoding: chunked\r\n\r\n5\r\n", IMAGE[:5], b"\r\n5\r\nab")
    for _ in range(9000):
        if not served.world.left():
            break
        time.sleep(0.01)
    assert served.world.left() == []
    assert [file.name for file in served.world.folder.iterdir()] == ["incoming"]
    served.publish()
    assert [kept.release.version for kept in served.world.repository.kept()] == ["1.4.1"]


def test_after_a_refused_body_the_connection_still_makes_sense(served: Served) -> None:
    name = served.world.room.add("1.4.1", IMAGE)
    length = f"Content-Length: {len(IMAGE)}\r\n\r\n".encode()
    nobody = f"PUT {ROUTES}/{name} HTTP/1.1\r\nHost: x\r\n".encode() + length + IMAGE
    after = b"GET /api/releases HTTP/1.1\r\nHost: x\r\n\r\n"
    heard = served.talk(nobody, after, answers=2)
    assert heard.startswith(b"HTTP/1.1 401 ")
    assert heard.count(b"HTTP/1.1 200 ") <= 1, "either it goes on or it is closed"
    assert b"HTTP/1.1 400" not in heard


def test_a_download_goes_on_where_it_broke_off(served: Served) -> None:
    name = served.world.room.add("1.4.1", IMAGE)
    served.publish()
    path = f"/repository/targets/{name}"
    whole = served.talk(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), answers=1)
    assert b"accept-ranges: bytes" in whole.lower()
    rest = served.api.get(path, headers={"Range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, IMAGE[1000:])
    head = served.api.head(path)
    assert (head.headers["content-length"], head.content) == (str(len(IMAGE)), b"")
