"""Photos of visits over the API: pictures only, bounded, given out as nothing but pictures."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from cloud.core.people import Role
from cloud.web import dispatch
from tests.adapters.test_photo_store import opened, picture
from tests.web.fixture_centre import Centre, centre, client
from tests.web.test_api import problem

Client = httpx.AsyncClient


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Centre]:
    with centre(tmp_path) as found:
        yield found


@pytest.fixture
async def api(made: Centre) -> AsyncIterator[Client]:
    async with client(made, Role.DISPATCH) as found:
        yield found


async def post(api: Client, key: str, data: bytes) -> httpx.Response:
    return await api.post(f"/api/dispatch/tickets/{key}/photos", content=data)


async def test_a_photo_comes_with_the_report_and_is_seen_by_both_sides(
    made: Centre, api: Client
) -> None:
    key = await made.ticket("pump-1")
    exif = Image.Exif()
    exif[0x010E] = "48.1N 11.5E"
    first = await post(api, key, picture("JPEG", exif=exif))
    assert first.status_code == 201, first.text
    name = first.json()["name"]
    again = await post(api, key, picture("JPEG", exif=exif))
    assert again.json()["name"] == name
    report = {"finding": "other", "photos": [name]}
    answer = await api.put(f"/api/dispatch/tickets/{key}/report", json=report)
    assert answer.status_code == 200, answer.text
    seen = await api.get(f"/api/dispatch/tickets/{key}/photos/{name}")
    async with client(made, Role.VIEWER) as viewer:
        assert (await viewer.get(f"/api/tickets/{key}/photos")).json() == [name]
        assert (await viewer.get(f"/api/tickets/{key}/photos/{name}")).content == seen.content
        assert (await viewer.get(f"/api/dispatch/tickets/{key}/photos")).status_code == 403
    assert opened(seen.content).size == (320, 200)
    assert b"48.1N" not in seen.content
    assert seen.headers["content-type"] == "image/jpeg"
    assert seen.headers["x-content-type-options"] == "nosniff"
    assert seen.headers["content-disposition"].startswith("inline")
    assert "default-src 'none'" in seen.headers["content-security-policy"]


async def test_what_is_no_photo_is_refused_and_noted(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    for data in (b"", b"<svg onload=alert(1)>", b"GIF89a" + bytes(20), picture("PNG")[:200]):
        said = problem(await post(api, key, data), 422)
        assert "no whole photo" in said
        assert str(made.config.data_dir) not in said, "where files lie is nobody's business"
    assert made.parts.store.photos.names(key) == []
    assert any("no whole photo" in line for line in made.audit())
    assert list((made.config.data_dir / "photos").iterdir()) == [], "nothing is left behind"


async def test_a_photo_that_is_too_large_is_refused_while_it_comes(
    made: Centre, api: Client
) -> None:
    key = await made.ticket("pump-1")
    path = f"/api/dispatch/tickets/{key}/photos"

    async def endless() -> AsyncIterator[bytes]:
        sent = 0
        while sent < 10 * dispatch.PHOTO_BYTES_MAX:
            sent += 1024 * 1024
            yield bytes(1024 * 1024)
        pytest.fail("it was read to its end")

    assert "8388608" in problem(await api.post(path, content=endless()), 413)
    declared = {"Content-Length": str(dispatch.PHOTO_BYTES_MAX + 1)}
    assert "8388608" in problem(await api.post(path, content=b"x", headers=declared), 413)


async def test_a_ticket_has_ten_photos_and_a_closed_one_takes_none(
    made: Centre, api: Client
) -> None:
    key = await made.ticket("pump-1")
    for i in range(10):
        assert (await post(api, key, picture("PNG", (20 + i, 20)))).status_code == 201
    assert "10 photos" in problem(await post(api, key, picture("PNG", (99, 20))), 409)
    await api.put(f"/api/dispatch/tickets/{key}/report", json={"finding": "other"})
    assert "closed" in problem(await post(api, key, picture("PNG", (98, 20))), 409)


async def test_only_an_admin_deletes_photos_and_it_is_noted(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    name = (await post(api, key, picture("WEBP"))).json()["name"]
    path = f"/api/tickets/{key}/photos/{name}"
    assert (await api.delete(path)).status_code == 403
    async with client(made, Role.ADMIN) as admin:
        assert (await admin.delete(path)).status_code == 204
        assert name in problem(await admin.delete(path), 404)
    assert name in problem(await api.get(f"/api/dispatch/tickets/{key}/photos/{name}"), 404)
    assert any("photo deleted" in line for line in made.audit())
