"""Merit follows from when things happened, not from when or in which order they were heard."""

import random

import pytest

from cloud.core.case import CommandFinished, Evidence
from contract.commands import AnswerStatus
from tests.core.scenes import HOUR_S, Scene, ns, planned

STORIES = [(done, done + after) for done in (124, 200, 400, 700) for after in (10, 100, 350, 380)]
"""Seconds at which a remedy was done and at which the machine was well: its time ends 360 later."""


def story(done_s: int, well_s: int, seed: int | None) -> Scene:
    """Tell it at once, or by seed: late, held up for a while, what came meanwhile in any order."""
    rng = random.Random(seed)
    begin_s, length_s = rng.uniform(121, 1200), rng.choice([5, 30, 100, 300, 900])
    late_s = [0, 0] if seed is None else [rng.choice([0, 1, 5, 30]) for _ in range(2)]

    def heard_s(at_s: float) -> float:
        held_up = seed is not None and begin_s <= at_s < begin_s + length_s
        return begin_s + length_s if held_up else at_s

    scene = Scene(plan=planned("prime", "restart", deadline_s=24 * HOUR_S))
    scene.sick(100)
    scene.tick(120)
    mixed = iter(sorted(rng.random() for _ in range(200)))  # evidence keeps its own order
    told = [(heard_s(s + late_s[0]), next(mixed), s) for s in range(121, well_s + 600, 10)]
    told += [(heard_s(done_s + late_s[1]), rng.random(), -1)]
    told += [(at_s, rng.random(), 0) for at_s in {heard_s(s) for s in range(121, 3500, 5)}]
    for at_s, _, what in sorted(told):
        if what > 0:
            scene.feed(Evidence(ns(what), healthy=what >= well_s), at_s)
        elif what < 0:
            answer(scene, done_s, at_s)
        else:
            scene.tick(at_s)
    return scene


def answer(scene: Scene, done_s: float, at_s: float) -> None:
    scene.feed(CommandFinished("pump-1-a1.1", AnswerStatus.DONE, ns(done_s)), at_s)


@pytest.mark.parametrize(("done_s", "well_s"), STORIES)
def test_credit_does_not_depend_on_when_the_gateway_hears(done_s: int, well_s: int) -> None:
    at_once = story(done_s, well_s, None)
    assert at_once.case.credited == (well_s < done_s + 360)
    for seed in range(25):
        assert story(done_s, well_s, seed).case.credited == at_once.case.credited, seed


def test_an_answer_that_is_held_up_with_the_evidence_still_counts() -> None:
    scene = Scene("restart")
    scene.sick(100)
    scene.tick(120)
    scene.tick(1600)  # the gateway stood still; the command expired at 720
    for at_s in range(121, 1600, 20):
        scene.feed(Evidence(ns(at_s), healthy=at_s > 700), 1600)
    assert scene.case.open
    answer(scene, 700, 1601)
    scene.tick(1602)
    assert scene.case.credited


def test_an_answer_that_never_comes_holds_nothing_up_for_long() -> None:
    scene = Scene("restart")
    scene.sick(100)
    scene.tick(120)
    scene.tick(1600)
    for at_s in range(121, 1600, 20):
        scene.feed(Evidence(ns(at_s), healthy=at_s > 700), 1600)
    scene.tick(1659)
    assert scene.case.open
    scene.tick(1660)
    assert not scene.case.open
    assert not scene.case.credited
