"""Who is there: edge agents and the devices behind them."""

from typing import Annotated

from msgspec import Meta

from contract.codec import Message
from contract.telemetry import TimeNs


class Status(Message, frozen=True, kw_only=True, omit_defaults=True):
    """State of an agent or of one device behind it; retained.

    The agent leaves ``online = false`` with its broker as last will. A device's status says whether
    the agent reaches it. ``at_ns`` is when the state began; a will carries the time it was left.
    """

    online: bool
    at_ns: TimeNs
    agent: Annotated[str, Meta(max_length=64)]
    """Which agent says so; equal to the topic's device for the agent's own status."""
    machine_type: Annotated[str, Meta(max_length=64)] = ""
    firmware: Annotated[str, Meta(max_length=32)] = ""
    boot_count: int | None = None
    """The device's own boot counter, where its register map has one."""
    hardware: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The device's hardware revision, where its update block shows one."""
    reason: Annotated[str, Meta(max_length=500)] = ""
    """Why it is offline, for people."""
    spool_bytes: int = 0
    """Bytes of telemetry that the gateway has not acknowledged."""
    spool_dropped: int = 0
    """Batches that the agent had to drop so far."""
    spool_oldest_ns: Annotated[int, Meta(ge=0)] = 0
    """Event time of the oldest batch that waits; 0 when none does."""
    spool_full: Annotated[str, Meta(max_length=300)] = ""
    """Why batches are being lost at present and what helps, for people; empty while none are."""
