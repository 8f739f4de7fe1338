"""Commands that a person or another system sends to a machine by hand: the API."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Depends, HTTPException
from pydantic import BaseModel, Field

from cloud.core.people import Person, Role
from cloud.web.api import DENIED, PROBLEMS, By, DeviceName
from cloud.web.guard import Doors, decides
from cloud.web.ports import Desk, HandOrder
from contract.commands import AnswerStatus


class CommandOrder(BaseModel):
    """A command to send at once."""

    id: str = Field(
        pattern="^[A-Za-z0-9._-]{1,64}$",
        description="Yours, another one for each order. The same order again sends nothing, so "
        "repeat a call whose answer was lost, or to see what came back.",
        examples=["shift-4711"],
    )
    name: str = Field(
        max_length=64, description="In the machine type.", examples=["set_suction_valve"]
    )
    argument: float | None = Field(
        None,
        allow_inf_nan=False,
        description="In the unit of the machine type; left out where it takes none.",
        examples=[85],
    )
    by: By = ""


class CommandSent(BaseModel):
    """A command that was sent, and what came back."""

    id: str
    status: AnswerStatus | None = Field(description="Null: the device has not answered yet.")
    reason: str
    at_ns: int | None = Field(description="When it ended at the device.")


def routes(desk: Desk, doors: Doors) -> APIRouter:
    """Return the routes under ``/api``."""
    router = APIRouter(prefix="/api", tags=["fleet"], responses=PROBLEMS | DENIED)

    @router.post(
        "/machines/{device}/commands",
        summary="Send a command by hand, at once",
        description="Not while the machine has an open case: its remedies go first. Firmware goes "
        "by rollouts. Who sent what stands in the audit log.",
    )
    async def send(
        device: DeviceName,
        asked: Annotated[CommandOrder, Body()],
        person: Annotated[Person, Depends(doors.needs(Role.ENGINEER))],
    ) -> CommandSent:
        if await asyncio.to_thread(desk.store.asset, device) is None:
            raise HTTPException(
                404, f"There is no machine {device!r} here. GET /api/fleet lists all machines."
            )
        order = HandOrder(id=asked.id, device=device, name=asked.name, argument=asked.argument)
        await desk.command(order, decides(person, asked.by))
        answer = desk.answer(order.id)
        return CommandSent(
            id=order.id,
            status=answer.status if answer else None,
            reason=answer.reason if answer else "",
            at_ns=answer.at_ns if answer else None,
        )

    return router
