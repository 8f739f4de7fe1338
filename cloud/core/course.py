"""How a machine's deviation moved: what deviated when, and what a remedy did to the score.

A score of 1 is the alarm level. Scores and deviations come with the evidence; they are kept to be
told to people and decide nothing.
"""

from msgspec import Struct, structs

from cloud.core.evidence import NS
from cloud.core.wording import moment, span
from contract.faults import Deviation

ALARM_LEVEL = 1.0


class Picture(Struct, frozen=True, kw_only=True):
    """What was seen at one instant."""

    at_ns: int = 0
    score: float | None = None
    """None where it could not be judged."""
    deviations: list[Deviation] = []
    """The largest first."""


class Course(Struct, frozen=True, kw_only=True):
    """How the score moved around one attempt, by what was measured before and after it acted."""

    before: float | None = None
    """The newest score when the command was sent."""
    lowest: float | None = None
    lowest_ns: int | None = None
    latest: float | None = None
    back_ns: int | None = None
    """Below the alarm level, unbroken, since this was measured; None while it is not."""


def follow(course: Course, picture: Picture) -> Course:
    """Return the course after one more measurement; without a score it stays."""
    score, at_ns = picture.score, picture.at_ns
    if score is None:
        return course
    if course.lowest is None or score < course.lowest:
        course = structs.replace(course, lowest=score, lowest_ns=at_ns)
    since_ns = course.back_ns or at_ns
    back_ns = since_ns if score < ALARM_LEVEL else None
    return structs.replace(course, latest=score, back_ns=back_ns)


def told(course: Course, acted_ns: int | None) -> str:
    """Say how the score moved, with a space in front; nothing where nothing was measured."""
    if course.lowest is None:
        return ""
    before = "" if course.before is None else f"{course.before:.2f} before it and "
    said = f" The score was {before}{course.lowest:.2f} at the lowest after it"
    if course.back_ns is None:
        return f"{said}; at {course.latest:.2f} it is not below the alarm level of 1 now."
    after = span((course.back_ns - acted_ns) / NS) if acted_ns else ""
    since = f"{after} after it" if after else moment(course.back_ns)
    return f"{said}; it has been below the alarm level of 1 since {since}."
