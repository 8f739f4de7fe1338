"""One machine's update: what its installer says, what it runs, and what time does."""

import pytest
from msgspec import structs

from cloud.core.rollout_states import (
    Canceled,
    Disagreement,
    Fetched,
    Install,
    Phase,
    Quarantine,
    Report,
    Reported,
    Revert,
    StopAsked,
    UpdatePhase,
)
from tests.core.rollout_scenes import NEW, OLD, POLICY, Scene

P = UpdatePhase
VERDICTS = [Report.SUCCESS, Report.FAILURE]


@pytest.fixture
def scene() -> Scene:
    """Return a rollout to one machine, which has been offered the release."""
    found = Scene(1)
    found.tick()
    assert found.phase("m0") is P.OFFERED
    return found


def opened_case(scene: Scene) -> bool:
    return any(isinstance(effect, Disagreement) for effect in scene.effects)


def test_three_must_agree_report_version_and_health(scene: Scene) -> None:
    [install] = [e for e in scene.effects if isinstance(e, Install)]
    assert (install.device, install.action) == ("m0", 100_001)
    assert install.expires_ns == scene.now_ns + 7200 * 10**9
    scene.feed(Fetched("m0", install.action))
    assert scene.phase("m0") is P.INSTALLING
    scene.say("m0", Report.SUCCESS)
    assert scene.phase("m0") is P.CHECKING
    scene.tick()
    assert scene.phase("m0") is P.CHECKING, "the old version is read: it may restart yet"
    scene.runs["m0"] = NEW
    scene.tick()
    assert scene.phase("m0") is P.WATCHING
    scene.tick(1799)
    assert scene.phase("m0") is P.WATCHING
    scene.tick(2)
    assert scene.phase("m0") is P.UPDATED
    assert not opened_case(scene)


def test_a_version_read_before_the_report_proves_nothing(scene: Scene) -> None:
    scene.facts["m0"] = {"version": NEW, "version_ns": scene.now_ns}
    scene.now_ns += 1
    scene.say("m0", Report.SUCCESS)
    scene.tick(1)
    assert scene.phase("m0") is P.CHECKING


@pytest.mark.parametrize("begins", [True, False])
def test_success_without_the_version_is_not_believed(scene: Scene, begins: bool) -> None:
    if begins:
        scene.say("m0", Report.TAKEN)
    scene.say("m0", Report.SUCCESS)
    scene.tick(599)
    assert scene.phase("m0") is P.CHECKING
    scene.tick(2)
    assert scene.phase("m0") is P.UNCLEAR
    assert opened_case(scene)
    assert not scene.updates["m0"].timed_out


def test_success_and_then_nothing_is_a_timeout_and_unclear(scene: Scene) -> None:
    scene.say("m0", Report.SUCCESS)
    scene.facts["m0"] = {"version": "", "version_ns": 0}
    scene.tick(601)
    assert scene.phase("m0") is P.UNCLEAR
    assert scene.updates["m0"].timed_out


def test_failure_although_it_was_replaced_opens_a_case(scene: Scene) -> None:
    scene.runs["m0"] = NEW
    scene.say("m0", Report.FAILURE)
    scene.tick()
    assert scene.phase("m0") is P.UNCLEAR
    assert opened_case(scene)


def test_a_failure_is_tried_again_and_then_put_in_quarantine(scene: Scene) -> None:
    first = scene.updates["m0"].action
    scene.say("m0", Report.FAILURE)
    scene.tick()
    assert scene.phase("m0") is P.WAITING
    scene.tick(280)
    assert scene.phase("m0") is P.WAITING
    scene.tick(30)
    assert scene.phase("m0") is P.OFFERED
    assert scene.updates["m0"].action == first + 1
    scene.say("m0", Report.FAILURE)
    scene.tick()
    assert scene.phase("m0") is P.FAILED
    assert [e.device for e in scene.effects if isinstance(e, Quarantine)] == ["m0"]
    assert not opened_case(scene)


def test_a_machine_that_turns_out_to_be_replaced_is_not_tried_again(scene: Scene) -> None:
    scene.say("m0", Report.FAILURE)
    scene.tick()
    scene.runs["m0"] = NEW
    scene.tick()
    assert scene.phase("m0") is P.UNCLEAR


