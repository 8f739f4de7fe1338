"""Firmware images come whole, signed, and within bounds, or not at all."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from contract.errors import Refused
from edge.adapters import releases
from tests.edge.images import IMAGE, PUBLIC, serving


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_download_that_breaks_off_is_taken_up_again(ranges: bool) -> None:
    with serving() as (server, release):
        server.breaks, server.ranges = 2, ranges
        assert await releases.fetch(release, PUBLIC) == IMAGE
        assert server.requests == ["", "bytes=5120-", f"bytes={7680 if ranges else 5120}-"]


async def test_a_download_that_keeps_breaking_off_is_given_up() -> None:
    with serving() as (server, release):
        server.breaks, server.ranges = 99, False
        with pytest.raises(releases.NotFetched):
            await releases.fetch(release, PUBLIC)
        assert len(server.requests) == releases.ATTEMPTS_MAX


async def test_an_image_that_is_not_the_signed_one_is_refused() -> None:
    with serving() as (server, release):
        server.body = IMAGE[:-1] + b"?"
        with pytest.raises(Refused, match="hash"):
            await releases.fetch(release, PUBLIC)


async def test_an_endless_image_is_cut_off() -> None:
    with serving() as (server, release):
        server.body = IMAGE * 100
        with pytest.raises(Refused, match="larger"):
            await releases.fetch(release, PUBLIC)


async def test_a_stranger_cannot_sign() -> None:
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    with serving() as (_, release), pytest.raises(Refused, match="not signed"):
        await releases.fetch(release, stranger)


async def test_without_a_trusted_key_or_a_web_address_nothing_is_fetched() -> None:
    with serving() as (server, release):
        with pytest.raises(Refused, match="trusted_key"):
            await releases.fetch(release, "")
        with pytest.raises(Refused, match="not http"):
            await releases.fetch(replace(release, url="file:///etc/passwd"), PUBLIC)
        assert server.requests == []


async def test_a_server_that_is_away_is_reported() -> None:
    with serving() as (_, release):
        pass
    with pytest.raises(releases.NotFetched, match="could not be fetched"):
        await releases.fetch(release, PUBLIC)
