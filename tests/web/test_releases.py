"""Firmware releases over the API: only what the key's owner signed comes in."""

import base64

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.web.app import create_api
from contract import firmware
from farfix import releases as signing
from tests.web.fixture_world import WorldDesk

Client = httpx.AsyncClient
IMAGE = bytes(range(256)) * 40
PATH = "/api/releases/centrifugal_pump/1.4.1/image"


async def upload(api: Client, body: bytes) -> httpx.Response:
    return await api.post("/api/releases", content=body)


async def test_signed_release_is_kept_and_given_out(
    api: Client, signing_key: Ed25519PrivateKey
) -> None:
    body = signing.sign(signing_key, "centrifugal_pump", "1.4.1", IMAGE)
    answer = await upload(api, body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["url"] == PATH
    assert (await upload(api, body)).status_code == 201, "the same again changes nothing"
    assert [r["version"] for r in (await api.get("/api/releases")).json()] == ["1.4.1"]
    image = await api.get(PATH)
    assert image.content == IMAGE
    assert image.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-99", 206, (0, 100)),
        ("bytes=100-", 206, (100, len(IMAGE))),
        ("bytes=-10", 206, (len(IMAGE) - 10, len(IMAGE))),
        (f"bytes={len(IMAGE) - 1}-{len(IMAGE) + 50}", 206, (len(IMAGE) - 1, len(IMAGE))),
        ("bytes=0-1,5-6", 200, (0, len(IMAGE))),
        ("bytes=-", 200, (0, len(IMAGE))),
        (f"bytes={len(IMAGE)}-", 416, (0, 0)),
        ("bytes=9-3", 416, (0, 0)),
        ("bytes=-0", 416, (0, 0)),
        ("bytes=" + "9" * 5000 + "-", 200, (0, len(IMAGE))),
    ],
)
async def test_image_comes_in_ranges(
    api: Client,
    signing_key: Ed25519PrivateKey,
    asked: str,
    status: int,
    span: tuple[int, int],
) -> None:
    await upload(api, signing.sign(signing_key, "centrifugal_pump", "1.4.1", IMAGE))
    begin, end = span
    part = await api.get(PATH, headers={"Range": asked})
    assert part.status_code == status
    assert part.content == IMAGE[begin:end]
    if status == 206:
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(IMAGE)}"


async def test_what_is_not_signed_by_the_key_is_refused(
    api: Client, desk: WorldDesk, signing_key: Ed25519PrivateKey
) -> None:
    stranger = Ed25519PrivateKey.generate()
    foreign = await upload(api, signing.sign(stranger, "centrifugal_pump", "1.4.1", IMAGE))
    assert (foreign.status_code, "not signed" in foreign.text) == (409, True)
    good = signing.sign(signing_key, "centrifugal_pump", "1.4.1", IMAGE)
    other = base64.b64encode(IMAGE[::-1])
    swapped = await upload(api, good.replace(base64.b64encode(IMAGE), other))
    assert (swapped.status_code, "hash" in swapped.text) == (409, True)
    assert desk.store.releases() == []


async def test_a_version_never_changes(api: Client, signing_key: Ed25519PrivateKey) -> None:
    await upload(api, signing.sign(signing_key, "centrifugal_pump", "1.4.1", IMAGE))
    changed = signing.sign(signing_key, "centrifugal_pump", "1.4.1", IMAGE + b"!")
    assert (await upload(api, changed)).status_code == 409
    assert (await api.get(PATH)).content == IMAGE


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b'{"release":{},"image":"===="}', b"\xff\xfe"],
)
async def test_nonsense_is_refused_in_words(api: Client, body: bytes) -> None:
    answer = await upload(api, body)
    assert answer.status_code == 422
    assert "farfix release sign" in answer.json()["detail"]


async def test_only_machine_types_that_take_firmware(
    api: Client, signing_key: Ed25519PrivateKey
) -> None:
    for machine_type in ("water_pump_rig", "toaster"):
        answer = await upload(api, signing.sign(signing_key, machine_type, "1.0.0", IMAGE))
        assert answer.status_code == 422, machine_type


async def test_without_the_key_nothing_is_taken(
    desk: WorldDesk, signing_key: Ed25519PrivateKey
) -> None:
    transport = httpx.ASGITransport(create_api(desk, "token"))
    headers = {"Authorization": "Bearer token"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=headers
    ) as api:
        answer = await upload(api, signing.sign(signing_key, "centrifugal_pump", "1.0.0", IMAGE))
    assert answer.status_code == 409
    assert "release_key" in answer.json()["detail"]


async def test_the_largest_image_fits(api: Client, signing_key: Ed25519PrivateKey) -> None:
    image = b"\x01" * firmware.MAX_IMAGE_BYTES
    answer = await upload(api, signing.sign(signing_key, "centrifugal_pump", "2.0.0", image))
    assert answer.status_code == 201
