"""Debian's own swupdate updates itself from a real gateway, once under every fault."""

from pathlib import Path

import pytest

from cloud.core.rollout_states import UpdatePhase
from farfix.drill import swu_plan, swu_stage
from farfix.drill.swu_computer import Computer
from farfix.drill.swu_judge import Outcome, Payload
from farfix.drill.swu_plan import Fault, Run
from farfix.drill.swu_report import Report, Screen
from farfix.drill.swupdate import run
from tests import peers

SEED = 3
pytestmark = [pytest.mark.journey, pytest.mark.real, pytest.mark.timeout(600)]


def _play(folder: Path, runs: list[Run]) -> Report:
    peers.swupdate()
    with Screen(len(runs)) as screen:
        return run(folder, runs, SEED, screen)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Every fault once."""
    runs = swu_plan.runs(len(Fault), swu_stage.RELEASES, SEED)
    return _play(tmp_path_factory.mktemp("drill") / "stage", runs)


def outcome(told: Report, fault: Fault) -> Outcome:
    return next(j.outcome for j in told.judged if j.outcome.fault is fault)


def test_every_verdict_is_what_is_on_the_computer(told: Report) -> None:
    assert told.problems == []
    assert told.right == told.runs == len(Fault)
    assert told.mixed == 0
    assert set(told.ends) == set(Fault)


def test_a_download_goes_on_where_it_was_cut(told: Report) -> None:
    assert outcome(told, Fault.CUT).ranges >= 1


def test_a_client_s_untrue_word_makes_a_case(told: Report) -> None:
    for fault in (Fault.WRONG_HASH, Fault.SAYS_FAILURE, Fault.SAYS_NOTHING, Fault.SAYS_SUCCESS):
        found = outcome(told, fault)
        assert (found.phase, found.case_open) == (UpdatePhase.UNCLEAR, True)
        assert found.claimed != found.on_device == found.version


def test_the_judge_sees_a_mixed_payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer with one slot, whose connection breaks more often than swupdate tries: it gives
    up and leaves half a payload where it runs, in spite of ``atomic-install``. Were this not seen,
    the drill's "0 mixed payloads" would mean nothing."""
    monkeypatch.setattr(Computer, "spare", Computer.slot)
    planned = Run(
        number=1,
        fault=Fault.CUT,
        release=6,
        shares=[0.5 + n / 100 for n in range(8)],
        times=1,
        boot_delay_s=0.0,
        hold_s=0.0,
    )
    report = _play(tmp_path / "stage", [planned])
    (judged,) = report.judged
    assert judged.outcome.payload is Payload.MIXED
    assert any("mixed" in problem for problem in report.problems)
    assert judged.outcome.phase is UpdatePhase.UNCLEAR
    assert judged.outcome.case_open
