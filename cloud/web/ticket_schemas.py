"""What the API answers about tickets. Times are ns since 1970 UTC, in plant time."""

from pydantic import BaseModel, ConfigDict, Field

from cloud.web.schemas import CaseBrief, VisitView
from contract.faults import Severity
from contract.tickets import TicketState


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class TicketBrief(_View):
    """One line about a ticket."""

    key: str
    case_id: str
    title: str
    state: TicketState
    late: bool = Field(description="Still open after it was due.")
    visit: VisitView | None = Field(description="Null: a later ticket took its place.")
    device: str
    machine_title: str
    site: str
    severity: Severity
    reason: str = Field(examples=["attempts_exhausted"])
    reason_text: str = Field(examples=["All remote attempts were used up"])
    reason_detail: str
    opened_ns: int
    due_ns: int
    tried: list[str] = Field(description="What was tried remotely, in sentences.")
    parts: list[str]
    skills: list[str]
    safety_notes: list[str]
    forecast: str = Field(description="Until when to book a visit, as known when it was written.")
    service_level: str = Field(description="What was promised to whom, in a sentence.")
    case: CaseBrief | None


class CauseView(_View):
    """One likely cause, and what a technician does about it."""

    title: str
    probability: float
    evidence: list[str]
    to_do: list[str]


class TicketDetail(TicketBrief):
    """A work order as the technician needs it."""

    delivery: str = Field(
        description="waiting, delivered or failed; nobody: no system is told of it.",
        examples=["delivered"],
    )
    machine_type_title: str
    serial: str
    address: str
    firmware: str
    fault_title: str
    first_seen_ns: int
    seen: list[str] = Field(description="What deviated, in sentences.")
    causes: list[CauseView] = Field(description="The likeliest first.")
