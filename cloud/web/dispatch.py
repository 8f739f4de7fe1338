"""The back-channel: what the dispatch system says about visits, and what it may read.

A ticket is read here as the webhook tells it: both show what the outbox holds.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi import Path as PathPart
from pydantic import BaseModel, Field

from cloud.adapters import photo
from cloud.adapters.photo_store import PER_TICKET_MAX, PhotoRow
from cloud.core import telling, visits
from cloud.core.people import Person, Role
from cloud.core.states import Phase
from cloud.core.wording import moment
from cloud.web import case_views, openapi, uploads
from cloud.web.api import DENIED, EXAMPLE_REPORT, MAX_NS, PROBLEMS, CaseId, Responses
from cloud.web.guard import Doors, RequestBody
from cloud.web.people_ports import People
from cloud.web.ports import Desk
from contract import codec
from contract.errors import Malformed, Refused, Unreachable
from contract.tickets import ClosingReport, TicketNews, TicketState, VisitState, VisitUpdate

PHOTO_BYTES_MAX = 8 * 1024 * 1024
UPLOADS_MAX = 4
"""So many photos are taken at the same time."""
SKEW_S = 600.0
"""So far the dispatch system's clock may be off, in wall time."""
AHEAD_S = 366 * 86_400.0
"""So far ahead a visit may be expected."""
OURS = (VisitState.ORDERED, VisitState.WITHDRAWN)
"""States that only the gateway gives."""

PhotoName = Annotated[str, PathPart(max_length=80)]
EXAMPLE_VISIT = {
    "id": "wo-4711-2",
    "state": "scheduled",
    "at_ns": 1795377600000000000,
    "expected_ns": 1795420800000000000,
    "technician": "J. Doe",
}


class PhotoTaken(BaseModel):
    """A photo that is kept."""

    name: str = Field(
        description="Made from its content; the closing report names it.",
        examples=["0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg"],
    )


def routes(desk: Desk, people: People, doors: Doors, incoming: Path) -> APIRouter:
    """Return the routes.

    Args:
        desk: the service.
        people: keeps the audit log.
        doors: knows who is a dispatch system.
        incoming: folder for photos under way.
    """
    router = APIRouter(prefix="/api", tags=["dispatch"], responses=PROBLEMS | DENIED)
    _reads(router, desk, doors)
    _visits(router, desk, people, doors)
    _reports(router, desk, people, doors)
    _uploads(router, desk, people, doors, incoming)
    _photos(router, desk, people, doors)
    return router


def _reads(router: APIRouter, desk: Desk, doors: Doors) -> None:
    guarded = [Depends(doors.needs(Role.DISPATCH))]

    @router.get(
        "/dispatch/tickets",
        summary="Tickets as the webhook tells them, for systems that ask instead",
        dependencies=guarded,
        responses={200: openapi.answer(list[TicketNews], "The latest first.")},
        response_class=Response,
    )
    def read_tickets(
        state: Annotated[
            Literal["open", "all"], Query(description="`all` ends with the oldest, page by page.")
        ] = "open",
        limit: Annotated[int, Query(ge=1, le=200, description="Of `all`.")] = 100,
        before_ns: Annotated[
            int | None, Query(ge=0, le=MAX_NS, description="Of `all`: only those opened before.")
        ] = None,
    ) -> Response:
        if state == "open":
            found = _open(desk)
        else:
            found = _news(desk, [row.key for row in desk.store.tickets(limit, before_ns)])
        return _json(found)

    @router.get(
        "/dispatch/tickets/{key}",
        summary="One ticket, and what has become of it",
        dependencies=guarded,
        responses={200: openapi.answer(TicketNews, "The ticket.")},
        response_class=Response,
    )
    def read_ticket(key: CaseId) -> Response:
        return _json(_known(desk, key))


def _visits(router: APIRouter, desk: Desk, people: People, doors: Doors) -> None:
    @router.put(
        "/dispatch/tickets/{key}/visit",
        summary="Say how the visit stands",
        description="States: accepted, scheduled, on_the_way, on_site, done, cancelled. The same "
        "`id` again changes nothing, and an older `at_ns` never undoes a newer one: updates may be "
        "repeated and may arrive in any order.",
        openapi_extra=openapi.body(VisitUpdate, EXAMPLE_VISIT),
        responses={200: openapi.answer(TicketNews, "The ticket after it.")},
        response_class=Response,
    )
    async def put_visit(
        key: CaseId,
        body: RequestBody,
        person: Annotated[Person, Depends(doors.needs(Role.DISPATCH))],
    ) -> Response:
        with audited(people, person, key):
            before = await asyncio.to_thread(_known, desk, key)
            update = codec.decode(body, VisitUpdate)
            _check(desk, update, before.ticket.opened_ns)
            await desk.visited(key, update)
        return _json(await asyncio.to_thread(_known, desk, key))


