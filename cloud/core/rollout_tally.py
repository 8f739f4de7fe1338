"""What a rollout's machines add up to: its funnel, its limits, the bound of its evidence."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from cloud.core.rollout_states import (
    Gate,
    Limits,
    Rollout,
    StopKind,
    Update,
    UpdatePhase,
)

P = UpdatePhase
_JUDGED = (P.UPDATED, P.FAILED, P.REVERTED, P.UNCLEAR, P.WATCHING)
_REACHED = (P.INSTALLING, P.CHECKING, P.WATCHING, P.UPDATED, P.REVERTING, P.REVERTED, P.UNCLEAR)


class Tally(Struct):
    """Machines of a rollout."""

    judged: int = 0
    """Came to an end or are watched."""
    failed: int = 0
    """Failed, unclear or plainly unhealthy."""
    timed_out: int = 0
    """Never took it, never came back, or fell silent."""
    reached: int = 0
    """Have, had or may have the release."""
    harmed: int = 0
    """Failed, unclear or plainly unhealthy ones among those."""


def tally(updates: Iterable[Update]) -> Tally:
    """Count."""
    count = Tally()
    for update in updates:
        phase = update.phase
        if phase is P.WAITING or phase is P.SKIPPED:
            continue
        ended_badly = phase is P.FAILED or phase is P.UNCLEAR
        bad = bool(update.harm) or ended_badly
        if phase in _JUDGED or update.harm:
            count.judged += 1
            timed_out = update.lost or (update.timed_out and ended_badly)
            count.timed_out += timed_out
            count.failed += bad and not timed_out
        if phase in _REACHED or update.begun:
            count.reached += 1
            count.harmed += bad
    return count


def over_limit(limits: Limits, count: Tally) -> tuple[StopKind, str] | None:
    """Tell which plain limit is reached, and say so; None: none is."""
    for kind, found, least, percent, words in (
        (StopKind.FAILURES, count.failed, limits.failed_min, limits.failed_percent,
         "failed, are unclear or plainly unhealthy"),
        (StopKind.TIMEOUTS, count.timed_out, limits.timed_out_min, limits.timed_out_percent,
         "never took it, never came back or fell silent"),
    ):  # fmt: skip
        if found >= least and 100 * found >= percent * count.judged:
            share = f"{found} of {count.judged} machines {words}"
            return kind, f"{share}; the limit is {percent:g} % and at least {least}."
    return None


def log_threshold(gate: Gate, measures: int) -> float:
    """Return the log evidence that stops a rollout.

    A release that changes nothing reaches it in any of the looks and measures with at most the
    chance ``gate.false_stop`` (Ville's inequality, once for each of them).
    """
    return math.log(len(gate.looks) * measures / gate.false_stop)


def funnel(rollout: Rollout, updates: Mapping[str, Update]) -> list[dict[UpdatePhase, int]]:
    """Return for each stage how many of its machines are in which phase."""
    counts: list[Counter[UpdatePhase]] = [Counter() for _ in rollout.order.policy.stages]
    for update in updates.values():
        counts[update.stage][update.phase] += 1
    return [dict(count) for count in counts]
