"""The value ledger: the API."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from msgspec.structs import asdict
from pydantic import BaseModel, ConfigDict, Field

from cloud.core.ledger import Entry, EntryKind
from cloud.core.people import Role
from cloud.web.api import PROBLEMS
from cloud.web.guard import Doors
from cloud.web.value_ports import Report, Value

Month = Annotated[
    str,
    Path(pattern=r"^(19[7-9][0-9]|2[01][0-9][0-9])-(0[1-9]|1[0-2])$", examples=["2026-11"]),
]


class EntryModel(BaseModel):
    """One line of the ledger; lines are never changed, only taken back by later ones."""

    model_config = ConfigDict(frozen=True)

    key: str
    case_id: str
    device: str
    site: str
    machine_type: str
    tier: str
    at_ns: int
    kind: EntryKind
    count: float = Field(description="Visits, cases or hours.")
    amount: float | None = Field(description="In `currency`; null where no price was set.")
    currency: str
    assumptions: dict[str, float] = Field(description="What it was counted with.")
    text: str
    reverses: str = Field(description="Key of the line that it takes back; empty: none.")


class MonthModel(BaseModel):
    """What a month adds up to."""

    model_config = ConfigDict(frozen=True)

    month: str = Field(examples=["2026-11"])
    counts: dict[str, float] = Field(description="By kind, what was taken back subtracted.")
    amounts: dict[str, float] = Field(description="By kind, in the currency that is set now.")


class PricesModel(BaseModel):
    """What the operator assumes now."""

    model_config = ConfigDict(frozen=True)

    currency: str
    visit: float | None
    downtime_per_hour: float | None
    downtime_h_per_visit: float | None


class ReportModel(MonthModel):
    """One month, counted by the published rule (docs/value.md)."""

    cases: int = Field(description="Cases that ended in the month.")
    prices: PricesModel
    lines: int = Field(description="How many lines the month has; the CSV holds all.")
    entries: list[EntryModel]


def routes(value: Value, doors: Doors) -> APIRouter:
    """Return the routes."""
    needs = [Depends(doors.needs(Role.VIEWER))]
    router = APIRouter(prefix="/api/value", tags=["value"], responses=PROBLEMS, dependencies=needs)

    @router.get("", summary="Months that have lines, the latest first")
    def read_months() -> list[MonthModel]:
        return [MonthModel(**asdict(sums)) for sums in value.months()]

    @router.get("/cases/{case_id}", summary="The lines of one case")
    def read_case(case_id: Annotated[str, Path(max_length=80)]) -> list[EntryModel]:
        return [_entry(entry) for entry in value.case_entries(case_id)]

    @router.get("/{month}", summary="The report of a month")
    def read_report(
        month: Month, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
    ) -> ReportModel:
        return _report(value.report(month), limit)

    @router.get("/{month}/csv", summary="All lines of a month as CSV", response_class=Response)
    def read_csv(month: Month) -> Response:
        return _file(value.csv(month), "text/csv; charset=utf-8", f"{month}.csv")

    @router.get("/{month}/pdf", summary="The report of a month as PDF", response_class=Response)
    def read_pdf(month: Month) -> Response:
        return _file(value.pdf(month), "application/pdf", f"{month}.pdf")

    return router


def _entry(entry: Entry) -> EntryModel:
    return EntryModel(**asdict(entry))


def _report(found: Report, limit: int) -> ReportModel:
    return ReportModel(
        month=found.month,
        counts=found.counts,
        amounts=found.amounts,
        cases=found.cases,
        prices=PricesModel(**asdict(found.prices)),
        lines=len(found.entries),
        entries=[_entry(entry) for entry in found.entries[:limit]],
    )


def _file(content: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="farfix-value-{name}"'}
    return Response(content, media_type=media_type, headers=headers)
