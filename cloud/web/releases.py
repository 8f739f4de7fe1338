"""The repository of releases over HTTP: signed metadata and artifacts in, and out to machines.

No private key ever comes here. What machines fetch needs no token: it is signed, and whoever has
it can run it nowhere but on a machine that it is for.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi import Path as PathPart
from msgspec import Meta, Struct
from msgspec.structs import asdict

from cloud.adapters.repository import parse_name
from cloud.core.people import Person, Role
from cloud.core.published import Kept, RepositoryState
from cloud.web import uploads
from cloud.web.api import DENIED, PROBLEMS
from cloud.web.downloads import FOREVER, Artifact
from cloud.web.guard import BY_MAX, Doors, decides
from cloud.web.rollout_ports import Rollouts
from cloud.web.schemas import ReleaseView, RepositoryView, RoleView
from contract.errors import Malformed, Unreachable

METADATA_BYTES_MAX = 8 * 1024 * 1024
"""Of one publication, as JSON."""
UPLOADS_MAX = 4
"""So many bodies are taken at the same time."""
ROLES = ("root", "targets", "snapshot", "timestamp")

TargetName = Annotated[str, PathPart(max_length=200)]
MetadataName = Annotated[str, PathPart(max_length=40)]


class Publication(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``farfix release publish`` hands in: metadata files as they are, by name."""

    metadata: dict[str, str]
    by: Annotated[str, Meta(max_length=BY_MAX)] = ""
    """For the audit log; only with the gateway's own token."""


def routes(desk: Rollouts, doors: Doors, incoming: Path) -> APIRouter:
    """Return the routes of releases.

    Args:
        desk: the service.
        doors: ask who it is.
        incoming: folder for uploads under way, on the disk where artifacts are kept.
    """
    router = APIRouter()
    reads = APIRouter(dependencies=[Depends(doors.needs(Role.VIEWER))])
    _reads(reads, desk)
    router.include_router(reads)
    _holdings(router, desk, doors)
    _writes(router, desk, doors, incoming)
    _for_machines(router, desk)
    return router


def _reads(router: APIRouter, desk: Rollouts) -> None:
    @router.get("/api/releases", tags=["releases"], summary="All releases, the newest first")
    def read_releases() -> list[ReleaseView]:
        return [view(kept) for kept in desk.kept()]

    @router.get(
        "/api/repository",
        tags=["releases"],
        summary="Versions and expiry of the signed metadata",
        responses=PROBLEMS,
    )
    def read_repository() -> RepositoryView:
        state = desk.repository()
        if state is None:
            raise HTTPException(
                404,
                "There is no release repository here yet that could be believed; "
                "'farfix release publish' hands one in.",
            )
        return _repository(state)


def _holdings(router: APIRouter, desk: Rollouts, doors: Doors) -> None:
    viewer = [Depends(doors.needs(Role.VIEWER))]

    @router.head(
        "/api/repository/targets/{path:path}", include_in_schema=False, dependencies=viewer
    )
    async def has_artifact(path: TargetName) -> Response:
        return _artifact(desk, path)


def _writes(router: APIRouter, desk: Rollouts, doors: Doors, incoming: Path) -> None:
    slots, engineer = asyncio.Semaphore(UPLOADS_MAX), doors.needs(Role.ENGINEER)

    @router.put(
        "/api/repository/targets/{path:path}",
        status_code=204,
        tags=["releases"],
        summary="Upload the artifact of a release",
        description="The body is the file itself; the path is its name in the repository, such as "
        "`chiller/<sha256>.1.4.1.img`. It is given out once published metadata speaks of it. "
        "The same again changes nothing.",
        dependencies=[Depends(engineer)],
        responses=PROBLEMS | DENIED,
        openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}}},
    )
    async def put_artifact(path: TargetName, request: Request) -> Response:
        _, longest = parse_name(path)
        _busy(slots)
        async with slots:
            with uploads.temporary(incoming) as file:
                await uploads.save(request, file, longest)
                await desk.put_artifact(path, Path(file.name))
        return Response(status_code=204)

    @router.put(
        "/api/repository",
        tags=["releases"],
        summary="Publish signed metadata",
        description='Takes `{"metadata": {"1.root.json": "...", ...}}` as `farfix release publish` '
        "sends it, checks it in TUF's client order, and takes all of it or nothing.",
        responses=PROBLEMS | DENIED,
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {}}}},
    )
    async def publish(
        request: Request, person: Annotated[Person, Depends(engineer)]
    ) -> list[ReleaseView]:
        _busy(slots)
        async with slots:
            body = await uploads.body(request, METADATA_BYTES_MAX)
            try:
                asked = msgspec.json.decode(body, type=Publication)
                metadata = {name: text.encode() for name, text in asked.metadata.items()}
            except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
                raise Malformed(
                    f"not a publication as 'farfix release publish' sends it: {error}"
                ) from error
            by = decides(person, asked.by)
            return [view(kept) for kept in await desk.publish(metadata, by)]


def _for_machines(router: APIRouter, desk: Rollouts) -> None:
    @router.head("/repository/metadata/{name}", include_in_schema=False)
    @router.get(
        "/repository/metadata/{name}",
        tags=["machines"],
        summary="A signed metadata file",
        responses=PROBLEMS,
    )
    async def read_metadata(name: MetadataName) -> Response:
        data = desk.metadata(name)
        if data is None:
            raise HTTPException(404, f"There is no metadata {name!r}.")
        # A client that is told an old root or timestamp by a cache would miss the newest.
        lasts = "no-cache" if name == "timestamp.json" else FOREVER
        return Response(data, media_type="application/json", headers={"Cache-Control": lasts})

    @router.head("/repository/targets/{path:path}", include_in_schema=False)
    @router.get(
        "/repository/targets/{path:path}",
        tags=["machines"],
        summary="An artifact, whole or in one range",
        response_class=Response,
        responses=PROBLEMS,
    )
    async def read_artifact(path: TargetName) -> Response:
        return _artifact(desk, path)


def view(kept: Kept) -> ReleaseView:
    """Return a release as the API tells it."""
    release = kept.release
    shown = {
        field: getattr(release, field) for field in ReleaseView.model_fields if field != "barred"
    }
    return ReleaseView(**shown, barred=kept.barred)


def _repository(state: RepositoryState) -> RepositoryView:
    known: dict[str, int] = asdict(state)
    roles = {
        role: RoleView(version=known[f"{role}_version"], expires_ns=known[f"{role}_expires_ns"])
        for role in ROLES
    }
    return RepositoryView(**roles)


def _artifact(desk: Rollouts, path: str) -> Response:
    """Give out what published metadata speaks of; a path is only looked up, never walked."""
    file = desk.artifact(path)
    if file is None:
        raise HTTPException(404, f"There is no artifact {path!r}.")
    return Artifact(file, digest=file.name)


def _busy(slots: asyncio.Semaphore) -> None:
    if slots.locked():
        raise Unreachable(f"{UPLOADS_MAX} uploads are under way: try again in a minute")
