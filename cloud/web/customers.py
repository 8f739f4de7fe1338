"""Customers: who is told about their machines, what they were told, what they answered."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from msgspec.structs import asdict
from pydantic import BaseModel, ConfigDict, Field

from cloud.core.people import Person, Role
from cloud.web import problems
from cloud.web.api import PROBLEMS
from cloud.web.customer_ports import Customers
from cloud.web.guard import Doors


class CustomerModel(BaseModel):
    """One customer."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    language: str
    contacts: int = Field(description="How many places they are told at.")
    opted_out: bool
    machines: list[str]


class ToldModel(BaseModel):
    """One message to one customer."""

    model_config = ConfigDict(frozen=True)

    key: str
    customer: str
    case_id: str
    moment: str = Field(examples=["visit_planned"])
    text: str
    at_ns: int
    due_ns: int = Field(description="Later than `at_ns` where quiet hours held it back.")
    state: str = Field(description="waiting, sent, failed, opted_out or superseded.")
    error: str


class RatingModel(BaseModel):
    """What a customer said afterwards."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    customer: str
    stars: int = Field(ge=1, le=5)
    text: str
    at_ns: int


def routes(customers: Customers, doors: Doors) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/customers", tags=["customers"], responses=PROBLEMS)
    reads = [Depends(doors.needs(Role.VIEWER))]

    @router.get("", summary="Who is told about their machines", dependencies=reads)
    def read_customers() -> list[CustomerModel]:
        return [CustomerModel(**asdict(c)) for c in customers.customers()]

    @router.get("/messages", summary="What they were told, newest first", dependencies=reads)
    def read_messages(
        case: Annotated[str, Query(max_length=80)] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[ToldModel]:
        return [ToldModel(**asdict(told)) for told in customers.told(case, limit)]

    @router.get("/ratings", summary="What they answered, newest first", dependencies=reads)
    def read_ratings(limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[RatingModel]:
        return [RatingModel(**asdict(rating)) for rating in customers.ratings(limit)]

    @router.post(
        "/{name}/test",
        summary="Send a test message to every contact of a customer",
        status_code=204,
        responses={409: {"model": problems.Problem}},
    )
    async def test(
        name: Annotated[str, Path(max_length=64)],
        person: Annotated[Person, Depends(doors.needs(Role.ADMIN))],
    ) -> None:
        await customers.test(name, person.name)

    return router
