"""Rollouts in plain words, and words of people read as rollouts; console and tools say the same."""

import re

import msgspec

from cloud.core.rollout_states import Phase, Report, Stage, StopKind, UpdatePhase, Window
from contract.errors import Malformed

PHASE = {
    Phase.PROPOSED: "Proposed by a case",
    Phase.AWAITING_APPROVAL: "Needs a second person",
    Phase.RUNNING: "Running",
    Phase.PAUSED: "Paused",
    Phase.STOPPING: "Stopping",
    Phase.CANCELLING: "Being cancelled",
    Phase.STOPPED: "Stopped",
    Phase.CANCELED: "Cancelled",
    Phase.FINISHED: "Finished",
}

UPDATE = {
    UpdatePhase.WAITING: "waiting",
    UpdatePhase.OFFERED: "offered",
    UpdatePhase.INSTALLING: "installing",
    UpdatePhase.CHECKING: "version being read",
    UpdatePhase.WATCHING: "watched",
    UpdatePhase.CANCELLING: "being called back",
    UpdatePhase.REVERTING: "going back",
    UpdatePhase.UPDATED: "updated",
    UpdatePhase.FAILED: "failed",
    UpdatePhase.REVERTED: "went back",
    UpdatePhase.CANCELED: "called back",
    UpdatePhase.SKIPPED: "skipped",
    UpdatePhase.UNCLEAR: "unclear",
}

REPORT = {
    Report.NOTHING: "nothing yet",
    Report.TAKEN: "has begun",
    Report.SUCCESS: "success",
    Report.FAILURE: "failure",
    Report.REFUSED: "refused",
    Report.UNREACHED: "not reached",
    Report.CANCELED: "called back in time",
    Report.CANCEL_REFUSED: "too late to call back",
}
"""What the installer on the machine says; nobody takes it for the truth."""

STOP = {
    StopKind.FAILURES: "Too many machines failed, or are unhealthy with it",
    StopKind.TIMEOUTS: "Too many machines did not take it or did not come back",
    StopKind.HEALTH: "Updated machines run worse than the others",
    StopKind.PERSON: "A person stopped it",
}

_UNIT_S = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_STAGE = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")
STAGES_MAX = 20


def duration_s(text: str) -> float:
    """Read a span such as ``30min``, ``1h`` or ``1.5 h``, in seconds.

    Raises:
        Malformed: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise Malformed(f"{text!r} is no span of time: write for example 45s, 30min, 1h or 2d")
    return float(found[1]) * _UNIT_S[found[2]]


def stages(text: str, soak_s: float) -> list[Stage]:
    """Read stages such as ``5, 2%, 10%, 100%``: machines, or percent of the selected ones.

    Each counts all machines so far together; whether they grow is for the rules to say.

    Raises:
        Malformed: a part is neither a number of machines nor a percentage.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > STAGES_MAX:
        raise Malformed(f"{len(parts)} stages are too many: at most {STAGES_MAX}")
    return [_stage(part, soak_s) for part in parts]


def _stage(part: str, soak_s: float) -> Stage:
    found = _STAGE.fullmatch(part)
    if found is None:
        raise Malformed(f"{part!r} is no stage: write machines, as 5, or percent, as 10%")
    number = float(found[1])
    if found[2]:
        if not 0 < number <= 100:
            raise Malformed(f"stage {part!r}: percent lie above 0 and go up to 100")
        return Stage(percent=number, soak_s=soak_s)
    if number != int(number) or not 1 <= number <= 100_000:
        raise Malformed(f"stage {part!r}: machines are a whole number from 1 to 100000")
    return Stage(count=int(number), soak_s=soak_s)


def window(start: str, hours: str, timezone: str) -> Window:
    """Read a maintenance window; whether its time zone exists is for the rules to say.

    Raises:
        Malformed: the hours are no number, or a part is out of bounds.
    """
    try:
        asked = {"start": start, "hours": float(hours), "timezone": timezone}
        return msgspec.convert(asked, Window)
    except ValueError as error:  # msgspec's is one
        raise Malformed(f"maintenance window: {error}") from error


def stage(found: Stage) -> str:
    """Say how far a stage goes."""
    if found.count is not None:
        return f"{found.count} machines" if found.count != 1 else "1 machine"
    return f"{found.percent:g} %"


def machines(count: int) -> str:
    """Write a number of machines."""
    return "1 machine" if count == 1 else f"{count:,} machines".replace(",", "\N{NO-BREAK SPACE}")


def size(count_bytes: int) -> str:
    """Write a size, as ``43.1 kB``."""
    if count_bytes < 1000:
        return f"{count_bytes} B"
    if count_bytes < 1_000_000:
        return f"{count_bytes / 1e3:.1f} kB"
    return f"{count_bytes / 1e6:.1f} MB"