def test_a_machine_that_has_failed_and_then_runs_the_release_is_unclear() -> None:
    scene = Scene(3)
    scene.tick()
    device = scene.all(P.OFFERED)[0]
    scene.say(device, Report.REFUSED)
    assert scene.phase(device) is P.FAILED
    scene.runs[device] = NEW
    scene.tick()
    assert scene.phase(device) is P.UNCLEAR


def test_who_refuses_is_not_asked_again(scene: Scene) -> None:
    scene.say("m0", Report.REFUSED)
    assert scene.phase("m0") is P.FAILED
    assert not any(isinstance(e, Quarantine) for e in scene.effects)


def test_who_is_not_reached_is_tried_again_and_then_has_timed_out(scene: Scene) -> None:
    scene.say("m0", Report.UNREACHED)
    assert scene.phase("m0") is P.WAITING
    scene.tick(301)
    scene.say("m0", Report.UNREACHED)
    assert scene.phase("m0") is P.FAILED
    assert scene.updates["m0"].timed_out


def test_what_is_never_taken_is_called_back_before_it_is_given_up(scene: Scene) -> None:
    scene.tick(7199)
    assert scene.phase("m0") is P.OFFERED
    scene.tick(2)
    assert scene.phase("m0") is P.CANCELLING
    scene.tick(1801)
    assert scene.phase("m0") is P.FAILED
    assert scene.updates["m0"].timed_out


def test_what_is_never_taken_by_a_machine_that_is_not_read_is_unclear(scene: Scene) -> None:
    scene.facts["m0"] = {"version": "", "version_ns": 0, "silent": True}
    scene.tick(7200)
    scene.tick(1801)
    assert scene.phase("m0") is P.CANCELLING, "a reading may come yet"
    scene.tick(600)
    assert scene.phase("m0") is P.UNCLEAR


def test_who_takes_it_and_never_comes_back_is_called_back_and_then_unclear(scene: Scene) -> None:
    scene.say("m0", Report.TAKEN)
    scene.tick(1801)
    assert scene.phase("m0") is P.CANCELLING
    scene.tick(1801)
    assert scene.phase("m0") is P.UNCLEAR
    assert scene.updates["m0"].timed_out


def test_late_success_while_it_is_called_back_counts_if_the_version_is_read(scene: Scene) -> None:
    scene.say("m0", Report.TAKEN)
    scene.tick(1801)
    scene.install("m0")
    scene.tick()
    assert scene.phase("m0") is P.WATCHING
    assert not scene.updates["m0"].timed_out


def test_a_word_of_progress_buys_no_time(scene: Scene) -> None:
    scene.say("m0", Report.TAKEN)
    for _ in range(181):
        scene.tick(10)
        scene.say("m0", Report.TAKEN)
    assert scene.phase("m0") is P.CANCELLING


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("off", [-1, 1, 100_000])
def test_a_report_about_another_action_is_only_recorded(
    scene: Scene, verdict: Report, off: int
) -> None:
    before = scene.updates
    scene.say("m0", verdict, scene.updates["m0"].action + off)
    assert scene.updates == before
    assert "not its open one" in scene.said("stray report")[0]
    scene.feed(Fetched("m0", scene.updates["m0"].action + off))
    assert scene.updates == before


def test_the_first_verdict_counts(scene: Scene) -> None:
    scene.say("m0", Report.TAKEN)
    scene.install("m0")
    before = scene.updates
    for report in (Report.FAILURE, Report.SUCCESS, Report.TAKEN, Report.REFUSED):
        assert scene.say("m0", report) == ()
    assert scene.updates == before


def test_a_report_from_the_future_waits_for_no_future_reading(scene: Scene) -> None:
    scene.runs["m0"] = NEW
    ahead = Reported("m0", scene.updates["m0"].action, Report.SUCCESS, scene.now_ns * 2)
    scene.feed(ahead)
    scene.tick()
    assert scene.phase("m0") is P.WATCHING


def test_a_machine_that_falls_back_by_itself_is_unclear(scene: Scene) -> None:
    scene.install("m0")
    scene.tick()
    read_ns = scene.updates["m0"].version_ns
    scene.facts["m0"] = {"version": OLD, "version_ns": read_ns}
    scene.tick()
    assert scene.phase("m0") is P.WATCHING, "that reading is no newer"
    scene.facts["m0"] = {"version": OLD}
    scene.tick()
    assert scene.phase("m0") is P.UNCLEAR


