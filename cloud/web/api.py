"""The REST API: fleet, machines, cases, tickets and what was quarantined."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query
from pydantic import BaseModel, Field

from cloud.core.people import Person, Role
from cloud.core.states import Phase
from cloud.web import case_views, openapi, problems
from cloud.web.guard import BY_MAX, Doors, RequestBody, decides
from cloud.web.ports import Action, Desk
from cloud.web.schemas import (
    CaseBrief,
    CaseDetail,
    Fleet,
    Machine,
    QuarantineEntry,
    Telemetry,
)
from cloud.web.ticket_schemas import TicketBrief, TicketDetail
from cloud.web.views import MAX_POINTS, Views
from contract import codec
from contract.errors import Malformed
from contract.tickets import ClosingReport

T = TypeVar("T")
Responses = dict[int | str, dict[str, Any]]  # as FastAPI declares it
HOUR_NS = 3600 * 10**9
MAX_NS = 2**63 - 1

DeviceName = Annotated[str, Path(examples=["pump-1"], max_length=64)]
CaseId = Annotated[str, Path(max_length=80)]
PROBLEMS: Responses = {
    status: {"model": problems.Problem, "content": {problems.MEDIA_TYPE: {}}}
    for status in (404, 422, 503)
}
EXAMPLE_REPORT = {
    "finding": "no_fault_found",
    "notes": "Filter was clean.",
    "technician": "J. Doe",
    "checklist": [{"question": "Leaks?", "answer": "none"}],
}
DENIED: Responses = {
    status: {"model": problems.Problem, "content": {problems.MEDIA_TYPE: {}}}
    for status in (401, 403, 409, 413)
}


By = Annotated[
    str,
    Field(
        max_length=BY_MAX,
        description="Who decides; only with the gateway's own token, else whose token it is.",
        examples=["J. Doe, shift lead"],
    ),
]


class Decision(BaseModel):
    """A person's decision about a case."""

    by: By = ""
    why: str = Field("", max_length=1000, description="In a sentence, for the timeline.")


class Trial(BaseModel):
    """A remedy that a person wants tried."""

    remedy: str = Field(max_length=64, description="Its code.", examples=["restart_controller"])
    by: By = ""


class Pause(BaseModel):
    """How long the customer asked to wait."""

    until_ns: int = Field(ge=0, le=MAX_NS, description="In plant time.")
    why: str = Field("", max_length=1000, description="In a sentence, for the timeline.")
    by: By = ""


def _found(view: T | None, what: str) -> T:
    if view is None:
        raise HTTPException(404, what)
    return view


def routes(desk: Desk, views: Views, doors: Doors) -> APIRouter:
    """Return the routes under ``/api``."""
    reads = APIRouter(dependencies=[Depends(doors.needs(Role.VIEWER))])
    _fleet_routes(reads, desk, views)
    _case_reads(reads, views)
    router = APIRouter(prefix="/api", responses=PROBLEMS)
    router.include_router(reads)
    _case_writes(router, desk, views, doors)
    return router


def _fleet_routes(router: APIRouter, desk: Desk, views: Views) -> None:
    @router.get("/fleet", tags=["fleet"], summary="All machines, the most urgent first")
    def read_fleet() -> Fleet:
        return views.fleet()

    @router.get("/machines/{device}", tags=["fleet"], summary="One machine, now")
    def read_machine(device: DeviceName) -> Machine:
        return _machine(views.machine(device), device)

    @router.get(
        "/machines/{device}/telemetry", tags=["fleet"], summary="Signals and score over time"
    )
    def read_telemetry(
        device: DeviceName,
        signals: Annotated[
            str, Query(description="Names, separated by commas; empty means all.", max_length=4000)
        ] = "",
        from_ns: Annotated[
            int | None,
            Query(alias="from", ge=0, le=MAX_NS, description="Default: an hour before `to`."),
        ] = None,
        to_ns: Annotated[
            int | None, Query(alias="to", ge=0, le=MAX_NS, description="Default: now.")
        ] = None,
        max_points: Annotated[int, Query(ge=1, le=MAX_POINTS)] = 500,
    ) -> Telemetry:
        end_ns = desk.now_ns() if to_ns is None else to_ns
        begin_ns = max(0, end_ns - HOUR_NS) if from_ns is None else from_ns
        if begin_ns >= end_ns:
            raise Malformed("'from' must lie before 'to'; both are ns since 1970 UTC")
        names = [name for name in signals.split(",") if name]
        known = [s.name for s in _machine(views.machine(device), device).signals]
        strangers = [name for name in names if name not in known]
        if strangers:
            raise Malformed(f"{device} has no signal {strangers[0]!r}; it has {', '.join(known)}")
        return _found(
            views.telemetry(device, names, begin_ns, end_ns, max_points),
            f"The type of machine {device!r} is not known here.",
        )

    @router.get("/troubles", tags=["operation"], summary="What people should know of the gateway")
    def read_troubles() -> list[str]:
        return desk.troubles()

    @router.get("/quarantine", tags=["fleet"], summary="Messages that were refused, and why")
    def read_quarantine() -> list[QuarantineEntry]:
        return views.quarantine()


