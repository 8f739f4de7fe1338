"""The repository over HTTP: only what is signed comes in, only what is published goes out."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cloud.web import guard, releases, uploads
from contract import firmware
from tests.adapters.release_room import DAY_NS, NOW_NS, Room, artifact_path
from tests.web.fixture_releases import IMAGE, Client, World, problem, publish, published, put

BUNDLE = b"\x07\x01\x07\x07" * 200_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
async def api(world: World) -> AsyncIterator[Client]:
    async with world.client() as client:
        yield client


# In.


async def test_a_release_comes_in_and_goes_out(api: Client, world: World) -> None:
    name = await published(api, world)
    listed = (await api.get("/api/releases")).json()
    assert listed == [
        {
            "machine_type": "chiller", "version": "1.4.1", "format": "image", "hardware": [2],
            "min_version": "0.0.0", "cures": ["firmware_bug"], "high_risk": False, "notes": "Good",
            "size_bytes": len(IMAGE), "sha256": hashlib.sha256(IMAGE).hexdigest(), "barred": "",
        }
    ]  # fmt: skip
    state = (await api.get("/api/repository")).json()
    assert state["timestamp"] == {"version": 1, "expires_ns": NOW_NS + 14 * DAY_NS}
    assert state["root"]["version"] == 1
    async with world.client(token="") as machine:
        for file, data in world.room.roots.items():
            assert (await machine.get(f"/repository/metadata/{file}")).content == data
        timestamp = await machine.get("/repository/metadata/timestamp.json")
        assert timestamp.headers["cache-control"] == "no-cache"
        image = await machine.get(f"/repository/targets/{name}")
    assert image.content == IMAGE
    assert world.shelf.said == ["api"]
    assert world.left() == []


async def test_before_the_first_publication_there_is_nothing(api: Client, world: World) -> None:
    assert "farfix release publish" in problem(await api.get("/api/repository"), 404)
    assert (await api.get("/api/releases")).json() == []
    name = world.room.add("1.0.0", IMAGE)
    assert (await put(api, name, IMAGE)).status_code == 204
    for path in (f"/repository/targets/{name}", "/repository/metadata/1.root.json"):
        problem(await api.get(path), 404)


async def test_a_publisher_can_ask_what_is_here(api: Client, world: World) -> None:
    path = f"/api/repository/targets/{world.room.add('1.4.1', IMAGE)}"
    assert (await api.head(path)).status_code == 404
    await published(api, world)
    answer = await api.head(path)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(IMAGE)))


async def test_the_same_again_changes_nothing(api: Client, world: World) -> None:
    name = await published(api, world)
    assert (await put(api, name, IMAGE)).status_code == 204
    again = await publish(api, world.room.make(same=["targets", "snapshot", "timestamp"]))
    assert [release["version"] for release in again.json()] == ["1.4.1"]


async def test_who_publishes_is_passed_on(api: Client, world: World) -> None:
    texts = {name: data.decode() for name, data in world.room.make().items()}
    answer = await api.put("/api/repository", json={"metadata": texts, "by": "J. Doe"})
    assert (answer.status_code, world.shelf.said) == (200, ["J. Doe (by api token)"])


async def test_a_bundle_larger_than_any_api_body_fits(api: Client, world: World) -> None:
    name = world.room.add("2.0.0", BUNDLE, format="swu")
    assert len(BUNDLE) > guard.MAX_BODY_BYTES
    assert (await put(api, name, BUNDLE)).status_code == 204
    assert (await publish(api, world.room.make())).status_code == 200
    assert (await api.get(f"/repository/targets/{name}")).content == BUNDLE


async def test_whoever_has_no_token_puts_nothing_in(world: World) -> None:
    name = world.room.add("1.0.0", IMAGE)
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(IMAGE)
        yield IMAGE

    for token in ("", "wrong"):
        async with world.client(token) as stranger:
            path = f"/api/repository/targets/{name}"
            assert "token" in problem(await stranger.put(path, content=body()), 401)
            assert "token" in problem(await stranger.put("/api/repository", content=body()), 401)
    assert read == [], "a body is read only for those who may send it"
    assert [path.name for path in world.folder.iterdir()] == ["incoming"]


@pytest.mark.parametrize("data", [IMAGE[:-1], IMAGE + b"!", IMAGE[::-1], b""])
async def test_a_file_that_is_not_what_its_name_says_is_refused(
    api: Client, world: World, data: bytes
) -> None:
    name = world.room.add("1.0.0", IMAGE)
    assert "SHA-256" in problem(await put(api, name, data), 409)
    assert "upload it" in problem(await publish(api, world.room.make()), 409)
    assert world.left() == []


@pytest.mark.parametrize("declared", [True, False])
async def test_an_image_has_a_bound_declared_or_not(
    api: Client, world: World, *, declared: bool
) -> None:
    large = b"x" * (firmware.MAX_IMAGE_BYTES + 1)

    async def body() -> AsyncIterator[bytes]:
        yield large

    path = f"/api/repository/targets/{artifact_path(large, '1.0.0')}"
    answer = await api.put(path, content=large if declared else body())
    assert "65536" in problem(answer, 413)
    assert world.left() == []


async def test_a_declared_length_is_believed_at_once(api: Client) -> None:
    path = f"/api/repository/targets/chiller/{'0' * 64}.1.0.0.swu"
    headers = {"Content-Length": str(firmware.MAX_BUNDLE_BYTES + 1)}
    assert str(firmware.MAX_BUNDLE_BYTES) in problem(await api.put(path, headers=headers), 413)


async def test_metadata_has_a_bound(api: Client) -> None:
    body = b"x" * (releases.METADATA_BYTES_MAX + 1)
    problem(await api.put("/api/repository", content=body), 413)


async def test_only_the_repository_s_own_bodies_may_be_large(api: Client) -> None:
    large = b"x" * (guard.MAX_BODY_BYTES + 1)
    for method, path in (
        ("POST", "/api/repository"), ("PUT", "/api/repositoryx"), ("PUT", "/api/releases"),
        ("GET", "/api/repository/targets/x"),
    ):  # fmt: skip
        answer = await api.request(method, path, content=large)
        assert str(guard.MAX_BODY_BYTES) in problem(answer, 413)


async def test_a_full_disk_is_told(
    api: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "FREE_BYTES_MIN", 10**18)
    name = world.room.add("1.0.0", IMAGE)
    assert "make room" in problem(await put(api, name, IMAGE), 503)
    assert world.left() == []


async def test_silence_ends_an_upload(
    api: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "IDLE_S", 0.05)

    async def body() -> AsyncIterator[bytes]:
        yield IMAGE[:10]
        await asyncio.sleep(5)
        yield IMAGE[10:]

    path = f"/api/repository/targets/{world.room.add('1.0.0', IMAGE)}"
    problem(await api.put(path, content=body()), 408)
    assert world.left() == []


async def test_so_many_uploads_and_no_more(api: Client, world: World) -> None:
    name, go = world.room.add("1.0.0", IMAGE), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield IMAGE[:10]
        await go.wait()
        yield IMAGE[10:]

    path = f"/api/repository/targets/{name}"
    under_way = [
        asyncio.create_task(api.put(path, content=body())) for _ in range(releases.UPLOADS_MAX)
    ]
    async with asyncio.timeout(90):
        while len(world.left()) < releases.UPLOADS_MAX:  # noqa: ASYNC110 (files tell no events)
            await asyncio.sleep(0.01)
    assert "try again" in problem(await put(api, name, IMAGE), 503)
    go.set()
    assert [answer.status_code for answer in await asyncio.gather(*under_way)] == [204] * 4
    assert (await put(api, name, IMAGE)).status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"\xff", b'{"metadata": 1}', b'{"metadata": {"1.root.json": 1}}',
        b'{"metadata": {}, "more": 1}', b'{"metadata": {"x.json": "{}"}}',
        b'{"metadata": {"../1.root.json": "{}"}}', b'{"metadata": {}, "by": 7}',

        b'{"metadata": {"1.root.json": "\\ud800"}}', b"[" * 100_000,
    ],
)  # fmt: skip
async def test_what_is_no_publication_is_malformed(api: Client, body: bytes) -> None:
    assert problem(await api.put("/api/repository", content=body), 422)


async def test_metadata_that_is_not_believed_is_refused_with_the_reason(
    api: Client, world: World
) -> None:
    await published(api, world)
    stranger = Room()
    assert "release_root" in problem(await publish(api, stranger.make()), 409)
    forged = world.room.make(timestamp=stranger.keys["timestamp"])
    assert "0 of 1 signatures" in problem(await publish(api, forged), 409)
    assert [r["version"] for r in (await api.get("/api/releases")).json()] == ["1.4.1"]


# Out.


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-99", 206, (0, 100)),
        ("bytes=100-", 206, (100, len(IMAGE))),
        ("bytes=-10", 206, (len(IMAGE) - 10, len(IMAGE))),
        ("Bytes=0-0", 206, (0, 1)),
        (f"bytes={len(IMAGE) - 1}-{len(IMAGE) + 50}", 206, (len(IMAGE) - 1, len(IMAGE))),
        (f"bytes=-{len(IMAGE) * 2}", 206, (0, len(IMAGE))),
        ("bytes=0-1,5-6", 200, (0, len(IMAGE))),
        ("bytes=-", 200, (0, len(IMAGE))),
        ("bytes=9-3", 200, (0, len(IMAGE))),
        ("bytes=a-b", 200, (0, len(IMAGE))),
        ("chapters=1-2", 200, (0, len(IMAGE))),
        ("nonsense", 200, (0, len(IMAGE))),
        ("bytes=" + "9" * 5000 + "-", 200, (0, len(IMAGE))),
        (f"bytes={len(IMAGE)}-", 416, (0, 0)),
        ("bytes=-0", 416, (0, 0)),
    ],
)
async def test_an_artifact_comes_in_ranges(
    api: Client, world: World, asked: str, status: int, span: tuple[int, int]
) -> None:
    path = f"/repository/targets/{await published(api, world)}"
    begin, end = span
    part = await api.get(path, headers={"Range": asked})
    assert part.status_code == status
    assert part.content == IMAGE[begin:end]
    assert int(part.headers["content-length"]) == end - begin
    if status == 206:
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(IMAGE)}"
    elif status == 416:
        assert part.headers["content-range"] == f"bytes */{len(IMAGE)}"
    else:
        assert "content-range" not in part.headers
        assert part.headers["accept-ranges"] == "bytes"


async def test_a_range_is_continued_only_of_the_same_file(api: Client, world: World) -> None:
    path = f"/repository/targets/{await published(api, world)}"
    etag = (await api.head(path)).headers["etag"]
    assert etag == f'"{hashlib.sha256(IMAGE).hexdigest()}"'
    for known, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200)):
        part = await api.get(path, headers={"Range": "bytes=5-", "If-Range": known})
        assert part.status_code == status, known
    head = await api.head(path)
    assert (head.headers["content-length"], head.content) == (str(len(IMAGE)), b"")
