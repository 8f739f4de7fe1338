"""The REST API of rollouts, the audit log and machines' DDI tokens."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query
from msgspec import Meta, Struct

from cloud.core.people import Person, Role
from cloud.core.rollout_states import ROLLOUTS_MAX, Order, UpdatePhase
from cloud.web import rollout_views
from cloud.web.api import DENIED, PROBLEMS, Decision, DeviceName
from cloud.web.guard import BY_MAX, Doors, RequestBody, decides
from cloud.web.rollout_ports import RolloutAction, Rollouts
from cloud.web.rollout_schemas import (
    AuditEntry,
    DeviceView,
    HealthView,
    PreviewView,
    RolloutBrief,
    RolloutView,
    TokenView,
    UpdatePage,
)
from cloud.web.rollout_views import RolloutViews
from contract.errors import Malformed

T = TypeVar("T")
Door = Callable[..., Person]
Number = Annotated[int, Path(ge=1, le=ROLLOUTS_MAX, examples=[7])]
Before = Annotated[
    int | None, Query(ge=1, le=2**63 - 1, description="Only what is older than this number.")
]
By = Annotated[
    str,
    Query(max_length=BY_MAX, description="Who decides; only with the gateway's own token."),
]


class Creation(Struct, frozen=True, forbid_unknown_fields=True):
    """A rollout that somebody asks for."""

    order: Order
    by: Annotated[str, Meta(max_length=BY_MAX)] = ""
    """Who asks; only with the gateway's own token, else whose token it is."""


SUMMARIES: dict[RolloutAction, str] = {
    "approve": "Agree to a rollout of high risk, or take up what a case proposes",
    "pause": "Begin no further machine",
    "resume": "Go on after a pause",
    "cancel": "End it; machines that were updated stay so",
    "stop": "Stop it; machines that were updated go back",
}


def routes(rollouts: Rollouts, doors: Doors) -> APIRouter:
    """Return the routes under ``/api``."""
    views, engineer = RolloutViews(rollouts), doors.needs(Role.ENGINEER)
    reads = APIRouter(dependencies=[Depends(doors.needs(Role.VIEWER))])
    _reads(reads, views)
    _audit(reads, views)
    router = APIRouter(prefix="/api", responses=PROBLEMS)
    router.include_router(reads)
    _writes(router, rollouts, views, engineer)
    _devices(router, rollouts, views, engineer)
    _tokens(router, rollouts, views, doors.needs(Role.ADMIN))
    return router


def _found(view: T | None, what: str) -> T:
    if view is None:
        raise HTTPException(404, what)
    return view


def _rollout(views: RolloutViews, number: int) -> RolloutView:
    return _found(views.rollout(number), _no_rollout(number))[0]


def _no_rollout(number: int) -> str:
    return f"There is no rollout {number}. GET /api/rollouts lists them."