@pytest.mark.parametrize("sick", [{"alarm": True}, {"silent": True}])
def test_a_plainly_unhealthy_machine_goes_back_at_once(scene: Scene, sick: dict[str, bool]) -> None:
    scene.install("m0")
    scene.tick()
    watched = scene.updates["m0"].action
    scene.facts["m0"] = dict(sick)
    scene.tick(119)
    scene.tick(2)
    assert scene.phase("m0") is P.WATCHING, "it has only just settled"
    scene.tick(119)
    assert scene.phase("m0") is P.WATCHING
    scene.tick(2)
    assert scene.phase("m0") is P.REVERTING
    [revert] = [e for e in scene.effects if isinstance(e, Revert)]
    assert (revert.version, revert.action) == (OLD, watched + 1)
    scene.runs["m0"], scene.facts["m0"] = OLD, {}
    scene.say("m0", Report.SUCCESS)
    scene.tick()
    assert scene.phase("m0") is P.REVERTED
    assert scene.updates["m0"].harm


def test_a_blink_is_no_harm(scene: Scene) -> None:
    scene.install("m0")
    scene.tick()
    for i in range(30):
        scene.facts["m0"] = {"alarm": i % 2 == 0}
        scene.tick(100)
        if scene.phase("m0") is P.UPDATED:
            break
    assert scene.phase("m0") is P.UPDATED
    assert not scene.updates["m0"].harm


def test_without_going_back_harm_is_remembered() -> None:
    scene = Scene(1, structs.replace(POLICY, revert=False))
    scene.tick()
    scene.install("m0")
    scene.tick()
    scene.facts["m0"] = {"alarm": True}
    for _ in range(20):
        scene.tick(100)
    assert scene.phase("m0") is P.UPDATED
    assert scene.updates["m0"].harm == "With 1.1.0, its detector is in alarm."


def test_a_machine_that_is_never_read_again_does_not_end_updated(scene: Scene) -> None:
    scene.install("m0")
    scene.tick()
    scene.facts["m0"] = {"version": "", "version_ns": 0}
    scene.tick(1801)
    assert scene.phase("m0") is P.WATCHING
    scene.tick(600)
    assert scene.phase("m0") is P.UNCLEAR


@pytest.mark.parametrize("report", [Report.CANCELED, Report.REFUSED, Report.UNREACHED])
def test_what_is_called_back_in_time_is_canceled(scene: Scene, report: Report) -> None:
    scene.feed(Canceled("Ada"))
    assert scene.phase("m0") is P.CANCELLING
    scene.say("m0", report)
    scene.tick()
    assert scene.phase("m0") is P.CANCELED
    assert scene.rollout.phase is Phase.CANCELED


def test_what_was_called_back_but_runs_the_release_goes_back(scene: Scene) -> None:
    scene.feed(Canceled("Ada"))
    scene.runs["m0"] = NEW
    scene.say("m0", Report.CANCELED)
    scene.tick()
    assert scene.phase("m0") is P.REVERTING


def test_what_cannot_be_called_back_goes_on_and_then_goes_back(scene: Scene) -> None:
    scene.say("m0", Report.TAKEN)
    scene.feed(StopAsked("Ada"))
    scene.say("m0", Report.CANCEL_REFUSED)
    scene.tick()
    assert scene.phase("m0") is P.INSTALLING, "it is not asked twice"
    scene.install("m0")
    scene.tick()
    assert scene.phase("m0") is P.REVERTING
    scene.until(Phase.STOPPED)
    assert scene.phase("m0") is P.REVERTED


def test_what_cannot_be_called_back_and_never_ends_is_unclear(scene: Scene) -> None:
    scene.say("m0", Report.TAKEN)
    scene.feed(StopAsked("Ada"))
    scene.say("m0", Report.CANCEL_REFUSED)
    scene.tick(1801)
    assert scene.phase("m0") is P.UNCLEAR


def reverting(scene: Scene) -> None:
    scene.install("m0")
    scene.tick()
    scene.feed(StopAsked("Ada"))
    scene.tick()
    assert scene.phase("m0") is P.REVERTING


