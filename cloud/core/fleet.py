"""From all cases to what one of them must know of the others."""

from collections.abc import Iterable

from cloud.core.evidence import NS
from cloud.core.limits import DAY_S, Fleet, Limits, Tried
from cloud.core.states import MAY_HAVE_ACTED, Case, Phase


def view(
    case: Case,
    cases: Iterable[Case],
    machines_of_type: int,
    limits: Limits,
    now_ns: int,
    *,
    updating: str = "",
) -> Fleet:
    """Look at the fleet from one case.

    ``cases`` holds every open case and the device's own cases of the last 24 hours, the case itself
    among them or not. Make a new view after each step that sent a command: it counts for the next.
    """
    others = [other for other in cases if other.case_id != case.case_id]
    since_ns = now_ns - int(limits.storm_window_s * NS)
    sick = sum(
        other.machine_type == case.machine_type and other.open and other.opened_ns >= since_ns
        for other in others
    )
    in_flight = sum(
        other.site == case.site and other.phase in (Phase.FIXING, Phase.VERIFYING)
        for other in others
    )
    day_ns = now_ns - int(DAY_S * NS)
    tried = [
        Tried(attempt.step.remedy, attempt.step.fault, attempt.sent_ns)
        for other in [*others, case]
        if other.device == case.device
        for attempt in [*other.earlier, *other.attempts]
        if attempt.reply in MAY_HAVE_ACTED and attempt.sent_ns > day_ns
    ]
    return Fleet(
        machines_of_type=machines_of_type,
        sick_of_type=sick + 1,
        in_flight_at_site=in_flight,
        tried=tried,
        updating=updating,
        limits=limits,
    )
