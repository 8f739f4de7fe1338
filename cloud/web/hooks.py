"""Webhook endpoints and deliveries: the API."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Response
from msgspec import Struct

from cloud.core.people import Person, Role
from cloud.web import openapi
from cloud.web.api import DENIED, PROBLEMS
from cloud.web.guard import Doors, RequestBody
from cloud.web.hook_ports import Delivery, DeliveryAttempt, Endpoint, EndpointOrder, Hooks
from contract.errors import Malformed

EndpointId = Annotated[str, Path(min_length=1, max_length=40, examples=["config"])]
DeliveryId = Annotated[int, Path(ge=1, le=2**31 - 1, examples=[7])]
EXAMPLE = {
    "name": "dispatch",
    "url": "https://dispatch.example.com/hooks/farfix",
    "format": "farfix",
    "events": ["farfix.ticket.opened", "farfix.ticket.withdrawn", "farfix.ticket.closed"],
}
SWITCHES = {
    True: "Send to it again, first what it has missed of tickets that matter to it",
    False: "Send nothing more to it; what waits is given up",
}


class Created(Struct, frozen=True):
    """An endpoint with what its receiver must know; never shown again."""

    endpoint: Endpoint
    secret: str
    """``whsec_...``, or ``whpk_...`` for ed25519; empty for formats of other systems."""


class Rotated(Struct, frozen=True):
    """A new secret; the old one signs beside it for a day."""

    secret: str


def routes(hooks: Hooks, doors: Doors) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/webhooks", tags=["webhooks"], responses=PROBLEMS | DENIED)
    admin = Annotated[Person, Depends(doors.needs(Role.ADMIN))]
    viewer = Depends(doors.needs(Role.VIEWER))
    _deliveries(router, hooks, viewer, admin)
    _endpoints(router, hooks, viewer, admin)
    _states(router, hooks, admin)
    return router


def _endpoints(router: APIRouter, hooks: Hooks, viewer: Any, admin: Any) -> None:  # noqa: ANN401
    @router.get(
        "",
        summary="All endpoints and how they stand",
        dependencies=[viewer],
        responses=_said(list[Endpoint]),
    )
    def read_endpoints() -> Response:
        return _json(hooks.endpoints())

    @router.post(
        "",
        status_code=201,
        summary="Add an endpoint",
        description="The answer is the only place where its secret is ever shown.",
        openapi_extra=openapi.body(EndpointOrder, EXAMPLE),
        responses={201: openapi.answer(Created, "It was added.")},
    )
    async def create(person: admin, body: RequestBody) -> Response:
        endpoint, secret = await hooks.create(_order(body), person.name)
        return _json(Created(endpoint, secret), 201)

    @router.put(
        "/{endpoint}",
        summary="Change an endpoint",
        description="A setting that reads `(hidden)` stays what it was.",
        openapi_extra=openapi.body(EndpointOrder, EXAMPLE),
        responses=_said(Endpoint),
    )
    async def change(person: admin, endpoint: EndpointId, body: RequestBody) -> Response:
        await _known(hooks, endpoint)
        return _json(await hooks.change(endpoint, _order(body), person.name))

    @router.delete("/{endpoint}", status_code=204, summary="Remove it and what waits for it")
    async def delete(person: admin, endpoint: EndpointId) -> None:
        await _known(hooks, endpoint)
        await hooks.delete(endpoint, person.name)


def _states(router: APIRouter, hooks: Hooks, admin: Any) -> None:  # noqa: ANN401
    @router.post(
        "/{endpoint}/rotate", summary="Make a new secret, shown once", responses=_said(Rotated)
    )
    async def rotate(person: admin, endpoint: EndpointId) -> Response:
        await _known(hooks, endpoint)
        return _json(Rotated(await hooks.rotate(endpoint, person.name)))

    for verb, enabled in (("enable", True), ("disable", False)):
        route = router.post(
            f"/{{endpoint}}/{verb}", summary=SWITCHES[enabled], responses=_said(Endpoint)
        )
        route(_switch(hooks, admin, enabled=enabled))

    @router.post(
        "/{endpoint}/test",
        summary="Send a test event now and tell what came of it",
        responses=_said(Delivery),
    )
    async def test(person: admin, endpoint: EndpointId) -> Response:
        await _known(hooks, endpoint)
        return _json(await hooks.test(endpoint, person.name))


def _switch(hooks: Hooks, admin: Any, *, enabled: bool) -> Any:  # noqa: ANN401
    async def switch(person: admin, endpoint: EndpointId) -> Response:
        await _known(hooks, endpoint)
        return _json(await hooks.enable(endpoint, person.name, enabled=enabled))

    return switch


def _deliveries(router: APIRouter, hooks: Hooks, viewer: Any, admin: Any) -> None:  # noqa: ANN401
    @router.get(
        "/deliveries",
        summary="Deliveries, the newest first",
        dependencies=[viewer],
        responses=_said(list[Delivery]),
    )
    def read_deliveries(
        endpoint: Annotated[str, Query(max_length=40, description="Empty: all.")] = "",
        state: Literal["", "waiting", "delivered", "dead", "dropped"] = "",
        subject: Annotated[
            str, Query(max_length=120, description="Key of a ticket, or a case; empty: all.")
        ] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        return _json(hooks.deliveries(endpoint, state, subject, limit))

    @router.get(
        "/deliveries/{delivery}/attempts",
        summary="The requests of one delivery",
        dependencies=[viewer],
        responses=_said(list[DeliveryAttempt]),
    )
    def read_attempts(delivery: DeliveryId) -> Response:
        return _json(hooks.attempts(delivery))

    @router.post(
        "/deliveries/{delivery}/replay",
        summary="Try again what was given up, under its old id",
        responses=_said(Delivery),
    )
    async def replay(person: admin, delivery: DeliveryId) -> Response:
        return _json(await hooks.replay(delivery, person.name))


async def _known(hooks: Hooks, endpoint: str) -> None:
    found = await asyncio.to_thread(hooks.endpoints)
    if all(one.id != endpoint for one in found):
        raise HTTPException(404, "There is no such endpoint. GET /api/webhooks lists all.")


def _order(body: bytes) -> EndpointOrder:
    try:
        return msgspec.json.decode(body, type=EndpointOrder)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the body: {error}") from error


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _said(kind: Any) -> dict[int | str, dict[str, Any]]:  # noqa: ANN401
    return {200: openapi.answer(kind, "As it is now.")}
