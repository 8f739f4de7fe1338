"""When an event is sent again, and when to stop: from one attempt and its outcome.

All times are plant time, so a demonstration at 30x repeats 30 times faster.
"""

import hashlib
from enum import StrEnum
from typing import Final

from msgspec import Struct

DELAYS_S: Final = (
    5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
)  # fmt: skip
"""Waits after the first, second ... attempt: what Standard Webhooks recommends, three days."""
JITTER = 0.2
"""Waits are spread over so much more, so that many gateways do not come back at once."""
PATIENCE = 4
"""Attempts for an answer that says the request itself is wrong. A receiver that is being installed
or a key that was changed on one side only is put right within the half hour that this takes; what
is still refused then will be refused for ever, and people hear of it days earlier."""
RETRY_AFTER_MAX_S = 86_400.0
"""Of plant time. A receiver may ask for a longer wait; nobody would know why nothing comes."""
FAILING_MAX_NS = 5 * 86_400 * 10**9
"""An endpoint that has only failed for so long is disabled: the schedule's three days and some."""
GONE = 410


class DeliveryState(StrEnum):
    """What has become of one event for one endpoint."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; it can be replayed."""
    DROPPED = "dropped"
    """Never tried, because too many others waited already; it can be replayed."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one attempt."""

    status: int | None
    """HTTP status of the answer; None: there was none."""
    error: str = ""
    """Empty: the receiver has it."""
    lasting: bool = False
    """The same request will not be taken later either."""
    retry_after_s: float | None = None
    """What the receiver asked for, in plant time."""


class Next(Struct, frozen=True):
    """How a delivery goes on."""

    state: DeliveryState
    attempts: int
    due_ns: int


def after(attempts: int, outcome: Outcome, now_ns: int, jitter: float) -> Next:
    """Return how a delivery goes on after an attempt.

    Args:
        attempts: how many were made before this one.
        outcome: of this one.
        now_ns: when it ended.
        jitter: 0 to 1.
    """
    if not outcome.error:
        return Next(DeliveryState.DELIVERED, attempts + 1, now_ns)
    if outcome.status == GONE:  # nothing is wrong with the event: it shares its endpoint's fate
        return Next(DeliveryState.WAITING, attempts, now_ns)
    made = attempts + 1
    if made > len(DELAYS_S) or (outcome.lasting and made >= PATIENCE):
        return Next(DeliveryState.DEAD, made, now_ns)
    wait_s = DELAYS_S[made - 1] * (1 + JITTER * jitter)
    asked_s = min(outcome.retry_after_s or 0.0, RETRY_AFTER_MAX_S)
    return Next(DeliveryState.WAITING, made, now_ns + int(max(wait_s, asked_s) * 1e9))


def disabled(outcome: Outcome, failing_since_ns: int | None, now_ns: int) -> str:
    """Say why nothing more is to be sent to an endpoint; empty: go on.

    Args:
        outcome: of the latest attempt.
        failing_since_ns: of the first attempt after the last that was taken.
        now_ns: now.
    """
    if not outcome.error:
        return ""
    if outcome.status == GONE:
        return "It answered 410: it does not want events any more."
    if failing_since_ns is not None and now_ns - failing_since_ns >= FAILING_MAX_NS:
        days = FAILING_MAX_NS // (86_400 * 10**9)
        return f"It has taken nothing for {days} days. Last: {outcome.error}"
    return ""


def message_id(event_id: str) -> str:
    """Return an event's ``webhook-id``: without dots, which part the words that are signed."""
    return "msg_" + hashlib.sha256(event_id.encode()).hexdigest()[:32]