def _machine(machine: Machine | None, device: str) -> Machine:
    return _found(
        machine, f"There is no machine {device!r} here. GET /api/fleet lists all machines."
    )


def _case_reads(router: APIRouter, views: Views) -> None:
    @router.get("/cases", tags=["cases"], summary="Cases, the latest first")
    def read_cases(
        device: Annotated[str | None, Query(max_length=64)] = None,
        state: Annotated[Phase | None, Query(description="Only cases in this phase.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[CaseBrief]:
        return views.cases(device=device, phase=state, limit=limit)

    @router.get(
        "/cases/{case_id}", tags=["cases"], summary="The whole story of a case, with its timeline"
    )
    def read_case(case_id: CaseId) -> CaseDetail:
        return _case(views, case_id)

    @router.get("/tickets", tags=["tickets"], summary="Tickets, the latest first")
    def read_tickets() -> list[TicketBrief]:
        return views.tickets()

    @router.get("/tickets/{key}", tags=["tickets"], summary="One ticket")
    def read_ticket(key: CaseId) -> TicketDetail:
        return _found(views.ticket(key), f"There is no ticket {key!r}.")


def _case(views: Views, case_id: str) -> CaseDetail:
    return _found(views.case(case_id), f"There is no case {case_id!r}. GET /api/cases lists them.")


SUMMARIES: dict[Action, str] = {
    "approve": "Agree to the next remedy",
    "reject": "Turn the next remedy down",
    "escalate": "Order a visit now",
    "dismiss": "Call it a wrong alarm",
}


def _case_writes(router: APIRouter, desk: Desk, views: Views, doors: Doors) -> None:
    operator = doors.needs(Role.OPERATOR)
    for action, summary in SUMMARIES.items():
        path = f"/cases/{{case_id}}/{action}"
        route = router.post(path, tags=["cases"], summary=summary, responses=DENIED)
        route(_decide(desk, views, action, operator))

    _tries(router, desk, views, doors.needs(Role.ENGINEER))
    _pauses(router, desk, views, operator)

    @router.post(
        "/cases/{case_id}/report",
        tags=["tickets"],
        summary="Hand in the technician's closing report",
        description="Closes the case; the finding is kept as a label for learning.",
        openapi_extra=openapi.body(ClosingReport, EXAMPLE_REPORT),
        dependencies=[Depends(operator)],
        responses=DENIED,
    )
    async def report(case_id: CaseId, body: RequestBody) -> CaseDetail:
        case = await asyncio.to_thread(_case, views, case_id)
        closing = codec.decode(body, ClosingReport)
        case_views.check_finding(closing, case.findings)
        await desk.report(case_id, closing)
        return await asyncio.to_thread(_case, views, case_id)


def _tries(router: APIRouter, desk: Desk, views: Views, engineer: Callable[..., Person]) -> None:
    @router.post(
        "/cases/{case_id}/try",
        tags=["cases"],
        summary="Try a remedy next; whoever asks for it agrees to it",
        responses=DENIED,
    )
    async def attempt(
        case_id: CaseId,
        trial: Annotated[Trial, Body()],
        person: Annotated[Person, Depends(engineer)],
    ) -> CaseDetail:
        await asyncio.to_thread(_case, views, case_id)
        await desk.attempt(case_id, trial.remedy, decides(person, trial.by))
        return await asyncio.to_thread(_case, views, case_id)


def _pauses(router: APIRouter, desk: Desk, views: Views, operator: Callable[..., Person]) -> None:
    @router.post(
        "/cases/{case_id}/pause",
        tags=["cases"],
        summary="Let the promise's clock stand still, because the customer asked to wait",
        responses=DENIED,
    )
    async def pause(
        case_id: CaseId,
        wish: Annotated[Pause, Body()],
        person: Annotated[Person, Depends(operator)],
    ) -> CaseDetail:
        await asyncio.to_thread(_case, views, case_id)
        await desk.pause(case_id, decides(person, wish.by), wish.why, wish.until_ns)
        return await asyncio.to_thread(_case, views, case_id)

    @router.post(
        "/cases/{case_id}/resume",
        tags=["cases"],
        summary="Let the promise's clock run again",
        responses=DENIED,
    )
    async def resume(
        case_id: CaseId,
        decision: Annotated[Decision, Body()],
        person: Annotated[Person, Depends(operator)],
    ) -> CaseDetail:
        await asyncio.to_thread(_case, views, case_id)
        await desk.resume(case_id, decides(person, decision.by))
        return await asyncio.to_thread(_case, views, case_id)


def _decide(
    desk: Desk, views: Views, action: Action, operator: Callable[..., Person]
) -> Callable[..., object]:
    async def decide(
        case_id: CaseId,
        decision: Annotated[Decision, Body()],
        person: Annotated[Person, Depends(operator)],
    ) -> CaseDetail:
        await asyncio.to_thread(_case, views, case_id)
        await desk.decide(case_id, action, decides(person, decision.by), decision.why)
        return await asyncio.to_thread(_case, views, case_id)

    return decide
