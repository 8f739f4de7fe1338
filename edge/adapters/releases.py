"""Firmware images: downloaded within bounds, checked before anything is touched."""

from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contract import firmware
from contract.errors import Refused, Unreachable

ATTEMPTS_MAX = 4
TIMEOUT_S = 10.0
OK, PARTIAL = 200, 206


class NotFetched(Unreachable):
    """The image could not be downloaded; nothing has happened to the device."""


async def fetch(release: firmware.Release, trusted_key_hex: str) -> bytes:
    """Download a release's image and check its size, hash and signature.

    A download that breaks off is resumed where it stopped.

    Raises:
        NotFetched: the image could not be downloaded.
        Refused: it is not what the release says, is not signed by the trusted key, or there is
            no trusted key.
    """
    if not trusted_key_hex:
        raise Refused("this agent has no trusted_key in its configuration, so it updates nothing")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(trusted_key_hex))
    if urlsplit(release.url).scheme not in ("http", "https"):
        raise Refused(f"the release's url {release.url!r} is not http or https")
    image = await _download(release)
    firmware.verify(release, image, key)
    return image


async def _download(release: firmware.Release) -> bytes:
    import httpx  # noqa: PLC0415 - ten megabytes of memory that only an update needs

    image = b""
    reason = ""
    async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client:
        for _ in range(ATTEMPTS_MAX):
            headers = {"Range": f"bytes={len(image)}-"} if image else {}
            try:
                async with client.stream("GET", release.url, headers=headers) as response:
                    if response.status_code not in (OK, PARTIAL):
                        reason = f"the server answers {response.status_code}"
                        continue
                    if response.status_code == OK:
                        image = b""
                    async for chunk in response.aiter_raw():
                        image += chunk
                        if len(image) > release.size_bytes:
                            raise Refused("the image is larger than the release says")
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
            if len(image) == release.size_bytes:
                return image
    raise NotFetched(f"the image could not be fetched: {reason or 'it is too short'}")
