"""Hundreds of rollouts on bad machines: no end is a lie, every one ends, and the machines were bad.

More seeds and single stories: ``python tests/simulation/rollouts.py --help``.
"""

import pytest

from cloud.core import rollout_states as states
from cloud.core import update_proof
from cloud.core.rollout_states import Facts
from tests.simulation.plant_floor import HABITS
from tests.simulation.rollouts import Figures, run, run_many

SEEDS = range(300)


@pytest.fixture(scope="module")
def figures() -> Figures:
    return run_many(SEEDS)


def test_no_end_is_a_lie_and_every_rollout_ends(figures: Figures) -> None:
    assert figures.problems == []


def test_good_machines_are_nearly_always_updated(figures: Figures) -> None:
    good = {
        name.split(": ")[1]: count
        for name, count in figures.sometimes.items()
        if name.startswith("good: ")
    }
    went_on = sum(good.get(end, 0) for end in ("updated", "failed", "unclear"))
    assert good["updated"] > 0.8 * went_on


def test_the_machines_were_bad(figures: Figures) -> None:
    sometimes = [f"habit: {habit}" for habit in HABITS if habit != "already there"]
    sometimes += [f"stop: {kind.value}" for kind in states.StopKind]
    sometimes += [
        "gateway down",
        "message doubled",
        "command expired",
        "author tried to approve",
        "quarantine",
        "Reported changed nothing",
        "Compared changed nothing",
        "record: stray report",
        "record: called back",
        "record: goes on",
        "record: harmed",
        "record: again",
        "record: taken up",
        "record: resumed",
        "failed, and changed later",
        "updated, and changed later",
        "good: updated",
        "good: reverted",
        "failure although replaced: unclear",
        "success without a change: unclear",
        "reports to the wrong action: unclear",
        "success before its restart: updated",
        "in alarm with the release: reverted",
        "silent with the release: unclear",
        "takes too long: updated",
    ]
    never = [name for name in sometimes if not figures.sometimes[name]]
    assert not never, "these never happened, so nothing was proven about them"
    ends = {phase.value for phase in states.ENDED}
    assert ends == set(figures.rollouts)
    assert {phase.value for phase in states.ENDS} == set(figures.updates)


def test_a_seed_tells_the_same_story_every_time() -> None:
    assert run(11).told == run(11).told


def test_a_core_that_believes_old_readings_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(facts: Facts, _after_ns: int) -> str:
        return facts.version

    monkeypatch.setattr(update_proof, "read_after", believe)
    problems = run_many(range(100)).problems
    assert any("is failed but ran the release" in problem for problem in problems)
