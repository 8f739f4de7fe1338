"""Firmware releases: taken in signed, given out to edge agents. No private key ever comes here."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response

from cloud.web.api import DENIED, PROBLEMS
from cloud.web.guard import RequestBody
from cloud.web.ports import Desk
from cloud.web.schemas import ReleaseView
from cloud.web.views import Views
from contract import firmware
from contract.errors import Malformed, Refused
from contract.firmware import Release

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Upload(msgspec.Struct, frozen=True):
    """What ``farfix release sign`` writes: the signed release and its image in base64."""

    release: Release
    image: str


def routes(
    desk: Desk, views: Views, bearer: Callable[..., None], key: Ed25519PublicKey | None
) -> APIRouter:
    """Return the routes of releases; without the signing key's public half, uploads are refused."""
    router = APIRouter(prefix="/api/releases", tags=["releases"], responses=PROBLEMS)

    @router.get("", summary="All firmware releases")
    def read_releases() -> list[ReleaseView]:
        return views.releases()

    @router.post(
        "",
        status_code=201,
        summary="Add a signed firmware release",
        description="Takes the file that `farfix release sign` writes. The signature is checked "
        "with the public key in the gateway's settings, and again on the device.",
        dependencies=[Depends(bearer)],
        responses=DENIED,
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {}}}},
    )
    def add_release(body: RequestBody) -> ReleaseView:
        release, image = accept(body, desk, key)
        desk.store.put_release(release, image)
        return next(
            view
            for view in views.releases()
            if (view.machine_type, view.version) == (release.machine_type, release.version)
        )

    @router.get(
        "/{machine_type}/{version}/image",
        summary="The image itself, whole or in ranges",
        response_class=Response,
    )
    def read_image(
        machine_type: Annotated[str, Path(max_length=64)],
        version: Annotated[str, Path(max_length=11)],
        request: Request,
    ) -> Response:
        image = desk.store.image(machine_type, version)
        if image is None:
            raise HTTPException(404, f"There is no release {version} for {machine_type!r}.")
        return part(image, request.headers.get("range", ""))

    return router


def accept(body: bytes, desk: Desk, key: Ed25519PublicKey | None) -> tuple[Release, bytes]:
    """Check an upload and return it.

    Raises:
        Malformed: no such upload, or for a machine type that cannot be updated.
        Refused: hash or signature is wrong, or this gateway knows no key to check with.
    """
    try:
        upload = msgspec.json.decode(body, type=Upload)
        image = base64.b64decode(upload.image, validate=True)
    except (msgspec.DecodeError, binascii.Error) as error:
        raise Malformed(f"not a release as 'farfix release sign' writes it: {error}") from error
    release = upload.release
    machine_type = desk.machines.get(release.machine_type)
    if machine_type is None or machine_type.firmware_block is None:
        raise Malformed(f"machine type {release.machine_type!r} is not known or takes no firmware")
    if key is None:
        raise Refused(
            "This gateway knows no key that signs firmware: put the public key under "
            "'release_key' in its settings."
        )
    firmware.verify(release, image, key)
    return release, image


def part(image: bytes, asked: str) -> Response:
    """Answer with the image, or with the one byte range that was asked for (RFC 9110)."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "public, max-age=31536000, immutable"}
    kind = "application/octet-stream"
    span = _RANGE.fullmatch(asked.strip())
    if span is None or span.groups() == ("", ""):
        return Response(image, media_type=kind, headers=headers)
    first, last = span.groups()
    if first:
        begin, end = int(first), min(int(last) if last else len(image), len(image) - 1)
    else:
        begin, end = max(0, len(image) - int(last)), len(image) - 1
    if begin > end:
        headers["Content-Range"] = f"bytes */{len(image)}"
        return Response(status_code=416, headers=headers)
    headers["Content-Range"] = f"bytes {begin}-{end}/{len(image)}"
    return Response(image[begin : end + 1], 206, media_type=kind, headers=headers)
