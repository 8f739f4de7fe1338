"""What becomes of a command before the device is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import machines
from contract.commands import Answer, AnswerStatus, Command, Precondition
from contract.firmware import ReleaseRef
from contract.machines import Confirm
from edge.core import orders

PUMP = machines.library()["centrifugal_pump"]
NOW = 1_000_000_000_000
MINUTE = 60 * 10**9


def command(
    name: str = "set_suction_valve",
    argument: float | None = 50.0,
    expires_ns: int = NOW + MINUTE,
    precondition: Precondition | None = None,
    release: ReleaseRef | None = None,
) -> Command:
    return Command(
        id="c1",
        name=name,
        issued_ns=0,
        expires_ns=expires_ns,
        argument=argument,
        precondition=precondition,
        release=release,
    )


def release(machine_type: str = "centrifugal_pump") -> ReleaseRef:
    return ReleaseRef(machine_type=machine_type, version="1.2.3", repository="http://gateway")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_only_arguments_within_bounds_are_carried_out(argument: float) -> None:
    decision = orders.decide(command(argument=argument), PUMP, None, NOW)
    if 20 <= argument <= 100:
        assert isinstance(decision, orders.Execute)
        assert isinstance(decision.plan, orders.Write)
        assert decision.plan.value == argument
    else:
        assert isinstance(decision, orders.Refuse)
        assert "outside" in decision.reason


@given(st.integers(0, 2 * NOW))
def test_nothing_acts_at_or_after_its_expiry(expires_ns: int) -> None:
    decision = orders.decide(command(expires_ns=expires_ns), PUMP, None, NOW)
    assert isinstance(decision, orders.Expire) == (expires_ns <= NOW)


def test_a_command_that_hardly_ever_expires_is_refused() -> None:
    decision = orders.decide(command(expires_ns=NOW + 8 * 1440 * MINUTE), PUMP, None, NOW)
    assert isinstance(decision, orders.Refuse)


@given(st.integers(0, 2 * NOW), st.floats(), st.sampled_from(["set_suction_valve", "nonsense"]))
def test_a_known_id_gets_its_old_answer_whatever_else_it_says(
    expires_ns: int, argument: float, name: str
) -> None:
    old = Answer(id="c1", status=AnswerStatus.DONE, at_ns=1)
    decision = orders.decide(command(name, argument, expires_ns), PUMP, old, NOW)
    assert decision == orders.Repeat(old)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (command("explode"), "no command explode"),
        (command(argument=None), "needs an argument"),
        (command("restart", argument=1), "takes no argument"),
        (command(precondition=Precondition(signal="mood")), "no signal mood"),
        (command("update_firmware", None), "without a release"),
        (command("update_firmware", None, release=release("chiller")), "for chiller"),
        (command("revert_firmware", None), "without a release"),
        (command("revert_firmware", None, release=release("chiller")), "for chiller"),
    ],
)
def test_what_the_machine_type_does_not_know_is_refused(asked: Command, why: str) -> None:
    decision = orders.decide(asked, PUMP, None, NOW)
    assert isinstance(decision, orders.Refuse)
    assert why in decision.reason


def test_preconditions_of_type_and_command_must_both_hold() -> None:
    mine = Precondition(signal="speed_rpm", minimum=100)
    decision = orders.decide(command("restart", None, precondition=mine), PUMP, None, NOW)
    assert isinstance(decision, orders.Execute)
    good: dict[str, float | None] = {"discharge_pressure_bar": 3.0, "speed_rpm": 500.0}
    assert orders.unmet(decision.preconditions, good) == ""
    for signal, value in (("discharge_pressure_bar", 7.0), ("speed_rpm", 5.0), ("speed_rpm", None)):
        assert signal in orders.unmet(decision.preconditions, {**good, signal: value})


def test_each_kind_of_command_has_its_plan() -> None:
    pulse = orders.decide(command("restart", None), PUMP, None, NOW)
    assert isinstance(pulse, orders.Execute)
    assert isinstance(pulse.plan, orders.Pulse)
    install = orders.decide(command("update_firmware", None, release=release()), PUMP, None, NOW)
    assert isinstance(install, orders.Execute)
    assert install.plan == orders.Install(release(), 1000)
    revert = orders.decide(command("revert_firmware", None, release=release()), PUMP, None, NOW)
    assert isinstance(revert, orders.Execute)
    assert revert.plan == orders.Revert("1.2.3", 1000)


@pytest.mark.parametrize(
    ("confirm", "before", "now", "shown"),
    [
        (Confirm(signal="n", increases=True, within_s=1), 4, 5, True),
        (Confirm(signal="n", increases=True, within_s=1), 4, 4, False),
        (Confirm(signal="n", increases=True, within_s=1), None, 5, False),
        (Confirm(signal="n", increases=True, within_s=1), 4, None, False),
        (Confirm(signal="n", equals=2, within_s=1), None, 2, True),
        (Confirm(signal="n", equals=2, within_s=1), 2, 3, False),
    ],
)
def test_a_pulse_is_confirmed_by_its_signal(
    confirm: Confirm, before: float | None, now: float | None, shown: bool
) -> None:
    assert orders.confirmed(confirm, before, now) is shown
