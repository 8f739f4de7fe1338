"""The table itself: complete, closed, and drawn as it is."""

import pytest

from cloud.core import case as life
from cloud.core import diagram
from cloud.core.case import TABLE, Rule
from cloud.core.states import TERMINAL, Phase
from contract.errors import Malformed
from tests.core.scenes import Scene, ns


def test_every_phase_has_its_row_and_the_last_ones_are_empty() -> None:
    assert set(TABLE) == set(Phase)
    assert {phase for phase, rules in TABLE.items() if not rules} == set(TERMINAL)


def test_every_phase_can_be_reached_and_every_open_one_left() -> None:
    targets = {to for rules in TABLE.values() for rule in rules.values() for to in rule.to}
    assert targets == set(Phase) - {Phase.OBSERVING}
    for phase, rules in TABLE.items():
        assert bool({to for rule in rules.values() for to in rule.to}) == (phase not in TERMINAL)


def test_a_rule_that_leads_elsewhere_than_declared_fails_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = {
        phase: {event: Rule(rule.handle, frozenset()) for event, rule in rules.items()}
        for phase, rules in TABLE.items()
    }
    monkeypatch.setattr(life, "TABLE", broken)
    scene = Scene("restart")
    with pytest.raises(AssertionError, match="which the table does not declare"):
        scene.feed(life.EscalationAsked("Ada"), 10)


def test_the_diagram_shows_every_transition_of_the_table() -> None:
    drawn = diagram.mermaid()
    for phase, rules in TABLE.items():
        for event, rule in rules.items():
            for to in rule.to:
                [line] = [text for text in drawn.splitlines() if f"{phase} --> {to}:" in text]
                assert event.__name__ in line


def test_cases_and_events_survive_storage() -> None:
    scene = Scene("restart")
    scene.sick(10)
    assert life.decode_case(life.encode_case(scene.case)) == scene.case
    event = life.Evidence(ns(1), healthy=True)
    assert life.decode_event(life.encode_event(event)) == event


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"type":"Party"}', b"\xff"])
def test_what_was_not_stored_by_us_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="cannot be read"):
        life.decode_case(data)
    with pytest.raises(Malformed, match="cannot be read"):
        life.decode_event(data)
