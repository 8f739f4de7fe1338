"""What keeps automatic remedies from doing harm in numbers: the fleet's limits, in one function."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from cloud.core.wording import span
from contract.telemetry import Name

Count = Annotated[int, Meta(ge=1, le=100_000)]
Seconds = Annotated[float, Meta(gt=0, le=30 * 86400)]

NS = 10**9
DAY_S = 86400.0


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits beyond a single case."""

    storm_machines: Count = 5
    """More machines of one type than this, falling ill together, stop automatic remedies."""
    storm_percent: Annotated[float, Meta(gt=0, le=100)] = 20.0
    """The same as a share of all machines of the type; the larger of both counts."""
    storm_window_s: Seconds = 900.0
    """How close together their cases must have begun."""
    in_flight_per_site: Count = 3
    """Remedies that may be under way at one site at the same time."""
    cooldown_s: Seconds = 3600.0
    """The same remedy is not used again on a device for the same fault within this time."""
    attempts_per_day: Count = 6
    """Remedies that may act on one device within 24 hours, over all its cases."""
    returns_days: Annotated[float, Meta(gt=0, le=365)] = 14.0
    """The same fault within so many days after it was fixed is the same case: it reopens."""


class Tried(Struct, frozen=True):
    """A remedy that acted, or may have acted, on the device in the last 24 hours."""

    remedy: Name
    fault: Name
    at_ns: int


class Fleet(Struct, frozen=True, kw_only=True):
    """What one case must know of all the others (see `cloud.core.fleet.view`)."""

    machines_of_type: int = 1
    sick_of_type: int = 1
    """Machines of the type with an open case begun within the storm window, this one included."""
    in_flight_at_site: int = 0
    """Other cases of the site whose remedy is under way."""
    tried: list[Tried] = []
    updating: str = ""
    """Which rollout is, or was just, at work on the machine, in words; empty: none."""
    limits: Limits = Limits()


class Permission(StrEnum):
    """What the limits say to one remedy now."""

    GO = "go"
    WAIT = "wait"
    SKIP = "skip"
    """Not this remedy; the next one may."""
    STOP = "stop"
    """No remedy at all."""


class Verdict(Struct, frozen=True):
    """A permission and, unless it is GO, the rule behind it and the reason in words."""

    permission: Permission
    rule: str = ""
    why: str = ""


def permit(remedy: str, fault: str, fleet: Fleet, now_ns: int) -> Verdict:
    """Tell whether a remedy may be used on the device at all: daily budget and cooldown."""
    limits = fleet.limits
    today = [t for t in fleet.tried if now_ns - t.at_ns < DAY_S * NS]
    if len(today) >= limits.attempts_per_day:
        return Verdict(
            Permission.STOP,
            "attempts_per_day",
            f"{len(today)} remedies have acted on this machine within 24 h and "
            f"{limits.attempts_per_day} are allowed",
        )
    for earlier in today:
        ago_s = (now_ns - earlier.at_ns) / NS
        if (earlier.remedy, earlier.fault) == (remedy, fault) and ago_s < limits.cooldown_s:
            return Verdict(
                Permission.SKIP,
                "cooldown",
                f"it was used {span(ago_s)} ago and the fault is back "
                f"(not again within {span(limits.cooldown_s)})",
            )
    return Verdict(Permission.GO)


def untouched(fleet: Fleet) -> Verdict:
    """Tell whether the machine is left to the case alone.

    While it is not, neither a remedy nor a visit is decided: what is seen may be the update.
    """
    if not fleet.updating:
        return Verdict(Permission.GO)
    why = f"{fleet.updating}, and two hands on one machine are too many"
    return Verdict(Permission.WAIT, "updating", why)


def start(fleet: Fleet, *, person_agreed: bool) -> Verdict:
    """Tell whether a remedy that is allowed may start now: storm brake and site limit.

    The storm brake stops automatic remedies only. What falls ill together usually has one cause,
    and a person who has looked at it may go on.
    """
    limits = fleet.limits
    storm = max(limits.storm_machines, fleet.machines_of_type * limits.storm_percent / 100)
    if fleet.sick_of_type > storm and not person_agreed:
        return Verdict(
            Permission.WAIT,
            "storm",
            f"{fleet.sick_of_type} of {fleet.machines_of_type} machines of this type fell ill "
            f"within {span(limits.storm_window_s)}: a common cause is likely, so automatic "
            "remedies rest. A person may look and approve this one",
        )
    if fleet.in_flight_at_site >= limits.in_flight_per_site:
        return Verdict(
            Permission.WAIT,
            "in_flight_per_site",
            f"{fleet.in_flight_at_site} remedies are under way at this site and "
            f"{limits.in_flight_per_site} are allowed at a time",
        )
    return Verdict(Permission.GO)