def _check(desk: Desk, update: VisitUpdate, opened_ns: int) -> None:
    """Refuse what cannot be so.

    Raises:
        Malformed: a state that is ours alone, or a time that no right clock shows.
    """
    if update.state in OURS:
        raise Malformed(f"state {update.state.value} is the gateway's own; dispatch cannot set it")
    now_ns, skew_ns = desk.now_ns(), int(SKEW_S * 1e9 * desk.timescale.speed)
    if not opened_ns - skew_ns <= update.at_ns <= now_ns + skew_ns:
        raise Malformed(
            f"at_ns is {moment(update.at_ns)}, and the ticket was opened {moment(opened_ns)}; the "
            f"gateway's time is {moment(now_ns)} ({now_ns}). Set the clock of the dispatch system; "
            f"{SKEW_S / 60:.0f} min are tolerated"
        )
    latest_ns = now_ns + int(AHEAD_S * 1e9)
    if update.expected_ns is not None and not opened_ns - skew_ns <= update.expected_ns < latest_ns:
        raise Malformed(
            f"expected_ns is {moment(update.expected_ns)}: a visit lies between the ticket's "
            f"opening, {moment(opened_ns)}, and a year from now"
        )


def _reports(router: APIRouter, desk: Desk, people: People, doors: Doors) -> None:
    @router.put(
        "/dispatch/tickets/{key}/report",
        summary="Hand in the technician's closing report",
        description="Closes the ticket and its case; what was found is learnt. The same report "
        "again changes nothing, another one is refused. `finding` is a fault code of the machine "
        "type, `no_fault_found` or `other`.",
        openapi_extra=openapi.body(ClosingReport, EXAMPLE_REPORT),
        responses={200: openapi.answer(TicketNews, "The ticket, closed.")},
        response_class=Response,
    )
    async def put_report(
        key: CaseId,
        body: RequestBody,
        person: Annotated[Person, Depends(doors.needs(Role.DISPATCH))],
    ) -> Response:
        with audited(people, person, key):
            closing = codec.decode(body, ClosingReport)
            before = await asyncio.to_thread(_known, desk, key)
            if before.report != closing:
                await asyncio.to_thread(_fits, desk, before, closing)
                await _report(desk, key, closing)
        return _json(await asyncio.to_thread(_known, desk, key))


async def _report(desk: Desk, key: str, closing: ClosingReport) -> None:
    try:
        await desk.report(visits.case_of(key), closing)
    except Refused:  # perhaps because the same report has just come twice
        if (await asyncio.to_thread(_known, desk, key)).report != closing:
            raise


def _fits(desk: Desk, before: TicketNews, closing: ClosingReport) -> None:
    """Refuse a report that cannot be taken.

    Raises:
        Refused: the ticket is over, or another one has taken its place.
        Malformed: it names what is not known.
    """
    key = before.ticket.key
    if before.report is not None:
        raise Refused(f"ticket {key} was closed with another report; what was found stays")
    if before.state is not TicketState.OPEN:
        raise Refused(f"ticket {key} is {before.state.value}: {before.detail}")
    row = desk.store.case(visits.case_of(key))
    case = case_views.decode(row) if row is not None else None
    if case is None or case.visit is None or case.visit.key != key:
        raise Refused(f"ticket {key} is not the case's latest: report under that one")
    machine = desk.machines.get(before.ticket.asset.machine_type)
    case_views.check_finding(closing, case_views.findings(machine))
    photos = desk.store.photos.names(key)
    missing = [name for name in closing.photos if name not in photos]
    if missing:
        raise Malformed(
            f"photo {missing[0]!r} was not uploaded for ticket {key}; "
            f"POST /api/dispatch/tickets/{key}/photos takes it and says its name"
        )


def _uploads(router: APIRouter, desk: Desk, people: People, doors: Doors, incoming: Path) -> None:
    slots, drawing = asyncio.Semaphore(UPLOADS_MAX), asyncio.Semaphore(1)

    @router.post(
        "/dispatch/tickets/{key}/photos",
        status_code=201,
        summary="Upload a photo of the visit",
        description=f"The body is the photo: JPEG, PNG or WebP, at most "
        f"{PHOTO_BYTES_MAX // 1024 // 1024} MB, at most {PER_TICKET_MAX} of one ticket. It is "
        "drawn anew, without place and other metadata. The same photo again is the same name.",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    kind: {"schema": {"type": "string", "format": "binary"}}
                    for kind in ("image/jpeg", "image/png", "image/webp")
                },
            }
        },
    )
    async def post_photo(
        key: CaseId,
        request: Request,
        person: Annotated[Person, Depends(doors.needs(Role.DISPATCH))],
    ) -> PhotoTaken:
        with audited(people, person, key):
            told = await asyncio.to_thread(_known, desk, key)
            if told.state is not TicketState.OPEN:
                raise Refused(f"ticket {key} is {told.state.value}: it takes no more photos")
            if slots.locked():
                raise Unreachable(f"{UPLOADS_MAX} photos are under way: try again in a minute")
            async with slots:
                with uploads.temporary(incoming) as file:
                    await uploads.save(request, file, PHOTO_BYTES_MAX)
                    async with drawing:  # unpacked, one takes up to 200 MB
                        row = await asyncio.to_thread(
                            _photo, Path(file.name), key, person.name, desk.now_ns()
                        )
                await asyncio.to_thread(desk.store.photos.put, row)
        return PhotoTaken(name=row.name)


