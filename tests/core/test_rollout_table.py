"""The tables themselves: every phase has its row, what is not in it changes nothing."""

from itertools import product

import pytest
from msgspec import structs

from cloud.core import rollout as core
from cloud.core import rollout_diagram, updating
from cloud.core.rollout_states import (
    ACTIVE,
    ENDED,
    ENDS,
    Approved,
    Canceled,
    Compared,
    Event,
    Facts,
    Fetched,
    Paused,
    Phase,
    Report,
    Reported,
    Resumed,
    StopAsked,
    Ticked,
    UpdatePhase,
)
from cloud.core.updating import Cause, Rule, Scene, Word
from contract.errors import Malformed
from tests.core.rollout_scenes import NEW, OLD, T0, S, order
from tests.core.rollout_scenes import Scene as Play

P = UpdatePhase
CAUSES: list[Cause] = [Ticked, Fetched, *Report, *Word]
NOW = T0 + 10**6 * S
EVENTS: list[Event] = [
    Ticked({}),
    Reported("m0", 100_001, Report.SUCCESS, NOW),
    Fetched("m0", 100_001),
    Compared("m0", 0, [0.5, 0.5]),
    Approved("Grace"),
    Paused("Grace"),
    Resumed("Grace"),
    Canceled("Grace"),
    StopAsked("Grace"),
]


def news(cause: Cause) -> updating.News:
    if isinstance(cause, Report):
        return Reported("m0", 100_001, cause, NOW)
    if cause is Fetched:
        return Fetched("m0", 100_001)
    return Facts(version=NEW, version_ns=NOW)


@pytest.mark.parametrize(
    ("phase", "cause"),
    list(product(UpdatePhase, CAUSES)),
    ids=lambda part: getattr(part, "value", ""),
)
def test_every_pair_of_an_update_goes_where_the_table_says_or_changes_nothing(
    phase: UpdatePhase, cause: Cause
) -> None:
    scene = Scene(order=order(), phase=Phase.RUNNING, of_case=False, action=100_002, now_ns=NOW)
    update = structs.replace(
        Play(1).updates["m0"], phase=phase, action=100_001, entered_ns=T0, deadline_ns=T0 + S,
        from_version=OLD, attempts=1, version=OLD, version_ns=T0, watched_ns=T0,
        report=Report.SUCCESS if phase is P.CHECKING else Report.NOTHING,
    )  # fmt: skip
    moved, effects = updating.advance(scene, update, cause, news(cause))
    rule = updating.TABLE[phase].get(cause)
    if rule is None:
        assert (moved, effects) == (update, ())
    elif moved.phase is not phase:
        assert moved.phase in rule.to
        assert effects, "every transition is recorded"
        assert moved.entered_ns == NOW
    assert (moved.action == 100_002) == (moved.phase in (P.OFFERED, P.REVERTING) and moved != update
                                         and moved.phase is not phase)  # fmt: skip


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, EVENTS)), ids=str)
def test_every_pair_of_a_rollout_goes_where_the_table_says_or_changes_nothing(
    phase: Phase, event: Event
) -> None:
    scene = Play(3)
    rollout = structs.replace(scene.rollout, phase=phase)
    moved, changed, effects = core.step(rollout, scene.updates, event, NOW)
    rule = core.TABLE[phase].get(type(event))
    if rule is None:
        assert (moved, changed, effects) == (rollout, {}, ())
    elif moved.phase is not phase:
        assert moved.phase in rule.to
        assert moved.entered_ns == NOW
        assert effects


def test_every_phase_has_its_row_and_can_be_reached() -> None:
    assert set(updating.TABLE) == set(UpdatePhase)
    targets = {to for rules in updating.TABLE.values() for rule in rules.values() for to in rule.to}
    assert targets == set(UpdatePhase)
    assert set(core.TABLE) == set(Phase)
    targets_ = {to for rules in core.TABLE.values() for rule in rules.values() for to in rule.to}
    assert targets_ == set(Phase) - {Phase.PROPOSED}


def test_time_moves_everything_that_is_open_and_nothing_that_has_ended_well() -> None:
    for phase in ACTIVE:
        assert updating.TABLE[phase][Ticked].to, f"{phase} could last for ever"
    assert updating.TABLE[P.UPDATED].keys() == {Word.GO_BACK}
    assert all(not core.TABLE[phase][Ticked].to for phase in ENDED)


def test_nothing_leaves_an_end_but_to_be_taken_back_or_doubted() -> None:
    for phase in ENDS:
        left = {to for rule in updating.TABLE[phase].values() for to in rule.to}
        allowed = {P.UNCLEAR, P.REVERTING} if phase is P.UPDATED else {P.UNCLEAR}
        assert left <= allowed


def test_an_install_begins_nowhere_but_from_waiting() -> None:
    for phase, rules in updating.TABLE.items():
        offers = any(P.OFFERED in rule.to for rule in rules.values())
        assert offers == (phase is P.WAITING)


def test_a_rule_that_leads_elsewhere_than_declared_fails_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Play(1)
    rules = {k: Rule(r.handle, frozenset()) for k, r in updating.TABLE[P.WAITING].items()}
    monkeypatch.setattr(updating, "TABLE", {**updating.TABLE, P.WAITING: rules})
    with pytest.raises(AssertionError, match="which the table does not declare"):
        scene.tick()
    monkeypatch.undo()
    barred = {k: core.Rule(r.handle, frozenset()) for k, r in core.TABLE[Phase.RUNNING].items()}
    monkeypatch.setattr(core, "TABLE", {**core.TABLE, Phase.RUNNING: barred})
    with pytest.raises(AssertionError, match="which the table does not declare"):
        scene.feed(Paused("Ada"))


def test_the_diagrams_show_every_transition() -> None:
    drawn = rollout_diagram.updates().splitlines()
    for phase, rules in updating.TABLE.items():
        for to in {to for rule in rules.values() for to in rule.to}:
            assert sum(f"    {phase} --> {to}:" in line for line in drawn) == 1
    drawn = rollout_diagram.rollouts().splitlines()
    for start, events in core.TABLE.items():
        for event, rule_ in events.items():
            for to_ in rule_.to:
                [line] = [text for text in drawn if f" {start} --> {to_}:" in text]
                assert event.__name__ in line


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff"])
def test_what_was_not_stored_by_us_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="cannot be read"):
        core.decode_rollout(data)
    with pytest.raises(Malformed, match="cannot be read"):
        core.decode_update(data)