def test_going_back_needs_the_version_after_the_word(scene: Scene) -> None:
    reverting(scene)
    scene.say("m0", Report.SUCCESS)
    scene.tick()
    assert scene.phase("m0") is P.REVERTING
    scene.tick(600)
    assert scene.phase("m0") is P.UNCLEAR


def test_going_back_without_a_word_ends_a_little_later(scene: Scene) -> None:
    reverting(scene)
    scene.runs["m0"] = OLD
    scene.tick()
    assert scene.phase("m0") is P.REVERTING, "its verdict is outstanding"
    scene.tick(601)
    assert scene.phase("m0") is P.REVERTED


@pytest.mark.parametrize("report", [Report.REFUSED, Report.UNREACHED])
def test_a_machine_that_is_back_already_may_refuse_to_go_back(scene: Scene, report: Report) -> None:
    reverting(scene)
    scene.runs["m0"] = OLD
    scene.say("m0", report)
    scene.say("m0", Report.TAKEN)
    assert scene.updates["m0"].report is report, "words out of order change nothing"
    scene.tick()
    assert scene.phase("m0") is P.REVERTED


def test_going_back_that_fails_is_unclear(scene: Scene) -> None:
    reverting(scene)
    scene.say("m0", Report.FAILURE)
    assert scene.phase("m0") is P.UNCLEAR
    assert opened_case(scene)


def test_a_machine_that_never_goes_back_is_unclear(scene: Scene) -> None:
    reverting(scene)
    scene.tick(7201)
    assert scene.phase("m0") is P.UNCLEAR


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"busy": "case 7 is open"}, "case 7 is open"),
        ({"elsewhere": True}, "another rollout"),
        ({"silent": True}, "nothing comes from it"),
        ({"version": ""}, "version is not known"),
    ],
)
def test_a_machine_that_cannot_be_begun_waits_and_is_left_out_in_the_end(
    odd: dict[str, object], why: str
) -> None:
    scene = Scene(1)
    scene.facts["m0"] = odd
    scene.tick()
    assert scene.phase("m0") is P.WAITING
    assert why in scene.updates["m0"].detail
    scene.tick(7199)
    assert scene.phase("m0") is P.WAITING
    scene.tick(2)
    assert scene.phase("m0") is P.SKIPPED


def test_waiting_for_a_machine_begins_anew_when_it_was_free() -> None:
    scene = Scene(1, structs.replace(POLICY, limits=structs.replace(POLICY.limits, retry_s=0)))
    scene.facts["m0"] = {"busy": "a ticket"}
    scene.tick()
    scene.facts["m0"] = {}
    scene.tick(5000)
    scene.tick()
    assert scene.phase("m0") is P.OFFERED


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"quarantined": "broke twice"}, "in quarantine"),
        ({"version": NEW}, "runs it already"),
        ({"version": "2.0.0"}, "runs a newer version"),
    ],
)
def test_a_machine_that_fits_no_more_is_left_out(odd: dict[str, object], why: str) -> None:
    scene = Scene(1)
    scene.facts["m0"] = odd
    scene.tick()
    assert scene.phase("m0") is P.SKIPPED
    assert why in scene.updates["m0"].detail


def test_while_the_gateway_was_down_nobody_has_failed(scene: Scene) -> None:
    scene.say("m0", Report.SUCCESS)
    scene.now_ns += 7200 * 10**9
    scene.facts["m0"] = {"version": "", "version_ns": 0}
    listening_ns = scene.now_ns
    scene.listening_ns = listening_ns
    scene.tick()
    assert scene.phase("m0") is P.CHECKING
    scene.runs["m0"], scene.facts["m0"] = NEW, {}
    scene.tick(500)
    assert scene.phase("m0") is P.WATCHING
    scene.facts["m0"] = {"silent": True, "version": ""}
    scene.tick(200)
    scene.listening_ns = scene.now_ns = scene.now_ns + 7200 * 10**9
    scene.tick()
    assert scene.phase("m0") is P.WATCHING, "silence is counted from when we listen again"


def test_the_first_word_about_going_back_counts(scene: Scene) -> None:
    reverting(scene)
    scene.say("m0", Report.SUCCESS)
    before = scene.updates
    scene.now_ns += 60 * 10**9
    for report in (Report.FAILURE, Report.SUCCESS, Report.REFUSED, Report.TAKEN):
        assert scene.say("m0", report) == ()
    assert scene.updates == before
