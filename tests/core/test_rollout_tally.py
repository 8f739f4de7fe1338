"""What machines add up to, and which plain limit that reaches."""

from typing import Any

from cloud.core.rollout_states import Limits, StopKind, Update, UpdatePhase
from cloud.core.rollout_tally import over_limit, tally


def update(phase: UpdatePhase, **fields: Any) -> Update:
    return Update(number=1, device="pump-1", site="north", stage=0, phase=phase, **fields)


WELL = update(UpdatePhase.WATCHING)
ALARM = update(UpdatePhase.REVERTING, harm="its detector is in alarm")
LOST = update(UpdatePhase.REVERTING, harm="nothing comes from it", lost=True)


def stopped_by(*updates: Update) -> StopKind | None:
    found = over_limit(Limits(), tally(updates))
    return found[0] if found else None


def test_two_machines_in_alarm_stop_a_first_stage() -> None:
    assert stopped_by(WELL, WELL, WELL, ALARM, ALARM) is StopKind.FAILURES


def test_who_falls_silent_counts_with_who_never_came_back() -> None:
    assert stopped_by(WELL, WELL, WELL, LOST, LOST) is None
    assert stopped_by(WELL, WELL, LOST, LOST, LOST) is StopKind.TIMEOUTS
    assert tally([LOST]).harmed == 1


def test_a_machine_that_failed_to_install_counts_and_one_that_waits_does_not() -> None:
    failed = update(UpdatePhase.FAILED)
    assert stopped_by(failed, failed, update(UpdatePhase.WAITING)) is StopKind.FAILURES
    late = update(UpdatePhase.FAILED, timed_out=True)
    assert stopped_by(late, late, WELL) is None