def _reads(router: APIRouter, views: RolloutViews) -> None:
    @router.get("/rollouts", tags=["rollouts"], summary="Rollouts, the newest first")
    def read_rollouts(
        limit: Annotated[int, Query(ge=1, le=200)] = 50, before: Before = None
    ) -> list[RolloutBrief]:
        return views.rollouts(limit, before)

    @router.get("/rollouts/{number}", tags=["rollouts"], summary="One rollout with its stages")
    def read_rollout(number: Number) -> RolloutView:
        return _rollout(views, number)

    @router.get(
        "/rollouts/{number}/updates", tags=["rollouts"], summary="Its machines, by name, in pages"
    )
    def read_updates(
        number: Number,
        phase: Annotated[UpdatePhase | None, Query(description="Only these.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        after: Annotated[str, Query(max_length=64, description="A machine's name.")] = "",
    ) -> UpdatePage:
        return _found(views.updates(number, phase, limit, after), _no_rollout(number))

    @router.get(
        "/rollouts/{number}/health",
        tags=["rollouts"],
        summary="Updated machines beside those not updated",
    )
    def read_health(number: Number) -> HealthView:
        _rollout(views, number)
        return _found(
            views.health(number), f"Rollout {number} has no machines to compare with each other."
        )

    @router.get(
        "/devices/{device}", tags=["devices"], summary="What is kept about a machine's updates"
    )
    def read_device(device: DeviceName) -> DeviceView:
        return _device(views, device)


def _writes(router: APIRouter, rollouts: Rollouts, views: RolloutViews, engineer: Door) -> None:
    @router.post(
        "/rollouts/preview",
        tags=["rollouts"],
        summary="What a rollout would do, machine by machine; nothing is begun",
        dependencies=[
            Depends(engineer)
        ],  # it changes nothing, but is work for thousands of machines
        responses=DENIED,
        openapi_extra={"requestBody": _body(Order)},
    )
    def preview(body: RequestBody) -> PreviewView:
        order = _decode(body, Order)
        return rollout_views.preview(order, rollouts.preview(order))

    @router.post(
        "/rollouts",
        status_code=201,
        tags=["rollouts"],
        summary="Begin a rollout",
        description="Where the risk is high, a second person must approve it first.",
        responses=DENIED,
        openapi_extra={"requestBody": _body(Creation)},
    )
    async def create(
        body: RequestBody, person: Annotated[Person, Depends(engineer)]
    ) -> RolloutView:
        asked = _decode(body, Creation)
        made = await rollouts.create(asked.order, decides(person, asked.by))
        return await asyncio.to_thread(_rollout, views, made.number)

    for action, summary in SUMMARIES.items():
        route = router.post(
            f"/rollouts/{{number}}/{action}",
            tags=["rollouts"],
            summary=summary,
            responses=DENIED,
        )
        route(_decide(rollouts, views, action, engineer))


def _decide(
    rollouts: Rollouts, views: RolloutViews, action: RolloutAction, engineer: Door
) -> Callable[..., object]:
    async def decide(
        number: Number,
        decision: Annotated[Decision, Body()],
        person: Annotated[Person, Depends(engineer)],
    ) -> RolloutView:
        await asyncio.to_thread(_rollout, views, number)
        await rollouts.decide(number, action, decides(person, decision.by), decision.why)
        return await asyncio.to_thread(_rollout, views, number)

    return decide


def _audit(router: APIRouter, views: RolloutViews) -> None:
    @router.get("/audit", tags=["operation"], summary="Who did what, the newest first")
    def read_audit(
        rollout: Annotated[int, Query(ge=0, le=ROLLOUTS_MAX, description="0: all.")] = 0,
        device: Annotated[str, Query(max_length=64, description="Empty: all.")] = "",
        before: Before = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[AuditEntry]:
        return views.audit(limit, before, rollout, device)


def _device(views: RolloutViews, device: str) -> DeviceView:
    return _found(
        views.device(device),
        f"There is no machine {device!r} here. GET /api/fleet lists all machines.",
    )


def _devices(router: APIRouter, rollouts: Rollouts, views: RolloutViews, engineer: Door) -> None:
    @router.post(
        "/devices/{device}/release",
        tags=["devices"],
        summary="Let a machine out of quarantine, to take part in rollouts again",
        responses=DENIED,
    )
    async def release(
        device: DeviceName,
        decision: Annotated[Decision, Body()],
        person: Annotated[Person, Depends(engineer)],
    ) -> DeviceView:
        await asyncio.to_thread(_device, views, device)
        await rollouts.release_from_quarantine(device, decides(person, decision.by))
        return await asyncio.to_thread(_device, views, device)


def _tokens(router: APIRouter, rollouts: Rollouts, views: RolloutViews, admin: Door) -> None:
    @router.post(
        "/devices/{device}/token",
        status_code=201,
        tags=["devices"],
        summary="Make the machine's DDI token, in place of an older one",
        description="The answer is the only place where it is ever shown.",
        responses=DENIED,
    )
    async def issue_token(
        device: DeviceName,
        decision: Annotated[Decision, Body()],
        person: Annotated[Person, Depends(admin)],
    ) -> TokenView:
        await asyncio.to_thread(_device, views, device)
        token = await rollouts.issue_token(device, decides(person, decision.by))
        return TokenView(device=device, token=token)

    @router.delete(
        "/devices/{device}/token",
        status_code=204,
        tags=["devices"],
        summary="Cut the machine off",
        responses=DENIED,
    )
    async def revoke_token(
        device: DeviceName, person: Annotated[Person, Depends(admin)], by: By = ""
    ) -> None:
        await asyncio.to_thread(_device, views, device)
        await rollouts.revoke_token(device, decides(person, by))


def _decode(body: bytes, kind: type[T]) -> T:
    """Read what somebody asks for.

    Raises:
        Malformed: names the field and says what is wrong with it.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the body: {error}") from error


def _body(kind: type[Struct]) -> dict[str, Any]:
    """Return a request body's schema, which msgspec owns, in OpenAPI's words."""
    (schema,), parts = msgspec.json.schema_components([kind])
    return {
        "required": True,
        "content": {"application/json": {"schema": _inlined(schema, parts)}},
    }


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:  # noqa: ANN401 (JSON has no type)
    """Put each part in the place that refers to it; none of ours holds itself."""
    if isinstance(schema, list):
        return [_inlined(entry, parts) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"].rsplit("/", 1)[1]], parts)
    return {key: _inlined(value, parts) for key, value in schema.items()}
