"""Whatever is asked for or sent, nothing but the repository goes out or comes in."""

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.web.fixture_releases import IMAGE, TOKEN, World, published, put

SHA256 = hashlib.sha256(IMAGE).hexdigest()
STEPS = st.sampled_from(
    ["..", ".", "", "%2e%2e", "cases.db", "artifacts", "incoming", "chiller", SHA256, "\0", "\n",
     f"{SHA256}.1.0.0.img", "1.4.1.img", "1.root.json ", "timestamp.json\0", "digests", "etc"]
)  # fmt: skip
PATHS = st.lists(STEPS | st.text(max_size=20), max_size=5).map("/".join)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A repository with one release."""
    made = World(tmp_path_factory.mktemp("gateway"))

    async def fill() -> None:
        async with made.client() as api:
            await published(api, made)

    asyncio.run(fill())
    yield made
    made.engine.dispose()


async def raw(
    app: FastAPI, method: str, path: str, headers: dict[bytes, bytes]
) -> tuple[int, bytes]:
    """Send the application a request that no client would let through."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "method": method,
        "http_version": "1.1", "scheme": "http", "path": path, "query_string": b"",
        "root_path": "", "client": ("c", 1), "server": ("s", 80), "headers": list(headers.items()),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


@given(path=PATHS, method=st.sampled_from(["GET", "HEAD"]))
@example(path="../../cases.db", method="GET")
@example(path=f"../{SHA256}", method="GET")
@example(path=f"chiller/../chiller/{SHA256}.1.4.1.img", method="GET")
@settings(max_examples=300, deadline=None)
def test_no_path_leads_anywhere_else(world: World, path: str, method: str) -> None:
    for base in ("/repository/metadata", "/repository/targets"):
        status, body = asyncio.run(raw(world.app, method, f"{base}/{path}", {}))
        assert status in (404, 422) or (status == 307 and path.endswith("/"))
        assert IMAGE[:100] not in body
        assert b"SQLite" not in body


@given(path=PATHS)
@settings(max_examples=200, deadline=None)
def test_no_path_can_be_written_but_an_artifact_s_own(world: World, path: str) -> None:
    token = {b"authorization": f"Bearer {TOKEN}".encode()}
    before = sorted(world.folder.rglob("*"))
    whole = f"/api/repository/targets/{path}"
    status, _ = asyncio.run(raw(world.app, "PUT", whole, token))
    assert status in (404, 405, 422) or (status == 307 and path.endswith("/"))
    assert sorted(world.folder.rglob("*")) == before


@given(
    first=st.integers(0, len(IMAGE) + 5) | st.none(),
    last=st.integers(0, len(IMAGE) + 5) | st.none(),
    spoilt=st.text(st.characters(codec="latin-1"), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_every_range_is_a_piece_of_the_file(
    world: World, first: int | None, last: int | None, spoilt: str
) -> None:
    ends = ["" if end is None else str(end) for end in (first, last)]
    asked = f"bytes={ends[0]}-{ends[1]}{spoilt}".encode("latin-1")
    path = f"/repository/targets/chiller/{SHA256}.1.4.1.img"
    status, body = asyncio.run(raw(world.app, "GET", path, {b"range": asked}))
    assert status in (200, 206, 416)
    if status == 416:
        assert body == b""
    elif status == 200:
        assert body == IMAGE
    else:
        # What was spoilt may have become a digit, so only the relation to the file is told here.
        assert body in IMAGE
        assert body
    if status == 206 and not spoilt:
        size = len(IMAGE)
        begin = max(0, size - (last or 0)) if first is None else first
        end = size if first is None or last is None else min(last + 1, size)
        assert body == IMAGE[begin:end]


@given(
    cut=st.sampled_from([0, 1, len(IMAGE) - 1, len(IMAGE)]) | st.integers(0, len(IMAGE)),
    flip=st.integers(0, len(IMAGE) - 1) | st.none(),
    more=st.binary(max_size=3),
    version=st.sampled_from(["1.0.0", "1.4.1", "999.0.0", "01.0.0"]),
    ending=st.sampled_from(["img", "swu"]),
)
@example(cut=len(IMAGE), flip=None, more=b"", version="1.0.0", ending="swu")
@settings(max_examples=150, deadline=None)
def test_truncated_swollen_and_mislabelled_artifacts_are_told_apart(
    world: World, *, cut: int, flip: int | None, more: bytes, version: str, ending: str
) -> None:
    data = bytearray(IMAGE[:cut] + more)
    if flip is not None and flip < len(data):
        data[flip] ^= 1
    whole = bytes(data) == IMAGE

    async def ask() -> None:
        name = f"chiller/{SHA256}.{version}.{ending}"
        async with world.client() as api:
            answer = await put(api, name, bytes(data))
            assert answer.status_code == (204 if whole else 409), answer.text
            out = await api.get(f"/repository/targets/{name}")
        published_name = (version, ending) == ("1.4.1", "img")
        assert out.status_code == (200 if published_name else 404)
        assert not published_name or out.content == IMAGE

    asyncio.run(ask())
    assert world.left() == []
    assert [file.read_bytes() for file in world.folder.iterdir() if file.is_file()] == [IMAGE]
