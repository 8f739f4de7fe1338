"""How the score moved around a remedy: kept in the case, told in the timeline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core import case as life
from cloud.core import course
from cloud.core.course import Course, Picture
from cloud.core.events import Note
from cloud.core.states import Phase
from contract.faults import Deviation, Direction
from tests.core.scenes import NS, Scene, fixing, ns

FAR = [Deviation("vibration_mm_s", Direction.ABOVE, 9.0, 6.0, 2.0)]


def measured(scene: Scene, at_s: float, score: float | None, *, healthy: bool = False) -> None:
    seen = [] if healthy else FAR
    event = life.Evidence(ns(at_s), healthy=healthy, score=score, deviations=seen)
    scene.feed(event, at_s)


def treated() -> Scene:
    """A remedy is carried out 130 s after opening; the score was 2.4 when it was sent."""
    scene = Scene("restart", "flush")
    measured(scene, 110, 2.4)
    scene.tick(120)
    measured(scene, 125, 2.6)
    scene.answer(130)
    assert scene.phase() is Phase.VERIFYING
    return scene


def pictures(scene: Scene) -> list[Picture]:
    return [e.picture for e in scene.effects if isinstance(e, Note) and e.picture]


def test_a_cure_is_told_with_the_score_before_and_after_it() -> None:
    scene = treated()
    measured(scene, 140, 1.8)
    for i in range(11):
        measured(scene, 200 + 20 * i, 0.5 - 0.02 * i, healthy=True)
    assert scene.phase() is Phase.RECOVERED
    assert scene.attempt.course == Course(
        before=2.4, lowest=0.32, lowest_ns=ns(380), latest=0.32, back_ns=ns(200)
    )
    assert "was 2.40 before it and 0.32 at the lowest after it" in scene.notes()
    assert "below the alarm level of 1 since 70 s after it" in scene.notes()


def test_a_remedy_that_did_not_help_is_told_with_what_still_deviates() -> None:
    scene = treated()
    for second in range(200, 510, 20):
        measured(scene, second, 1.5 + second / 1000)
    assert scene.phase() is Phase.HOLDING
    assert "was 2.40 before it and 1.70 at the lowest after it" in scene.notes()
    assert "it is not below the alarm level" in scene.notes()
    assert pictures(scene)[-1] == Picture(at_ns=ns(500), score=2.0, deviations=FAR)


def test_what_is_measured_before_the_remedy_acted_or_after_its_verdict_is_not_its_course() -> None:
    scene = treated()
    scene.feed(life.Evidence(ns(128), healthy=False, score=0.1), 141)  # measured before it was done
    assert scene.attempt.course.lowest is None
    for second in range(200, 510, 20):
        measured(scene, second, 1.7)
    before = scene.attempt.course
    measured(scene, 520, 0.2)
    assert scene.attempt.course == before


def test_a_new_case_and_a_sent_remedy_note_what_deviates() -> None:
    scene = treated()
    first, sent = pictures(scene)
    assert first.at_ns == ns(0)
    assert sent == Picture(at_ns=ns(110), score=2.4, deviations=FAR)


def test_a_case_from_before_scores_were_kept_can_be_read() -> None:
    scene = fixing("restart")
    text = life.encode_case(scene.case)
    for field in (b',"picture":{"at_ns":1000121000000000}', b',"course":{}'):
        text = text.replace(field, b"")
    found = life.decode_case(text)
    assert found.attempt.course == Course()


scores = st.none() | st.floats(0, 50)


@given(st.lists(scores, max_size=40))
def test_the_course_is_the_lowest_and_the_unbroken_end(seen: list[float | None]) -> None:
    found = Course(before=3.0)
    for i, score in enumerate(seen):
        found = course.follow(found, Picture(at_ns=(i + 1) * NS, score=score))
    judged = [(i + 1, s) for i, s in enumerate(seen) if s is not None]
    assert found.lowest == min((s for _, s in judged), default=None)
    since = None
    for second, score in judged:
        since = (since or second) if score < 1 else None
    assert found.back_ns == (None if since is None else since * NS)


@pytest.mark.parametrize("acted_ns", [None, 5 * NS])
def test_nothing_is_told_of_what_was_not_measured(acted_ns: int | None) -> None:
    assert course.told(Course(before=2.0), acted_ns) == ""
    told = course.told(Course(lowest=0.2, lowest_ns=NS, latest=0.2, back_ns=65 * NS), acted_ns)
    assert told.startswith(" The score was 0.20 at the lowest after it; it has been below")