def _photo(path: Path, key: str, by: str, now_ns: int) -> PhotoRow:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    data = photo.kept(path)
    return PhotoRow(ticket=key, name=f"{digest[:32]}.jpg", at_ns=now_ns, by=by, data=data)


def _photos(router: APIRouter, desk: Desk, people: People, doors: Doors) -> None:
    described: Responses = {200: {"description": "The photo.", "content": {"image/jpeg": {}}}}
    for path, role in (("/dispatch/tickets", Role.DISPATCH), ("/tickets", Role.VIEWER)):

        @router.get(
            f"{path}/{{key}}/photos",
            summary="Names of a ticket's photos, the oldest first",
            dependencies=[Depends(doors.needs(role))],
            operation_id=f"read_photos_{role.value}",
        )
        def read_photos(key: CaseId) -> list[str]:
            return desk.store.photos.names(key)

        @router.get(
            f"{path}/{{key}}/photos/{{name}}",
            summary="A photo of the visit",
            dependencies=[Depends(doors.needs(role))],
            operation_id=f"read_photo_{role.value}",
            responses=described,
            response_class=Response,
        )
        def read_photo(key: CaseId, name: PhotoName) -> Response:
            row = desk.store.photos.photo(key, name)
            if row is None:
                raise HTTPException(404, f"Ticket {key!r} has no photo {name!r}.")
            return _picture(row)

    @router.delete(
        "/tickets/{key}/photos/{name}",
        status_code=204,
        summary="Delete a photo, because of who is on it or to make room",
    )
    async def delete_photo(
        key: CaseId,
        name: PhotoName,
        person: Annotated[Person, Depends(doors.needs(Role.ADMIN))],
    ) -> None:
        if not await asyncio.to_thread(desk.store.photos.delete, key, name):
            raise HTTPException(404, f"Ticket {key!r} has no photo {name!r}.")
        people.record(person.name, "photo deleted", f"{name} of ticket {key}")


def _picture(row: PhotoRow) -> Response:
    """Give out a photo so that no browser takes it for anything else."""
    headers = {
        "Cache-Control": "private, max-age=86400",
        "Content-Disposition": f'inline; filename="{row.name}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(row.data, media_type="image/jpeg", headers=headers)


def _news(desk: Desk, keys: list[str]) -> list[TicketNews]:
    """Return what was last told about tickets, in their order; without those that are none."""
    told = desk.store.told({visits.case_of(key) for key in keys})
    last = {event.subject: event for event in telling.about_tickets(told)}
    return [msgspec.json.decode(last[key].data, type=TicketNews) for key in keys if key in last]


def _known(desk: Desk, key: str) -> TicketNews:
    found = _news(desk, [key])
    if not found:
        raise HTTPException(
            404, f"There is no ticket {key!r}. GET /api/dispatch/tickets lists the open ones."
        )
    return found[0]


def _open(desk: Desk) -> list[TicketNews]:
    """Return the open tickets, the latest first: at most one for each machine."""
    rows = [row for row in desk.store.open_cases() if row.phase == Phase.DISPATCHED]
    ordered = [case_views.decode(row).visit for row in rows]
    found = _news(desk, [visit.key for visit in ordered if visit is not None])
    still = [told for told in found if told.state is TicketState.OPEN]
    return sorted(still, key=lambda told: -told.ticket.opened_ns)


@contextmanager
def audited(people: People, person: Person, key: str) -> Iterator[None]:
    """Write what is refused into the audit log."""
    try:
        yield
    except (Malformed, Refused) as error:
        people.refused(person.name, f"About ticket {key}: {error}"[:1000])
        raise
    except HTTPException as error:
        people.refused(person.name, f"About ticket {key}: {error.detail}"[:1000])
        raise


def _json(found: TicketNews | list[TicketNews]) -> Response:
    return Response(msgspec.json.encode(found), media_type="application/json")
